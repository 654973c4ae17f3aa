"""What differs between two plans of one runbook, between two inventories, between two values. Pure.

Positions in the file are no difference: a comment that was added moves every step, and changes none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

from drrun.plan.plan import Plan, PlanStep, Unit
from drrun.values import StepId

PLACES = frozenset({"line"})
"""Fields of a step that say where it stands, not what it does."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One value that differs; `at` is its path. MISSING stands for a side that has none."""

    at: str
    was: object
    now: object


class Missing:
    """The value of a side that has none."""

    def __repr__(self) -> str:
        return "nothing"


MISSING = Missing()


def differences(was: object, now: object, at: str = "") -> Iterator[Difference]:
    """Every leaf in which two JSON values differ."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for key in (*was, *(key for key in now if key not in was)):
            path = f"{at}.{key}" if at else str(key)
            yield from differences(was.get(key, MISSING), now.get(key, MISSING), path)
    elif _is_list(was) and _is_list(now) and len(was) == len(now):
        for index, (old, new) in enumerate(zip(was, now, strict=True)):
            yield from differences(old, new, f"{at}[{index}]")
    elif not _same(was, now):
        yield Difference(at, was, now)


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _same(was: object, now: object) -> bool:
    if _is_list(was) and _is_list(now):
        return list(was) == list(now)
    return type(was) is type(now) and bool(was == now)


@dataclass(frozen=True, slots=True)
class StepDrift:
    """How one step of a plan differs from the same step of another plan."""

    step: StepId
    what: str
    """`changed`, `added` or `removed`."""
    differences: tuple[Difference, ...] = ()


def step_drifts(was: Plan, now: Plan) -> tuple[StepDrift, ...]:
    """Every step that was added, removed or changed, its units included."""
    found = [StepDrift(step, "removed") for step in was.step_of if step not in now.step_of]
    for step in now.step_of:
        if step not in was.step_of:
            found.append(StepDrift(step, "added"))
        elif changed := tuple(differences(_defined(was, step), _defined(now, step))):
            found.append(StepDrift(step, "changed", changed))
    return tuple(found)


def _defined(plan: Plan, step: StepId) -> dict[str, Any]:
    """All that a step is: what its units share, and each unit."""
    return {
        **_plain(plan.step_of[step], PLACES),
        "units": {unit.id: _plain(unit, {"id", "step"}) for unit in plan.units_of[step]},
    }


def _plain(part: PlanStep | Unit, without: frozenset[str] | set[str]) -> dict[str, Any]:
    return {k: v for k, v in dataclasses.asdict(part).items() if k not in without}
