"""A unit's session in a dry-run: reads are real, changes are recorded, an overlay holds what they set.

Given unchanged facts and steps that succeed, the changes recorded here are the run's, in order
(hazard H17). A fact that an earlier change touched without saying its value is NotKnown: it may be
passed on, and looking at it ends the prediction of that unit, honestly graded unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from drrun.errors import NotKnownError, Refused
from drrun.execute.asking import short
from drrun.execute.copying import FileSum, Incoming, sha256_of
from drrun.execute.touching import Place, marks, places
from drrun.execute.view import Change, Copy, Owed, decoded
from drrun.plan.plan import Unit
from drrun.spi import Fact, Predicate
from drrun.values import ANYTHING, Digest, Grade, HostName, Json, NotKnown


@dataclass(frozen=True, slots=True)
class Predicted:
    """One change that a run would make."""

    unit: str
    step: str
    host: HostName
    name: str
    digest: Digest
    preview: str
    conditional: str = ""
    """Why it may not be made; empty for a change that is sure."""
    sets: tuple[tuple[str, str], ...] = ()
    command: Json = None
    """The whole command, its holes typed and its secrets masked."""
    tests: tuple[str, ...] = ()
    """Which of `sets` tell a predicate, not a value."""


@dataclass(frozen=True, slots=True)
class Guarded:
    """A predicate that a unit rests on: evaluated again whenever the unit is."""

    host: HostName
    fact: str
    must: str
    because: str


class Reader(Protocol):
    """Asks a real host, or (offline) nobody."""

    def __call__(self, host: HostName, facts: Sequence[Fact[Any]]) -> list[Json] | None:
        """The answers as JSON; None when nobody is asked."""
        ...


@dataclass(slots=True)
class Overlay:
    """What the changes recorded so far set and touched, over the whole run."""

    values: dict[tuple[HostName, str], tuple[Any, tuple[str, ...]]] = field(default_factory=dict)
    """What a fact will be, and the components that it is about."""
    touched: dict[Place, str] = field(default_factory=dict)
    """By which change; without a host, those of the whole cluster."""

    def touch(self, host: HostName, components: Sequence[str], origin: str) -> None:
        """Forget what is known of these components: of this host's, and of `@x` everywhere."""
        made = marks(host, components)
        self.touched |= dict.fromkeys(made, origin)
        for (of, key), (_, about) in list(self.values.items()):
            if not made.isdisjoint(places(of, about)):
                del self.values[(of, key)]

    def set(self, host: HostName, fact: Fact[Any], value: object) -> None:
        """A change says what the fact will be."""
        self.values[(host, fact.key)] = (value, fact.about())

    def get(self, host: HostName, fact: Fact[Any]) -> tuple[bool, Any]:
        """(whether the overlay speaks, the value or a hole)."""
        if (host, fact.key) in self.values:
            return True, self.values[(host, fact.key)][0]
        found = sorted(self.touched.keys() & places(host, fact.about()), key=str)
        return (True, NotKnown(self.touched[found[0]])) if found else (False, None)


@dataclass(slots=True)
class DrySession:
    """`drrun.execute.view.Session` that changes nothing."""

    unit: Unit
    overlay: Overlay
    reader: Reader
    changes: list[Predicted] = field(default_factory=list)
    asked: list[tuple[HostName, str]] = field(default_factory=list)
    at_run: list[str] = field(default_factory=list)
    """What a run will check and a dry-run cannot."""
    notes: list[str] = field(default_factory=list)
    guards: list[Guarded] = field(default_factory=list)
    predicted: bool = False
    """Whether anything rested on the overlay."""

    def read(self, host: HostName, facts: Sequence[Fact[Any]]) -> list[Any]:
        """The overlay's word where it has one, else the host's."""
        spoken = [self.overlay.get(host, fact) for fact in facts]
        open_facts = [f for f, (known, _) in zip(facts, spoken, strict=True) if not known]
        answers = iter(self._ask(host, open_facts))
        self.predicted = self.predicted or any(known for known, _ in spoken)
        return [value if known else next(answers) for known, value in spoken]

    def _ask(self, host: HostName, facts: Sequence[Fact[Any]]) -> list[Any]:
        if not facts:
            return []
        answers = self.reader(host, facts)
        if answers is None:
            return [NotKnown("asking the host (offline)") for _ in facts]
        self.asked += [(host, fact.key) for fact in facts]
        return [decoded(fact, answer) for fact, answer in zip(facts, answers, strict=True)]

    def read_all(self, hosts: Sequence[HostName], fact: Fact[Any]) -> Mapping[HostName, Any]:
        """Each host's answer; hosts that must be asked are asked at once."""
        asked = [host for host in hosts if not self.overlay.get(host, fact)[0]]
        with ThreadPoolExecutor(max_workers=min(len(asked), 8) or 1) as pool:
            fresh = dict(
                zip(asked, pool.map(lambda h: self._ask(h, [fact])[0], asked), strict=True)
            )
        self.predicted = self.predicted or len(asked) < len(hosts)
        return {h: fresh[h] if h in fresh else self.overlay.get(h, fact)[1] for h in hosts}

    def pass_over(self) -> None:
        """A dry-run's plan holds no question to a fenced host."""

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
        """Checked now where it can be; otherwise noted as checked by the run."""
        del within, hopeless
        self.guards.append(Guarded(host, fact.key, must.text, because))
        value = self.read(host, [fact])[0]
        if isinstance(value, NotKnown):
            self.unchecked(f"{fact.key} on {host} must be {must.text}")
            return value
        if not must.holds(value):
            raise Refused(
                f"{host}: {short(fact.key)} is {value}, must be {must.text}: {because}", hint=hint
            )
        return value

    def change(self, host: HostName, change: Change) -> Any:
        """Record it, and let the overlay say what it sets."""
        with suppress(NotKnownError):
            change.command.script()  # refused here as in the run: a NUL byte
        conditional = ""
        if change.only_if is not None:
            fact, predicate = change.only_if
            value = self.read(host, [fact])[0]
            if isinstance(value, NotKnown):
                conditional = f"only if {fact.key} is {predicate.text} ({value!r})"
            elif not predicate.holds(value):
                return None
        self._record(host, change, conditional)
        self._overlay(host, change, sure=not conditional)
        return None if change.returns is None else NotKnown(f"{self.unit.step}.{change.name}")

    def _record(self, host: HostName, change: Change, conditional: str) -> None:
        self.changes.append(
            Predicted(
                self.unit.id,
                self.unit.step,
                host,
                change.name,
                change.command.digest,
                change.command.preview,
                conditional,
                tuple((fact.key, _shown(value)) for fact, value in change.sets.items()),
                change.command.form(),
                tuple(f.key for f, value in change.sets.items() if isinstance(value, Predicate)),
            )
        )

    def _overlay(self, host: HostName, change: Change, *, sure: bool) -> None:
        origin = f"{self.unit.step}.{change.name}"
        # One that declares nothing may touch anything.
        self.overlay.touch(host, change.touched or (ANYTHING,), origin)
        for fact, value in change.sets.items():
            if isinstance(value, Predicate) or not sure:
                value = NotKnown(origin)
            self.overlay.set(host, fact, value)

    def put(self, host: HostName, copy: Copy) -> str:
        """Recorded unless the host has the very bytes already."""
        sha256 = sha256_of(copy.source)
        there = self.read(host, [FileSum(copy.dest)])[0]
        if not isinstance(there, NotKnown) and there == sha256:
            return sha256
        self.change(host, Incoming(copy, sha256).change())
        return sha256

    def get(self, host: HostName, name: str, source: str, dest: Path) -> Any:
        """A copy to the controller is no change of a host: noted."""
        known = self.read(host, [FileSum(source)])[0]
        self.notes.append(f"{name}: copies {source} of {host} to {dest}")
        return (
            known if isinstance(known, NotKnown) or known else NotKnown(f"{self.unit.step}.{name}")
        )

    def choose(
        self,
        hosts: Sequence[HostName],
        name: str,
        fact: Fact[Any],
        fits: Predicate,
        prefer: Fact[Any] | None,
    ) -> HostName:
        """The host that would be chosen now."""
        answers = self.read_all(hosts, fact)
        fitting = [host for host, value in answers.items() if fits.holds(value)]
        if not fitting:
            raise Refused(f"no host fits {name}: {fact.key} must be {fits.text}")
        if prefer is not None:
            liked = self.read_all(fitting, prefer)
            fitting.sort(key=lambda host: not liked[host])
        return fitting[0]

    def ask(self, host: HostName, question: str, expect: str) -> str:
        """Nobody is asked; the forecast goes on as if the answer were yes."""
        del host
        self.notes.append(f"asks: {question}")
        return expect or "yes"

    def note(self, text: str) -> None:
        """Keep the note."""
        self.notes.append(text)

    def measure(self, name: str, value: float) -> None:
        """Figures are taken in a run."""

    def expect(self, host: HostName, owed: Owed, *, within: float) -> None:
        """An undo is not forecast."""
        del within
        self.unchecked(f"{owed.fact.key} on {host} must be {owed.must}")

    def unchecked(self, what: str) -> None:
        """Keep what a run will check."""
        self.at_run.append(what)

    @property
    def grade(self) -> Grade:
        """What this unit's prediction rests on."""
        return Grade.PREDICTED if self.predicted else Grade.OBSERVED


def _shown(value: object) -> str:
    if isinstance(value, Predicate):
        return value.text
    return repr(value) if isinstance(value, NotKnown) else str(value)
