"""A run as a story: its events folded once, with their times, into what every report tells.

Rule 1: everything told is in the plan or in the journal; a run that has not ended is told so far.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from drrun.journal.chain import GENESIS, Record
from drrun.journal.events import (
    Answered,
    ChangeFinished,
    ChangeIntended,
    ChangeLost,
    Event,
    HostFenced,
    HostsHeld,
    Measured,
    Noted,
    Resolved,
    RunAttached,
    RunDetached,
    RunFinished,
    RunStarted,
    UnitFinished,
    UnitStarted,
)
from drrun.journal.state import RunState, Status, UnitRecord
from drrun.plan.plan import Plan, PlanStep, Unit
from drrun.report.timeline import Jump, jumps, timeline
from drrun.report.words import outcome_word
from drrun.values import Digest, HostName, Json, Outcome, UnitId


@dataclass(slots=True)
class Attempt:
    """One attempt of a unit, from its start to its end if it has one."""

    unit: UnitId
    number: int
    undo: bool
    began: datetime
    ended: datetime | None = None
    outcome: Outcome | None = None
    why: str = ""


@dataclass(slots=True)
class Made:
    """One change that was sent. `code` is None while, or when, its end is not known."""

    intent: ChangeIntended
    began: datetime
    ended: datetime | None = None
    finished: ChangeFinished | None = None
    lost: str = ""
    verdict: Resolved | None = None
    after: Mapping[str, Json] = field(default_factory=dict)

    @property
    def code(self) -> int | None:
        """The command's exit."""
        return self.finished.code if self.finished is not None else None

    @property
    def seconds(self) -> float | None:
        """How long it took, as the controller measured it."""
        return self.finished.seconds if self.finished is not None else None


@dataclass(frozen=True, slots=True)
class Phase:
    """One step of the run."""

    number: int
    step: PlanStep
    units: tuple[tuple[Unit, UnitRecord], ...]
    attempts: tuple[Attempt, ...]

    @property
    def began(self) -> datetime | None:
        """When its first unit began."""
        return min((a.began for a in self.attempts), default=None)

    @property
    def ended(self) -> datetime | None:
        """When its last unit ended; None while one goes on."""
        ends = [a.ended for a in self.attempts]
        return None if None in ends else max((e for e in ends if e is not None), default=None)

    @property
    def seconds(self) -> float | None:
        """From its first unit's start to its last unit's end."""
        if self.began is None or self.ended is None:
            return None
        return (self.ended - self.began).total_seconds()

    @property
    def outcome(self) -> str:
        """In words: `changed`, `2 changed, 1 failed`, `not started`."""
        found: dict[str, int] = {}
        for unit, record in self.units:
            word = "left as it is" if self.left(unit.id) else _word(self.step, record)
            found[word] = found.get(word, 0) + 1
        if len(found) == 1:
            return next(iter(found))
        return ", ".join(f"{number} {word}" for word, number in found.items())

    def left(self, unit: UnitId) -> bool:
        """Whether undoing passed the unit over: its step type cannot undo."""
        undone = [a for a in self.attempts if a.unit == unit and a.undo]
        return bool(undone) and undone[-1].outcome is Outcome.SKIPPED

    def went_wrong(self, unit: UnitId) -> Attempt | None:
        """The unit's last forward attempt, when that ended badly (it may be undone since)."""
        forward = [a for a in self.attempts if a.unit == unit and not a.undo]
        outcome = forward[-1].outcome if forward else None
        return None if outcome is None or outcome.good else forward[-1]


def _word(step: PlanStep, record: UnitRecord) -> str:
    if record.status is Status.DONE and record.outcome is not None:
        return outcome_word(step, record.outcome)
    return status_word(record)


def status_word(record: UnitRecord) -> str:
    """A unit's status; one that only waits for a person is not called unknown."""
    if record.status is Status.PENDING:
        return "not started"
    entries = (entry for found in record.entries.values() for entry in found)
    if record.status is Status.UNKNOWN and not any(isinstance(e, ChangeLost) for e in entries):
        return "waiting"
    return "undo failed" if record.status is Status.UNDO_FAILED else str(record.status)


@dataclass(slots=True)
class Story:
    """All of a run."""

    plan: Plan
    state: RunState
    head: Digest = GENESIS
    live: bool = False
    records: int = 0
    jumps: tuple[Jump, ...] = ()
    began: datetime | None = None
    ended: datetime | None = None
    """The time of the last event."""
    started: RunStarted | None = None
    finished: RunFinished | None = None
    detached: bool = False
    """Whether the last controller left in good order."""
    attempts: list[Attempt] = field(default_factory=list)
    changes: list[Made] = field(default_factory=list)
    notes: list[tuple[datetime, Noted]] = field(default_factory=list)
    measures: list[tuple[datetime, Measured]] = field(default_factory=list)
    attached: list[tuple[datetime, RunAttached]] = field(default_factory=list)
    resolved: list[tuple[datetime, Resolved]] = field(default_factory=list)
    tiers: Mapping[HostName, str] = field(default_factory=dict)
    """What jobs outlive on each host that was fenced, as the last controller found it."""
    fenced: list[tuple[datetime, HostFenced]] = field(default_factory=list)
    """Hosts that the run went on without, since when."""
    readmitted: Mapping[HostName, str] = field(default_factory=dict)
    """Those of them that a later run brought back, and which."""
    _open: dict[tuple[UnitId, bool], Attempt] = field(default_factory=dict)
    _by_token: dict[str, Made] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Plan, records: Sequence[Record], *, live: bool = False) -> Story:
        """The story of a plan and its journal."""
        story = cls(plan, RunState.of(plan, (record.event for record in records)), live=live)
        for when, record in timeline(records):
            story._take(when, record.event)
            story.head = record.digest
        story.records, story.jumps = len(records), jumps(records)
        return story

    def _take(self, when: datetime, event: Event) -> None:
        self.began = self.began or when
        self.ended = when
        match event:
            case RunStarted():
                self.started = event
            case RunAttached():
                self.attached.append((when, event))
                self.finished, self.detached = None, False
            case HostsHeld():
                self.tiers = event.tiers
            case RunDetached():
                self.detached = True
            case RunFinished():
                self.finished = event
            case UnitStarted():
                made = Attempt(event.unit, event.attempt, event.undo, when)
                self.attempts.append(made)
                self._open[(event.unit, event.undo)] = made
            case UnitFinished():
                self._unit_finished(when, event)
            case Noted() | Measured() | HostFenced():
                self._said(when, event)
            case _:
                self._take_change(when, event)

    def _said(self, when: datetime, event: Noted | Measured | HostFenced) -> None:
        match event:
            case Noted():
                self.notes.append((when, event))
            case Measured():
                self.measures.append((when, event))
            case HostFenced():
                self.fenced.append((when, event))

    def _unit_finished(self, when: datetime, event: UnitFinished) -> None:
        found = self._open.pop((event.unit, event.undo), None)
        if found is None:
            found = Attempt(event.unit, event.attempt, event.undo, when)
            self.attempts.append(found)
        found.ended, found.outcome, found.why = when, event.outcome, event.why

    def _take_change(self, when: datetime, event: Event) -> None:
        match event:
            case ChangeIntended():
                made = Made(event, when)
                self.changes.append(made)
                self._by_token[event.token] = made
            case ChangeFinished() if event.token in self._by_token:
                made = self._by_token[event.token]
                made.ended, made.finished = when, event
            case ChangeLost() if event.token in self._by_token:
                self._by_token[event.token].lost = event.why
            case Answered(kind="verify"):
                self._verified(event)
            case Resolved():
                self.resolved.append((when, event))
                for made in self.changes:
                    if made.intent.unit == event.unit and made.lost and made.verdict is None:
                        made.verdict = event
            case _:
                pass

    def _verified(self, event: Answered) -> None:
        """The facts that were read again after a change belong to the change of that ordinal."""
        for made in reversed(self.changes):
            intent = made.intent
            if (intent.unit, intent.attempt, intent.ordinal, intent.undo) == (
                event.unit,
                event.attempt,
                event.ordinal,
                event.undo,
            ):
                made.after = event.answers
                return

    @property
    def absent(self) -> list[tuple[datetime, HostFenced]]:
        """Hosts that the run went on without, and that are still to be brought back."""
        return [(when, word) for when, word in self.fenced if word.host not in self.readmitted]

    # --- what it comes to --------------------------------------------------------------------

    @property
    def status(self) -> str:
        """The run's status in one word."""
        if self.finished is not None:
            return self.finished.status
        if self.live:
            return "undoing" if self.state.phase == "undo" else "running"
        if self.detached:
            return "detached"
        return "interrupted" if self.started is not None else "not started"

    @property
    def seconds(self) -> float:
        """From the first event to the last."""
        if self.began is None or self.ended is None:
            return 0.0
        return (self.ended - self.began).total_seconds()

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Its steps, in the order of the plan."""
        of_unit: dict[UnitId, list[Attempt]] = {}
        for attempt in self.attempts:
            of_unit.setdefault(attempt.unit, []).append(attempt)
        return tuple(
            Phase(
                number,
                step,
                tuple((u, self.state.units[u.id]) for u in self.plan.units_of[step.id]),
                tuple(_of(of_unit, (u.id for u in self.plan.units_of[step.id]))),
            )
            for number, step in enumerate(self.plan.steps, 1)
        )

    @property
    def controller_changes(self) -> int:
        """How often the run was taken up again."""
        return max(0, len(self.attached) - 1)


def _of(of_unit: Mapping[UnitId, list[Attempt]], units: Iterable[UnitId]) -> list[Attempt]:
    return [attempt for unit in units for attempt in of_unit.get(unit, ())]
