"""Ordering rules, proved on the graph for every interleaving.

A rule holds for a guarded unit when some unit that brings the state about is an ancestor of it, and
every unit that brings about another value of the same state comes before that one, or after the
guarded unit. Luck in timing, a `when` that may skip, and a failure that was allowed to continue are
no proof. Source: hazards H4 and H5; the same guards are read live before each guarded change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from drrun.plan.graph import Order
from drrun.plan.plan import Guard, PlanStep, Unit
from drrun.values import HostName, Json, StepId, UnitId

States = Mapping[UnitId, Mapping[str, Json]]
"""What each unit brings about: FactRef.key -> value, at the unit's own hosts."""


@dataclass(frozen=True, slots=True)
class Breach:
    """A guarded unit for which a rule cannot be proved, and why not."""

    unit: UnitId
    step: StepId
    guard: Guard
    host: HostName
    reason: str


def prove(
    units: Sequence[Unit], steps: Mapping[StepId, PlanStep], states: States
) -> Sequence[Breach]:
    """Every breach, at most one for each guard of each unit."""
    if not any(unit.guards for unit in units):
        return ()
    order = Order(units)
    found = []
    for unit in units:
        for guard in unit.guards:
            breach = _first_breach(unit, guard, units, steps, states, order)
            if breach is not None:
                found.append(breach)
    return found


def _first_breach(
    unit: Unit,
    guard: Guard,
    units: Sequence[Unit],
    steps: Mapping[StepId, PlanStep],
    states: States,
    order: Order,
) -> Breach | None:
    for host in guard.hosts:
        setters = [
            (other, states[other.id][guard.fact.key])
            for other in units
            if host in other.hosts and guard.fact.key in states.get(other.id, {})
        ]
        reason = _why_unproved(unit, guard, setters, steps, order)
        if reason:
            return Breach(unit.id, unit.step, guard, host, reason)
    return None


def _why_unproved(
    unit: Unit,
    guard: Guard,
    setters: Sequence[tuple[Unit, Json]],
    steps: Mapping[StepId, PlanStep],
    order: Order,
) -> str:
    right = [other for other, value in setters if value == guard.value]
    wrong = [other for other, value in setters if value != guard.value]
    before = [other for other in right if order.before(other.id, unit.id)]
    if not before:
        if right:
            return f"{right[0].step} does it, but nothing makes it come before {unit.step}"
        return "no step of this runbook does it"
    firm = [other for other in before if steps[other.step].when is None]
    if not firm:
        return f"{before[0].step} does it, but its `when` may skip it"
    for other in wrong:
        undone_after = order.before(unit.id, other.id)
        redone = any(order.before(other.id, good.id) for good in firm)
        if not (undone_after or redone):
            return f"{other.step} may reverse it before {unit.step} runs"
    return ""
