"""What the journal already holds of a unit's attempt, by ordinal: what a resume replays.

Rule 1: a replay never asks again what was answered, nor sends again what was sent.
Rule 2: another question at the same ordinal means that the step is not the one that was begun:
the resume stops there, before anything is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from drrun.errors import Refused
from drrun.journal.events import Answered, ChangeFinished, ChangeIntended, ChangeLost, Resolved
from drrun.journal.state import Entry
from drrun.values import Digest, Json


@dataclass(slots=True)
class PastChange:
    """One change of the past, as far as it came."""

    intents: list[ChangeIntended] = field(default_factory=list)
    finished: ChangeFinished | None = None
    lost: ChangeLost | None = None
    resolved: Resolved | None = None
    verified: bool = False

    @property
    def open(self) -> ChangeIntended | None:
        """The intent whose end is not known."""
        return self.intents[-1] if self.intents and self.finished is None else None


class Past:
    """One attempt's entries, indexed."""

    def __init__(self, unit: str, entries: Iterable[Entry]) -> None:
        self._unit = unit
        self._answers: dict[int, Answered] = {}
        self._changes: dict[int, PastChange] = {}
        last = PastChange()
        for entry in entries:
            match entry:
                case Answered(kind="verify"):
                    # Without a change of its own where that was made in an earlier attempt.
                    self._changes.setdefault(entry.ordinal, PastChange()).verified = True
                case Answered():
                    self._answers[entry.ordinal] = entry
                case ChangeIntended():
                    last = self._changes.setdefault(entry.ordinal, PastChange())
                    last.intents.append(entry)
                    last.lost = last.resolved = None
                case ChangeFinished():
                    self._changes[entry.ordinal].finished = entry
                case ChangeLost():
                    last = self._changes[entry.ordinal]
                    last.lost, last.resolved = entry, None
                case Resolved():
                    last.resolved = entry

    @property
    def sent(self) -> bool:
        """Whether any change of the attempt was sent."""
        return bool(self._changes)

    def changes(self) -> tuple[PastChange, ...]:
        """Every change that was sent."""
        return tuple(change for change in self._changes.values() if change.intents)

    def unsettled(self) -> tuple[PastChange, ...]:
        """Every change whose end the journal does not hold."""
        return tuple(change for change in self._changes.values() if change.open is not None)

    def kind(self, ordinal: int) -> str:
        """Which kind of question an ordinal answered; empty when it was not reached."""
        found = self._answers.get(ordinal)
        return found.kind if found is not None else ""

    def answers(
        self, ordinal: int, kind: str, name: str, asked: Digest
    ) -> Mapping[str, Json] | None:
        """The journaled answers at an ordinal, or None when it was not reached."""
        found = self._answers.get(ordinal)
        if found is None:
            if ordinal in self._changes:
                was = " ".join(intent.name for intent in self._changes[ordinal].intents[:1])
                self._stop(ordinal, f"change {was}", f"{kind} {name}")
            return None
        if (found.kind, found.name, found.asked) != (kind, name, asked):
            self._stop(ordinal, f"{found.kind} {found.name}", f"{kind} {name}")
        return found.answers

    def change(self, ordinal: int, name: str, asked: Digest) -> PastChange:
        """The journaled change at an ordinal; an empty one when it was not reached."""
        if ordinal in self._answers:
            found = self._answers[ordinal]
            self._stop(ordinal, f"{found.kind} {found.name}", f"change {name}")
        past = self._changes.get(ordinal, PastChange())
        if past.intents and (past.intents[0].name, past.intents[0].asked) != (name, asked):
            self._stop(ordinal, f"change {past.intents[0].name}", f"change {name}")
        return past

    def _stop(self, ordinal: int, was: str, now: str) -> None:
        raise Refused(
            f"{self._unit}: the journal holds '{was}' at its place {ordinal}, the step now says "
            f"'{now}': it is not the step that was begun",
            hint="resume with the version of drrun (and of the step types) that began the run",
        )
