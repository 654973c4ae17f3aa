"""All that the author of a step type imports; it fits one screen of ideas.

A Fact asks a host something and changes nothing; a step's `run` reads facts and makes named
changes; the engine decides what a read or a change does in each mode (run, dry-run, offline,
resume, undo, fake). One `run` serves them all, so a dry-run cannot drift from the run.
Rule 1: `run` is deterministic given the answers of its Host: no clock, no randomness, no files.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar, overload

from pydantic import BaseModel, ConfigDict

from drrun.errors import DrrunError, NotKnownError, Refused, StepFailed, TooLarge, Unreachable
from drrun.model.rule import Alike, Alone, Demand, Duty, FactRef, Rule, State, step_done
from drrun.model.runbook import Duration, Flag, Whole
from drrun.spi.facts import Fact, Look
from drrun.spi.questions import Question, Where
from drrun.values import (
    ANYTHING,
    CHANGED,
    CONTROLLER,
    OPAQUE,
    Command,
    Effect,
    Json,
    NotKnown,
    Predicate,
    Repeat,
    Reply,
    Secret,
    argv,
    digest,
    satisfies,
    seconds,
    sh,
    span,
)

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")


@dataclasses.dataclass(frozen=True, slots=True)
class DoneChange:
    """A change that the journal says was sent, for `undo`."""

    name: str
    host: str
    before: Mapping[str, Json]
    """FactRef.key -> the answer before the change, of each fact in `sets`."""


@dataclasses.dataclass(frozen=True, slots=True)
class Done:
    """What a unit really did, for `undo`."""

    changes: tuple[DoneChange, ...]
    outputs: Mapping[str, Json]

    def did(self, name: str, host: str | None = None) -> bool:
        """Whether the change `name` was sent (on `host`)."""
        return any(c.name == name and host in (None, c.host) for c in self.changes)

    def before(self, fact: Fact[T], host: str | None = None) -> T | None:
        """What `fact` was (on `host`) before the first change that set it; None when not recorded."""
        for change in self.changes:
            if host in (None, change.host) and fact.key in change.before:
                answer: T = fact.answers.validate_python(change.before[fact.key])
                return answer
        return None


class Telling(Protocol):
    """What a step says beside what it changes."""

    def note(self, text: str) -> None:
        """A line for the operator and the report."""
        ...

    def measure(self, name: str, value: float) -> None:
        """A figure for the score and the report; `rpo` is in seconds."""
        ...


class Host(Telling, Where, Protocol):
    """One host, as a step sees it."""

    run: str
    """The run's id: makes names of set-aside folders and tokens unique."""
    step: str
    """The step's id: what two steps of one run set aside must not have one name."""

    @overload
    def read(self, a: Fact[A], /) -> A: ...
    @overload
    def read(self, a: Fact[A], b: Fact[B], /) -> tuple[A, B]: ...
    @overload
    def read(self, a: Fact[A], b: Fact[B], c: Fact[C], /) -> tuple[A, B, C]: ...
    @overload
    def read(self, a: Fact[A], b: Fact[B], c: Fact[C], d: Fact[D], /) -> tuple[A, B, C, D]: ...
    def read(self, *facts: Fact[Any]) -> Any:
        """The answers, asked in one round trip. In a dry-run, NotKnown for what a change touched."""
        ...

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
        """The answer, which must be `must` (waited for up to `within`), else Refused or StepFailed.

        Refused where nothing was changed by this unit yet, StepFailed after a change, and at once when
        `hopeless` says why. In a dry-run, what is not yet known is noted as "checked at run".
        """
        ...

    def expect(
        self, fact: Fact[T], must: T, *, because: str, hint: str = "", within: str = ""
    ) -> None:
        """In an undo: what must be so again, waited for up to `within`. It never raises for an answer.

        What is not so yet, or cannot be asked, keeps nothing else away: it is asked once more when all is
        undone, and what is not so then is told as not back (exit 9). Without `within` it is asked only then.
        """
        ...

    def change(
        self,
        name: str,
        command: Command,
        *,
        sets: Mapping[Fact[Any], Any] | None = None,
        touches: Sequence[str] = (),
        only_if: tuple[Fact[Any], Predicate] | None = None,
        returns: Callable[[Reply], T] | None = None,
        repeat: Repeat | None = None,
        timeout: str = "",
        within: str = "10s",
        exits: Sequence[int] = (0,),
        hopeless: Fact[str] | None = None,
    ) -> T:
        """Make one named change, journaled before it is sent; names are unique in a unit.

        After it, `sets` are read again until they hold (`within`): a change that did not take failed,
        at once when `hopeless` says why. `only_if` makes it conditional. `returns` makes a value of
        stdout; of more than 64 KiB it raises TooLarge. Any exit not in `exits` is a failure.
        """
        ...

    def put(
        self, name: str, source: Path, dest: str, *, mode: str = "0600", owner: str = ""
    ) -> str:
        """Copy a file of the controller to the host, verified by sha256. Gives the sha256."""
        ...

    def get(self, name: str, source: str, dest: Path) -> str:
        """Copy a file of the host to the controller, verified by sha256. Gives the sha256."""
        ...

    def ask(self, question: str, *, expect: str = "") -> str:
        """Ask the operator. Without a terminal the run waits (exit 6)."""
        ...


class Group(Telling, Protocol):
    """All the hosts of one step, in the inventory's order, as one unit."""

    @property
    def hosts(self) -> Sequence[Host]:
        """The step's hosts, in the inventory's order, without those that are fenced."""
        ...

    fenced: Sequence[str]
    """Hosts that it would act on, were they not fenced: nobody can ask them anything."""

    def __getitem__(self, name: str) -> Host: ...

    def role(self, expression: str) -> Sequence[Host]:
        """The hosts of another role."""
        ...

    def read(self, fact: Fact[T], hosts: Sequence[Host] | None = None) -> Mapping[str, T]:
        """The fact's answer on every host (of `hosts`), asked at once."""
        ...

    def choose(
        self, name: str, fact: Fact[T], fits: Predicate, *, prefer: Fact[Any] | None = None
    ) -> Host:
        """One host that fits (preferring those where `prefer` is true), journaled. Raises Refused."""
        ...


Outputs = Mapping[str, Any]


class Step(BaseModel):
    """What host steps and group steps share. Fields are the schema of `with:`."""

    # A number that an input gave is as good as its text: `-p {{ inputs.port }}`.
    model_config = ConfigDict(
        frozen=True, extra="forbid", defer_build=True, coerce_numbers_to_str=True
    )

    uses: ClassVar[str]
    effect: ClassVar[Effect] = Effect.CHANGE
    repeat: ClassVar[Repeat] = Repeat.NEVER
    authors_word: ClassVar[bool] = False
    """Whether a runbook may say `repeat: safe` of it: only its author can know what it does."""
    outputs: ClassVar[tuple[str, ...]] = ()

    def transitions(self) -> Mapping[Fact[Any], Any]:
        """States that this step brings about at each of its hosts: what rules are proved on."""
        return {}

    def passes(self) -> Mapping[Fact[Any], Any]:
        """States that hold for a while on the way there: a restart passes `stopped`."""
        return {}

    def takes_away(self) -> bool:
        """Whether something that works stops working by this step: the outage begins with the first such one."""
        states = (*self.transitions().values(), *self.passes().values())
        return self.effect is Effect.DESTROY or "stopped" in states

    def questions(self, at: Where) -> Sequence[Question]:
        """What this step will wait for or call on a host, asked before anything is taken away."""
        del at
        return ()

    def rules(self) -> Sequence[Demand]:
        """What must hold before this step and after it, in every runbook that uses it."""
        return ()

    def cautions(self) -> Sequence[str]:
        """What this step does that no rule can see, in words: lint warns of it."""
        return ()

    def checkable(self) -> bool:
        """Whether facts that its changes set tell what became of one; else `on_unknown` must."""
        return bool(self.transitions())


class HostStep(Step, ABC):
    """A step that acts on one host at a time: one unit a host."""

    @abstractmethod
    def run(self, host: Host) -> Outputs | None:
        """Do it. Raise StepFailed (it said no) or Refused (it must not be done)."""

    def undo(self, host: Host, done: Done) -> None:
        """The reverse of what the journal says was done. Not overridden: cannot be undone."""
        raise NotImplementedError


class GroupStep(Step, ABC):
    """A step that sees many hosts at once: one unit."""

    @abstractmethod
    def run(self, group: Group) -> Outputs | None:
        """Do it."""

    def undo(self, group: Group, done: Done) -> None:
        """The reverse of what the journal says was done. Not overridden: cannot be undone."""
        raise NotImplementedError


__all__ = [
    "ANYTHING",
    "CHANGED",
    "CONTROLLER",
    "OPAQUE",
    "Alike",
    "Alone",
    "Command",
    "Demand",
    "Done",
    "DoneChange",
    "DrrunError",
    "Duration",
    "Duty",
    "Effect",
    "Fact",
    "FactRef",
    "Flag",
    "Group",
    "GroupStep",
    "Host",
    "HostStep",
    "Json",
    "Look",
    "NotKnown",
    "NotKnownError",
    "Outputs",
    "Predicate",
    "Question",
    "Refused",
    "Repeat",
    "Reply",
    "Rule",
    "Secret",
    "State",
    "Step",
    "StepFailed",
    "TooLarge",
    "Unreachable",
    "Where",
    "Whole",
    "argv",
    "digest",
    "satisfies",
    "seconds",
    "sh",
    "span",
    "step_done",
]
