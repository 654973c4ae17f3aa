"""A host that is a script: answers to facts, replies to changes, and a record of what was done."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from drrun.spi import (
    Command,
    Fact,
    Host,
    Predicate,
    Refused,
    Repeat,
    Reply,
    StepFailed,
    TooLarge,
)
from drrun.values import VALUE_LIMIT

T = TypeVar("T")


class Unscripted(AssertionError):
    """A step asked for something that the test did not script."""


@dataclass(frozen=True, slots=True)
class FakeChange:
    """One change as a step made it."""

    name: str
    command: Command
    sets: Mapping[Fact[Any], Any] = field(default_factory=dict)
    touches: tuple[str, ...] = ()
    repeat: Repeat | None = None


class FakeHost:
    """A scripted `drrun.spi.Host`.

    `answers` maps a fact to its answer, or to a function of the host (asked at each read).
    `replies` maps a change's name to the reply of its command; a change without one succeeds
    silently. A change that ends with an exit it does not accept raises StepFailed, as on a run.
    """

    def __init__(
        self,
        name: str,
        answers: Mapping[Fact[Any], Any] | None = None,
        replies: Mapping[str, Reply] | None = None,
        *,
        vars: Mapping[str, Any] | None = None,  # noqa: A002 - the port's own word
        layout: str = "systemd",
        address: str = "",
        run: str = "r-test",
        says: str = "yes",
        step: str = "step",
    ) -> None:
        self.name = name
        self.address = address or name
        self.layout = layout
        self.run = run
        self.step = step
        self.vars: Mapping[str, Any] = vars or {}
        self.answers: dict[Fact[Any], Any] = dict(answers or {})
        self.replies = dict(replies or {})
        self.says = says
        self.changes: list[FakeChange] = []
        self.asked: list[Fact[Any]] = []
        self.questions: list[str] = []
        self.notes: list[str] = []
        self.measures: dict[str, float] = {}
        self.copied: list[tuple[str, str]] = []
        self.unproved: list[str] = []

    @property
    def change_names(self) -> list[str]:
        """The names of the changes, in order."""
        return [change.name for change in self.changes]

    def read(self, *facts: Fact[Any]) -> Any:
        """The scripted answers."""
        answers = tuple(self._answer(fact) for fact in facts)
        return answers[0] if len(answers) == 1 else answers

    def _answer(self, fact: Fact[Any]) -> Any:
        self.asked.append(fact)
        if fact not in self.answers:
            raise Unscripted(f"{self.name} was asked {fact.key}, which is not scripted")
        answer = self.answers[fact]
        return answer(self) if callable(answer) else answer

    def require(
        self,
        fact: Fact[T],
        must: T | Predicate,
        *,
        because: str,
        hint: str = "",
        within: str = "",
        hopeless: Fact[str] | None = None,
    ) -> T:
        """The scripted answer, or the error that a run would raise."""
        del within, hopeless
        answer: T = self._answer(fact)
        if not _holds(must, answer):
            kind = StepFailed if self.changes else Refused
            wanted = must.text if isinstance(must, Predicate) else repr(must)
            raise kind(
                f"{self.name}: {fact.key} is {answer!r}, must be {wanted}: {because}", hint=hint
            )
        return answer

    def expect(
        self, fact: Fact[T], must: T, *, because: str, hint: str = "", within: str = ""
    ) -> None:
        """The scripted answer; what is not so, or cannot be asked, is in `unproved`."""
        del hint, within
        try:
            found = self._answer(fact)
        except StepFailed as error:
            self.unproved.append(error.message)
            return
        if found != must:
            self.unproved.append(
                f"{self.name}: {fact.key} is {found!r}, must be {must!r}: {because}"
            )

    def change(
        self,
        name: str,
        command: Command,
        *,
        sets: Mapping[Fact[Any], Any] | None = None,
        touches: Sequence[str] = (),
        only_if: tuple[Fact[Any], Predicate] | None = None,
        returns: Callable[[Reply], Any] | None = None,
        repeat: Repeat | None = None,
        timeout: str = "",
        within: str = "10s",
        exits: Sequence[int] = (0,),
        hopeless: Fact[str] | None = None,
    ) -> Any:
        """Record the change, apply its `sets`, give its scripted reply.

        `hopeless` counts where it is scripted: then what it says is the failure.
        """
        del timeout, within
        if name in self.change_names:
            raise AssertionError(f"the change {name!r} was made twice in one unit")
        if only_if is not None and not only_if[1].holds(self._answer(only_if[0])):
            return None
        self.changes.append(FakeChange(name, command, dict(sets or {}), tuple(touches), repeat))
        reply = self.replies.get(name, Reply(0, b"", b""))
        if reply.exit not in exits:
            raise StepFailed(f"{self.name}: {name} ended with {reply.exit}: {reply.complaint}")
        if hopeless is not None and hopeless in self.answers and (said := self._answer(hopeless)):
            raise StepFailed(f"{self.name}: {said}")
        for fact, value in (sets or {}).items():
            if not isinstance(value, Predicate):
                self.answers[fact] = value
        if returns is None:
            return None
        if reply.truncated or len(reply.stdout) > VALUE_LIMIT:
            raise TooLarge(f"{self.name}: {name} printed {len(reply.stdout)} bytes")
        return returns(reply)

    def put(
        self, name: str, source: Path, dest: str, *, mode: str = "0600", owner: str = ""
    ) -> str:
        """Record the copy; gives the real sha256 of the source."""
        del mode, owner
        self.changes.append(FakeChange(name, Command(argv=("put", dest))))
        self.copied.append((str(source), dest))
        return hashlib.sha256(source.read_bytes()).hexdigest()

    def get(self, name: str, source: str, dest: Path) -> str:
        """Record the copy; gives the sha256 of the empty text."""
        self.changes.append(FakeChange(name, Command(argv=("get", source))))
        self.copied.append((source, str(dest)))
        return hashlib.sha256(b"").hexdigest()

    def ask(self, question: str, *, expect: str = "") -> str:
        """The scripted word, which is what was expected unless the test says otherwise."""
        self.questions.append(question)
        return expect if expect and self.says == "yes" else self.says

    def note(self, text: str) -> None:
        """Keep the note."""
        self.notes.append(text)

    def measure(self, name: str, value: float) -> None:
        """Keep the figure."""
        self.measures[name] = value


class FakeGroup:
    """A scripted `drrun.spi.Group` over fake hosts."""

    def __init__(
        self,
        hosts: Iterable[FakeHost],
        roles: Mapping[str, Sequence[FakeHost]] | None = None,
        fenced: Sequence[str] = (),
    ) -> None:
        self.hosts: list[FakeHost] = list(hosts)
        self.fenced: Sequence[str] = tuple(fenced)
        self.roles = dict(roles or {})
        self.notes: list[str] = []
        self.measures: dict[str, float] = {}

    def __getitem__(self, name: str) -> FakeHost:
        return next(host for host in self.hosts if host.name == name)

    def role(self, expression: str) -> Sequence[FakeHost]:
        """The hosts scripted for that role."""
        if expression not in self.roles:
            raise Unscripted(f"the role {expression!r} is not scripted")
        return self.roles[expression]

    def read(self, fact: Fact[T], hosts: Sequence[Host] | None = None) -> Mapping[str, T]:
        """Every host's scripted answer."""
        chosen: Sequence[Host] = self.hosts if hosts is None else hosts
        return {host.name: host.read(fact) for host in chosen}

    def choose(
        self, name: str, fact: Fact[T], fits: Predicate, *, prefer: Fact[Any] | None = None
    ) -> FakeHost:
        """The first host that fits, preferred ones first."""
        fitting = [host for host in self.hosts if fits.holds(host.read(fact))]
        if not fitting:
            raise Refused(f"no host fits {name}: {fact.key} must be {fits.text}")
        if prefer is not None:
            fitting.sort(key=lambda host: not host.read(prefer))
        return fitting[0]

    def note(self, text: str) -> None:
        """Keep the note."""
        self.notes.append(text)

    def measure(self, name: str, value: float) -> None:
        """Keep the figure."""
        self.measures[name] = value


def _holds(must: object, answer: object) -> bool:
    return must.holds(answer) if isinstance(must, Predicate) else answer == must
