"""What a dry-run promised beside what the journal says was done: every difference is a lie.

Rule 1 (hazard H17): what is sure is made, in its order within each unit and along the graph, with
the very command; a command with a slot is the same but for the slot; a unit whose prediction ended
makes what was told up to there; a skipped unit is skipped; nothing else is made anywhere.
Rule 2: nothing here imports what makes a forecast or a run; both arrive as what they wrote down.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from drrun.execute.copying import FileSum
from drrun.execute.dry import Forecast, UnitForecast
from drrun.execute.forecast import Predicted
from drrun.journal.events import Answered, ChangeFinished, ChangeIntended, Event, UnitFinished
from drrun.plan.plan import Plan
from drrun.registry import Registry
from drrun.spi import Fact
from drrun.values import Grade, Json, Outcome, UnitId, digest

HOLE = re.compile(r"<known after .*?>")
BAD = (Outcome.FAILED, Outcome.REFUSED, Outcome.UNKNOWN)


@dataclass
class Tally:
    """What was promised, what was kept, and every lie in words."""

    predicted: int = 0
    """Changes that were sure, of units that the run came to, and changes that nobody told of."""
    kept: int = 0
    slots: int = 0
    """Of those kept, the ones with a value in them that only the run could give."""
    conditional: int = 0
    """Changes that were told as `may be made`, whether made or not."""
    beyond: int = 0
    """Changes behind the point where a unit's prediction said that it ends."""
    facts: int = 0
    """Facts whose value was told, and that were read again after the change."""
    facts_kept: int = 0
    proved: int = 0
    """Facts that were told by a predicate, which the run saw hold."""
    lies: list[str] = field(default_factory=list)
    grades: dict[str, int] = field(default_factory=dict)
    left: int = 0
    """Facts that were told to hold at the end, and were read again then."""

    @property
    def figures(self) -> dict[str, int]:
        """All of it as numbers."""
        counted = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "grades"}
        return {
            **counted,
            **{f"{g} units": n for g, n in self.grades.items()},
            "lies": len(self.lies),
        }

    @property
    def words(self) -> str:
        """One line."""
        return ", ".join(f"{name} {number}" for name, number in self.figures.items())


EMPTY = "renders empty"
"""How a step ends whose template gives nothing, in drrun's words."""


def judged(forecast: Forecast, events: Sequence[Event], registry: Registry) -> Tally:
    """Hold a run against its forecast."""
    tally = Tally(grades={str(g): n for g, n in forecast.coverage().items()})
    made = _made(events)
    ends = {e.unit: e for e in events if isinstance(e, UnitFinished) and not e.undo}
    told = {unit.unit: unit for unit in forecast.units}
    for unit in forecast.units:
        _unit(tally, unit, made.get(unit.unit, []), ends.get(unit.unit))
    for name, changes in made.items():
        if name not in told:
            for change in changes:
                _lie(tally, f"nobody told of {name}: {change.name} on {change.host}")
    _facts(tally, told, events, registry)
    tally.lies += _out_of_order(forecast.plan, events)
    tally.lies += _ends(forecast, told, ends)
    return tally


def _made(events: Sequence[Event]) -> dict[UnitId, list[ChangeIntended]]:
    """The changes of each unit, in order, each once however often it was sent."""
    found: dict[UnitId, dict[tuple[str, str], ChangeIntended]] = {}
    for event in events:
        if isinstance(event, ChangeIntended) and not event.undo:
            found.setdefault(event.unit, {}).setdefault((event.host, event.name), event)
    return {unit: list(changes.values()) for unit, changes in found.items()}


def _lie(tally: Tally, text: str) -> None:
    tally.predicted += 1
    tally.lies.append(text)


def _unit(
    tally: Tally, unit: UnitForecast, made: Sequence[ChangeIntended], end: UnitFinished | None
) -> None:
    """One unit's changes, told and made, side by side."""
    if unit.skipped and (made or (end and end.outcome is not Outcome.SKIPPED)):
        _lie(tally, f"{unit.unit} was to be skipped")
        return
    left = list(made)
    for change in unit.changes:
        tally.conditional += bool(change.conditional)
        if left and (left[0].host, left[0].name) == (change.host, change.name):
            _same(tally, change, left.pop(0))
        elif change.conditional:
            continue
        elif end is not None and end.outcome not in BAD:
            _lie(tally, f"not made: {change.unit}: {change.name} on {change.host}")
    for besides in left:
        if unit.unknown:
            tally.beyond += 1
        else:
            _lie(tally, f"made besides: {besides.unit}: {besides.name} on {besides.host}")


def _same(tally: Tally, told: Predicted, made: ChangeIntended) -> None:
    where = f"{told.unit}: {told.name} on {told.host}"
    hole = _has_hole(told.command)
    question = {"host": told.host, "name": told.name, "command": told.command}
    same = _fits(told.preview, made.preview) if hole else digest(question) == made.asked
    if digest(told.command) != told.digest:
        _lie(tally, f"its digest is of another command: {where}")
    elif not same:
        _lie(tally, f"another command: {where}: told {told.preview!r}, sent {made.preview!r}")
    elif not told.conditional:
        tally.predicted += 1
        tally.kept += 1
        tally.slots += hole


def _fits(told: str, made: str) -> bool:
    """Whether a line is the one that was told, with something in each of its slots."""
    return re.fullmatch(".*?".join(map(re.escape, HOLE.split(told))), made, re.DOTALL) is not None


def _has_hole(value: object) -> bool:
    if isinstance(value, Mapping):
        return "known_after" in value or any(_has_hole(inner) for inner in value.values())
    return isinstance(value, list | tuple) and any(_has_hole(inner) for inner in value)


# -- facts ------------------------------------------------------------------------------------


def _facts(
    tally: Tally,
    told: Mapping[UnitId, UnitForecast],
    events: Sequence[Event],
    registry: Registry,
) -> None:
    """Every fact that a change was to set, against its answer after that change."""
    names = {
        (e.unit, e.attempt, e.ordinal): (e.host, e.name)
        for e in events
        if isinstance(e, ChangeFinished) and not e.undo
    }
    for event in events:
        if not isinstance(event, Answered) or event.kind != "verify" or event.undo:
            continue
        place = names[event.unit, event.attempt, event.ordinal]
        for change in told[event.unit].changes if event.unit in told else ():
            if (change.host, change.name) == place:
                _after(tally, change, event.answers, registry)


def _after(
    tally: Tally, change: Predicted, answers: Mapping[str, Json], registry: Registry
) -> None:
    tests = set(change.tests)
    for key, shown in change.sets:
        if key in tests:
            tally.proved += 1
            continue
        if HOLE.search(shown):
            continue
        tally.facts += 1
        seen = str(answer_of(registry, key, answers.get(key)))
        tally.facts_kept += seen == shown
        if seen != shown:
            tally.lies.append(
                f"{change.unit}: after {change.name}, {key} of {change.host} is {seen!r}, "
                f"told was {shown!r}"
            )


def answer_of(registry: Registry, key: str, answer: Json) -> Any:
    """A journaled answer as the type of its fact."""
    return _kind(registry, key).answers.validate_python(answer)


def _kind(registry: Registry, key: str) -> type[Fact[Any]]:
    name = key.partition("(")[0]
    # Copies are drrun's own, and so is the fact that proves them.
    return FileSum if name == FileSum.name else registry._module(name)[1][name]


# -- order and ends ---------------------------------------------------------------------------


def _out_of_order(plan: Plan, events: Sequence[Event]) -> Iterator[str]:
    """Changes that were made before those that the graph puts first."""
    first: dict[UnitId, int] = {}
    last: dict[UnitId, int] = {}
    for at, event in enumerate(events):
        if isinstance(event, ChangeIntended) and not event.undo:
            first.setdefault(event.unit, at)
            last[event.unit] = at
    for unit in plan.units:
        for need in unit.needs:
            for before in plan.units_of[need.step]:
                meant = need.host in (None, before.host) and before.id != unit.id
                if meant and last.get(before.id, -1) > first.get(unit.id, len(events)):
                    yield f"{unit.id} began before {before.id} had ended"


def _ends(
    forecast: Forecast, told: Mapping[UnitId, UnitForecast], ends: Mapping[UnitId, UnitFinished]
) -> Iterator[str]:
    """Units that ended otherwise than told; one that only a run can judge may end as it likes."""
    stopped = any(end.outcome in BAD for end in ends.values())
    for unit in forecast.plan.units:
        end, was = ends.get(unit.id), told.get(unit.id)
        if was is None:
            if end is not None:
                yield f"{unit.id} was not to be reached, and ended as {end.outcome}"
        elif end is None:
            if not stopped and not was.refused:
                yield f"{unit.id} was to be done, and was never reached"
        elif was.refused and end.outcome not in BAD:
            yield f"{unit.id} was to be refused ({was.refused}), and ended as {end.outcome}"
        elif end.outcome in BAD and not (was.refused or was.unknown or was.unchecked):
            if EMPTY in end.why and any(_has_hole(change.command) for change in was.changes):
                continue  # that only a run gives this value was told, and it gave none
            yield f"{unit.id} was to be done, and ended as {end.outcome}: {end.why}"
        elif was.grade is not Grade.UNKNOWN and end.outcome is Outcome.SKIPPED and not was.skipped:
            yield f"{unit.id} was to be done, and was skipped"
