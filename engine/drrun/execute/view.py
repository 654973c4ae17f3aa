"""Hosts and groups as a step sees them. What a read or a change does is the session's business."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from drrun.errors import Refused
from drrun.lang.hosts import resolve
from drrun.model.inventory import Target
from drrun.plan.plan import Plan, Unit
from drrun.spi import Fact, Host, Predicate
from drrun.values import (
    Command,
    Digest,
    HostName,
    Json,
    NotKnown,
    Repeat,
    Reply,
    digest,
    seconds,
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Change:
    """One named change, as a step asked for it."""

    name: str
    command: Command
    sets: Mapping[Fact[Any], Any] = field(default_factory=dict)
    touches: tuple[str, ...] = ()
    only_if: tuple[Fact[Any], Predicate] | None = None
    returns: Callable[[Reply], Any] | None = None
    repeat: Repeat | None = None
    timeout: float = 0.0
    within: float = 10.0
    exits: tuple[int, ...] = (0,)
    hopeless: Fact[str] | None = None

    def asked(self, host: HostName) -> Digest:
        """The identity of the question: a replay must find the same one at its ordinal."""
        return digest({"host": host, "name": self.name, "command": self.command.form()})

    @property
    def touched(self) -> tuple[str, ...]:
        """The components that it touches: what it says, and those of the facts that it sets."""
        return (*self.touches, *(mark for fact in self.sets for mark in fact.marks()))


@dataclass(frozen=True, slots=True)
class Owed:
    """What an undo must bring about, and that others may have to be back for."""

    fact: Fact[Any]
    must: Any
    because: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Copy:
    """A file of the controller that a step wants on a host."""

    name: str
    source: Path
    dest: str
    mode: str = "0600"
    owner: str = ""


def as_predicate(must: object) -> Predicate:
    """A plain value as a test for it."""
    if isinstance(must, Predicate):
        return must
    return Predicate(repr(must), lambda value, _before: bool(value == must))


class Session(Protocol):
    """One unit in one mode: run (with replay), dry-run or undo."""

    def read(self, host: HostName, facts: Sequence[Fact[Any]]) -> list[Any]:
        """The facts' answers on one host."""
        ...

    def read_all(self, hosts: Sequence[HostName], fact: Fact[Any]) -> Mapping[HostName, Any]:
        """One fact's answer on each host."""
        ...

    def pass_over(self) -> None:
        """One question is not asked: its host is fenced."""
        ...

    def require(
        self,
        host: HostName,
        fact: Fact[Any],
        must: Predicate,
        *,
        because: str,
        hint: str,
        within: float,
        hopeless: Fact[str] | None = None,
    ) -> Any:
        """The fact's answer, which must pass."""
        ...

    def expect(self, host: HostName, owed: Owed, *, within: float) -> None:
        """In an undo: what must be so again, now or when all is undone."""
        ...

    def change(self, host: HostName, change: Change) -> Any:
        """Make a change; what its `returns` made of the output."""
        ...

    def put(self, host: HostName, copy: Copy) -> str:
        """Copy a file to the host; its sha256."""
        ...

    def get(self, host: HostName, name: str, source: str, dest: Path) -> str:
        """Copy a file to the controller; its sha256."""
        ...

    def choose(
        self,
        hosts: Sequence[HostName],
        name: str,
        fact: Fact[Any],
        fits: Predicate,
        prefer: Fact[Any] | None,
    ) -> HostName:
        """The host that fits; Refused when none does."""
        ...

    def ask(self, host: HostName, question: str, expect: str) -> str:
        """A person's answer."""
        ...

    def note(self, text: str) -> None:
        """A line for people."""
        ...

    def measure(self, name: str, value: float) -> None:
        """A figure for the score."""
        ...

    def unchecked(self, what: str) -> None:
        """Note what cannot be checked yet: a run checks it."""
        ...


class HostView:
    """`drrun.spi.Host` over a session."""

    def __init__(self, session: Session, target: Target, run: str, step: str) -> None:
        self._session = session
        self._target = target
        self.run = run
        self.step = step

    @property
    def name(self) -> HostName:
        """The inventory's name of the host."""
        return self._target.name

    @property
    def address(self) -> str:
        """What to connect to."""
        return self._target.address

    @property
    def layout(self) -> str:
        """How the control plane is supervised."""
        return self._target.layout

    @property
    def vars(self) -> Mapping[str, Any]:
        """The inventory's vars for this host."""
        return self._target.vars

    def read(self, *facts: Fact[Any]) -> Any:
        """See `drrun.spi.Host.read`."""
        answers = self._session.read(self.name, facts)
        return answers[0] if len(answers) == 1 else tuple(answers)

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
        """See `drrun.spi.Host.require`."""
        answer: T = self._session.require(
            self.name,
            fact,
            as_predicate(must),
            because=because,
            hint=hint,
            within=seconds(within) if within else 0.0,
            hopeless=hopeless,
        )
        return answer

    def expect(
        self, fact: Fact[T], must: T, *, because: str, hint: str = "", within: str = ""
    ) -> None:
        """See `drrun.spi.Host.expect`."""
        owed = Owed(fact, must, because, hint)
        self._session.expect(self.name, owed, within=seconds(within) if within else 0.0)

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
        """See `drrun.spi.Host.change`."""
        change = Change(
            name,
            command,
            dict(sets or {}),
            tuple(touches),
            only_if,
            returns,
            repeat,
            seconds(timeout) if timeout else 0.0,
            seconds(within),
            tuple(exits),
            hopeless,
        )
        return self._session.change(self.name, change)

    def put(
        self, name: str, source: Path, dest: str, *, mode: str = "0600", owner: str = ""
    ) -> str:
        """See `drrun.spi.Host.put`."""
        return self._session.put(self.name, Copy(name, source, dest, mode, owner))

    def get(self, name: str, source: str, dest: Path) -> str:
        """See `drrun.spi.Host.get`."""
        return self._session.get(self.name, name, source, dest)

    def ask(self, question: str, *, expect: str = "") -> str:
        """See `drrun.spi.Host.ask`."""
        return self._session.ask(self.name, question, expect)

    def note(self, text: str) -> None:
        """See `drrun.spi.Host.note`."""
        self._session.note(text)

    def measure(self, name: str, value: float) -> None:
        """See `drrun.spi.Host.measure`."""
        self._session.measure(name, value)


class GroupView:
    """`drrun.spi.Group` over a session."""

    def __init__(
        self,
        session: Session,
        plan: Plan,
        unit: Unit,
        fenced: Collection[HostName],
    ) -> None:
        step = plan.step_of[unit.step]
        self._session = session
        self._plan = plan
        self._step = step.id
        self._fenced = fenced
        self.hosts = [self[host] for host in unit.hosts if host not in fenced]
        self.fenced: Sequence[str] = (
            *step.fenced,
            *(host for host in unit.hosts if host in fenced),
        )

    def __getitem__(self, name: str) -> HostView:
        target = self._plan.targets[HostName(name)]
        return HostView(self._session, target, self._plan.run, self._step)

    def role(self, expression: str) -> Sequence[HostView]:
        """See `drrun.spi.Group.role`."""
        names = resolve(expression, self._plan.roles, tuple(self._plan.targets))
        for name in names:
            if name not in self._plan.targets:
                raise Refused(
                    f"{self._step} looks at {name}, of `{expression}`, where no step of this runbook "
                    "does anything: drrun is not connected to it",
                    hint=f"add a step that reads something on {name}",
                )
        return [self[name] for name in names if name not in self._fenced]

    def read(self, fact: Fact[T], hosts: Sequence[Host] | None = None) -> Mapping[str, T]:
        """See `drrun.spi.Group.read`."""
        chosen: Sequence[Host] = self.hosts if hosts is None else hosts
        answers = self._session.read_all([HostName(host.name) for host in chosen], fact)
        return {str(host): answer for host, answer in answers.items()}

    def choose(
        self, name: str, fact: Fact[Any], fits: Predicate, *, prefer: Fact[Any] | None = None
    ) -> HostView:
        """See `drrun.spi.Group.choose`."""
        names = [host.name for host in self.hosts]
        return self[self._session.choose(names, name, fact, fits, prefer)]

    def note(self, text: str) -> None:
        """See `drrun.spi.Host.note`."""
        self._session.note(text)

    def measure(self, name: str, value: float) -> None:
        """See `drrun.spi.Host.measure`."""
        self._session.measure(name, value)


def decoded(fact: Fact[Any], answer: Json) -> Any:
    """A journaled answer, as the type that the step works with."""
    return fact.answers.validate_python(answer)


def encoded(fact: Fact[Any], value: object) -> Json:
    """A value of the fact's type, as JSON. Holes cannot be encoded: NotKnownError."""
    if isinstance(value, NotKnown):
        str(value)
    answer: Json = fact.answers.dump_python(value, mode="json")
    return answer
