"""A sealed forecast beside the one of now: what refuses, and what may move and is only told. Pure.

What names a thing must be the same, what a unit requires must still hold, and no change may be
made that nobody saw. All else may move: a plan that no moving fact survives is of no use (H18).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from drrun.execute.dry import Forecast, UnitForecast
from drrun.execute.forecast import Predicted
from drrun.plan.diff import Difference, differences
from drrun.values import Effect, HostName, UnitId

Kind = Literal[
    "runbook", "inventory", "input", "code", "host-key", "identity", "guard", "change", "unknown"
]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that moved, and whose moving refuses. `details` show how."""

    kind: Kind
    text: str
    details: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True)
class Moved:
    """One thing that moved, and may. It is told."""

    text: str
    details: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """What became of a sealed forecast."""

    findings: tuple[Finding, ...]
    moved: tuple[Moved, ...]


Place: TypeAlias = tuple[UnitId, HostName, str]


def compare(sealed: Forecast, now: Forecast) -> Comparison:
    """Everything that differs. A forecast that ends in a refusal is compared as far as it came."""
    findings = [
        Finding("guard", f"{unit.unit} would be refused now: {unit.refused}")
        for unit in now.refusals
    ]
    moved: list[Moved] = []
    for found in _facts(sealed, now):
        (findings if isinstance(found, Finding) else moved).append(found)  # type: ignore[arg-type]
    before = {unit.unit: unit for unit in sealed.units}
    for unit in now.units:
        if unit.unit in before and not unit.refused:
            for found in _Units(sealed, before[unit.unit], unit).compared():
                (findings if isinstance(found, Finding) else moved).append(found)  # type: ignore[arg-type]
    return Comparison(tuple(findings), tuple(moved))


def _facts(sealed: Forecast, now: Forecast) -> Iterator[Finding | Moved]:
    answers = {(fact.host, fact.fact): fact for fact in now.facts}
    for old in sealed.facts:
        new = answers.get((old.host, old.fact))
        if new is None:
            if old.pinned is not None and not now.refusals:
                text = f"{old.fact} of {old.host} was not asked this time: nobody knows that it is the same"
                yield Finding("identity", text)
        elif (old.pinned, new.pinned) != (None, None) and (
            details := tuple(differences(old.pinned, new.pinned))
        ):
            yield Finding("identity", f"{old.fact} of {old.host} is another one", details)
        elif details := tuple(differences(old.answer, new.answer)):
            yield Moved(f"{old.fact} of {old.host}", details)


@dataclass(frozen=True, slots=True)
class _Units:
    """One unit, sealed and now."""

    sealed: Forecast
    was: UnitForecast
    now: UnitForecast

    def compared(self) -> Iterator[Finding | Moved]:
        if self.now.unknown and not self.was.unknown:
            text = f"{self.now.unit}: what it will do can no longer be told: {self.now.unknown}"
            yield Finding("unknown", text)
            return
        if bool(self.was.skipped) != bool(self.now.skipped):
            word = "skipped" if self.now.skipped else "no longer skipped"
            why = self.now.skipped or self.was.skipped
            yield Finding("change", f"{self.now.unit} would be {word} now ({why})")
            return
        old, new = _placed(self.was), _placed(self.now)
        for place, change in new.items():
            yield from self._change(place, change, old)
        for place, change in old.items():
            if place not in new and not self._elsewhere(change, new):
                yield Moved(f"{_named(change)} is not needed any more")
        shared = [place for place in new if place in old]
        if shared != [place for place in old if place in new]:
            yield Finding("change", f"{self.now.unit} would make its changes in another order")

    def _change(
        self, place: Place, change: Predicted, old: Mapping[Place, Predicted]
    ) -> Iterator[Finding | Moved]:
        if place in old:
            details = tuple(
                d for d in differences(old[place].command, change.command) if not _hole(d.was)
            )
            if details:
                yield Finding("change", f"{_named(change)} would send another command", details)
            return
        if elsewhere := self._elsewhere(change, old):
            yield Moved(f"{_named(change)}: it was to be made on {elsewhere.host}")
        elif self.was.unknown:
            yield Moved(f"{_named(change)}: now it can be told")
        else:
            text = f"{_named(change)} would be made as well now: {change.preview}"
            yield Finding("change", text)

    def _elsewhere(self, change: Predicted, others: Mapping[Place, Predicted]) -> Predicted | None:
        """The same change on another host of a group that chooses one: harmless where it destroys nothing."""
        step = self.sealed.plan.step_of[self.was.step]
        if step.kind != "group" or step.effect is Effect.DESTROY:
            return None
        text = _text(change)
        twins = (o for o in others.values() if o.name == change.name and _text(o) == text)
        return next((o for o in twins if o.host != change.host), None)


def _placed(unit: UnitForecast) -> dict[Place, Predicted]:
    return {(unit.unit, change.host, change.name): change for change in unit.changes}


def _named(change: Predicted) -> str:
    return f"{change.unit}: {change.name} on {change.host}"


def _text(change: Predicted) -> object:
    command = change.command
    return (command["text"], command["argv"]) if isinstance(command, Mapping) else command


def _hole(value: object) -> bool:
    """A hole was sealed as one: whatever a run gives there fits."""
    return isinstance(value, Mapping) and set(value) == {"known_after"}
