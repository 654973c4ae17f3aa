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
    proof = _Proof(units, steps, states, Order(units))
    found = (proof.breach(unit, guard) for unit in units for guard in unit.guards)
    return [breach for breach in found if breach is not None]


@dataclass(frozen=True, slots=True)
class _Proof:
    units: Sequence[Unit]
    steps: Mapping[StepId, PlanStep]
    states: States
    order: Order

    def breach(self, unit: Unit, guard: Guard) -> Breach | None:
        """The first host for which the guard cannot be proved."""
        for host in guard.hosts:
            setters = [
                (other, self.states[other.id][guard.fact.key])
                for other in self.units
                if host in other.hosts and guard.fact.key in self.states.get(other.id, {})
            ]
            reason = self._why_unproved(unit, guard, setters)
            if reason:
                return Breach(unit.id, unit.step, guard, host, reason)
        return None

    def _why_unproved(self, unit: Unit, guard: Guard, setters: Sequence[tuple[Unit, Json]]) -> str:
        right = [other for other, value in setters if value == guard.value]
        wrong = [other for other, value in setters if value != guard.value]
        before = [other for other in right if self.order.before(other.id, unit.id)]
        if not before:
            if right:
                return f"{right[0].step} does it, but nothing makes it come before {unit.step}"
            return "no step of this runbook does it"
        firm = [other for other in before if self.steps[other.step].when is None]
        if not firm:
            return f"{before[0].step} does it, but its `when` may skip it"
        for other in wrong:
            undone_after = self.order.before(unit.id, other.id)
            redone = any(self.order.before(other.id, good.id) for good in firm)
            if not (undone_after or redone):
                return f"{other.step} may reverse it before {unit.step} runs"
        return ""
