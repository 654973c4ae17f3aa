"""What step types and runbooks demand, proved on the graph for every interleaving.

A rule holds for a guarded unit when some unit that brings the state about is an ancestor of it, and
every unit that brings about another value of the same state comes before that one, or after the
guarded unit. Luck in timing, a `when` that may skip, and a failure that was allowed to continue are
no proof. Source: hazards H4 and H5. What is proved here for a rule is bound to its unit as a guard:
the executor reads the same state before each guarded change.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from itertools import pairwise

from drrun.model.rule import STEP_DONE, Alike, Alone, Demand, Duty, FactRef, Rule
from drrun.model.spec import Effects
from drrun.plan.graph import Order
from drrun.plan.plan import Guard, PlanStep, Unit
from drrun.values import HostName, Json, StepId, UnitId


class Runs(Enum):
    """Whether a unit runs, as far as its `when` can be told from what the plan knows."""

    SURELY = "surely"
    MAYBE = "maybe"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Carried:
    """One demand, the units that carry it, and where it must hold."""

    demand: Demand
    units: tuple[UnitId, ...]
    by: str
    """The step type, or `the runbook`."""
    hosts: tuple[HostName, ...] = ()
    """Empty: the guarded unit's own."""
    place: tuple[str | int, ...] = ()
    """Where it stands in the runbook, for one that no step carries."""
    fenced: tuple[HostName, ...] = ()
    """Hosts of it that count by the operator's word."""


@dataclass(frozen=True, slots=True)
class Breach:
    """A demand that cannot be proved for a unit, and why not."""

    step: StepId | None
    message: str
    because: str
    by: str
    place: tuple[str | int, ...] = ()


@dataclass(frozen=True, slots=True)
class Proved:
    """What could not be proved, and the guards of the units for which a rule could."""

    breaches: tuple[Breach, ...]
    guards: Mapping[UnitId, tuple[Guard, ...]]


def prove(
    units: Sequence[Unit],
    steps: Mapping[StepId, PlanStep],
    effects: Mapping[UnitId, Effects],
    runs: Mapping[UnitId, Runs],
    carried: Sequence[Carried],
) -> Proved:
    """Every breach, at most one for each demand of each unit; and every unit's guards."""
    if not carried:
        return Proved((), {})
    proof = _Proof(units, steps, effects, runs, Order(units))
    breaches: list[Breach] = []
    guards: dict[UnitId, list[Guard]] = defaultdict(list)
    for whole in carried:
        one = replace(whole, units=tuple(u for u in whole.units if runs[u] is not Runs.NEVER))
        if whole.units and not one.units:
            continue  # carried by steps alone that this plan skips
        match one.demand:
            case Rule() as rule:
                for guarded in proof.guarded(rule, one):
                    guard, reason = proof.rule(guarded, rule, one)
                    never = rule.fact.name == STEP_DONE and rule.value is False
                    guards[guarded.id] += [guard] if rule.live and not never else []
                    breaches += _breach(guarded, rule, one, reason)
            case Duty() as duty:
                for unit_id in one.units or (None,):
                    unit = None if unit_id is None else proof.units[unit_id]
                    breaches += _breach(unit, duty, one, proof.duty(unit, duty, one))
            case Alone() | Alike():
                pass  # together with those of the same name, below
    breaches += proof.alone([one for one in carried if isinstance(one.demand, Alone)])
    breaches += proof.alike([one for one in carried if isinstance(one.demand, Alike)])
    return Proved(tuple(breaches), {unit: tuple(found) for unit, found in guards.items()})


def _breach(unit: Unit | None, demand: Rule | Duty, one: Carried, reason: str) -> list[Breach]:
    """The breach in words, when there is a reason."""
    if not reason:
        return []
    when = (
        f"{'before' if isinstance(demand, Rule) else 'after'} {unit.step}" if unit else "at its end"
    )
    message = f"{when}, {told(demand.fact, demand.value)} {reason}"
    return [Breach(unit.step if unit else None, message, demand.because, one.by, one.place)]


def told(fact: FactRef, value: Json) -> str:
    """What must be, in words."""
    if fact.name != STEP_DONE:
        return f"{fact.key} must be {value!r}"
    return f"{done_words(fact)} must {'' if value else 'not '}have been done"


def done_words(fact: FactRef) -> str:
    """`service.restart (service=kubelet)`, of a fact that a step was done."""
    more = ", ".join(f"{k}={v}" for k, v in sorted(fact.args.items()) if k != "uses")
    return f"{fact.args['uses']}{f' ({more})' if more else ''}"


@dataclass(slots=True)
class _Proof:
    """Who brings which state about, where, and who is proved to come before whom."""

    all_units: Sequence[Unit]
    steps: Mapping[StepId, PlanStep]
    effects: Mapping[UnitId, Effects]
    runs: Mapping[UnitId, Runs]
    order: Order
    units: dict[UnitId, Unit] = field(default_factory=dict)
    _sets: dict[tuple[str, HostName], list[tuple[Unit, Json]]] = field(default_factory=dict)
    _passes: dict[tuple[str, HostName], list[tuple[Unit, Json]]] = field(default_factory=dict)
    _of_type: dict[tuple[str, HostName], list[Unit]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for unit in self.all_units:
            self.units[unit.id] = unit
            for host in unit.hosts:
                self._of_type.setdefault((self.steps[unit.step].uses, host), []).append(unit)
            promised = self.effects.get(unit.id, Effects())
            for index, states in (
                (self._sets, promised.transitions),
                (self._passes, promised.passes),
            ):
                for key, value in states.items():
                    for host in unit.hosts:
                        index.setdefault((key, host), []).append((unit, value))

    # --- rules -------------------------------------------------------------------------------

    def guarded(self, rule: Rule, one: Carried) -> Iterator[Unit]:
        """The units that a rule guards."""
        if rule.before is None:
            yield from (self.units[unit] for unit in one.units)
            return
        fact, value = rule.before.fact, rule.before.value
        for unit in self.all_units:
            brings = self.effects.get(unit.id, Effects()).transitions.get(fact.key)
            if fact.name == STEP_DONE:
                brings = self.steps[unit.step].uses == fact.args["uses"] and _has(unit, fact)
            if brings != value or unit.id in one.units or self.runs[unit.id] is Runs.NEVER:
                continue
            earlier = all(self.order.before(unit.id, carrier) for carrier in one.units)
            if rule.earlier or not earlier:
                yield unit

    def rule(self, unit: Unit, rule: Rule, one: Carried) -> tuple[Guard, str]:
        """The guard, and why the rule cannot be proved; no reason when it can."""
        hosts = one.hosts or unit.hosts
        since = one.units if rule.before is not None else ()
        judged = {host: self._held(unit, rule, host, since) for host in hosts}
        by = {proved for _, found in judged.values() for proved in found}
        guard = Guard(
            rule.fact,
            hosts,
            rule.value,
            rule.because,
            one.by,
            some=rule.some,
            by=tuple(unit.id for unit in self.all_units if unit.id in by),
            undo=rule.before is None and rule.fact.name != STEP_DONE,
            fenced=one.fenced,
            present=rule.present,
        )
        return guard, _first({host: reason for host, (reason, _) in judged.items()}, rule.some)

    def _held(
        self, unit: Unit, rule: Rule, host: HostName, since: Sequence[UnitId]
    ) -> tuple[str, list[UnitId]]:
        """Why the state is not proved on a host before a unit, and which units prove it."""
        right, wrong = self._setters(rule.fact, host, rule.value, but=unit.id)
        before = [other for other in right if self.order.before(other.id, unit.id)]
        good = [other for other in before if self._since(other, since)]
        firm = self._firm(good)
        standing = rule.standing or (rule.fact.name == STEP_DONE and rule.value is False)
        if not firm and not standing:
            return self._missing(unit, right, before, good, since), []
        for other in wrong:
            later = self.order.before(unit.id, other.id)
            if not later and not any(self.order.before(other.id, one.id) for one in firm):
                return f"{other.step} may reverse it before {unit.step} runs", []
        for other, value in self._passes.get((rule.fact.key, host), ()):
            ordered = self.order.before(other.id, unit.id) or self.order.before(unit.id, other.id)
            if value != rule.value and other.id != unit.id and not ordered:
                return f"{other.step} leaves it for a while, beside {unit.step}", []
        return "", [other.id for other in firm]

    def _firm(self, units: Sequence[Unit]) -> list[Unit]:
        """Those that no `when` may skip."""
        return [unit for unit in units if self.runs[unit.id] is Runs.SURELY]

    def _missing(
        self,
        unit: Unit,
        right: Sequence[Unit],
        before: Sequence[Unit],
        good: Sequence[Unit],
        since: Sequence[UnitId],
    ) -> str:
        if good:
            return f"{good[0].step} does it, but its `when` may skip it"
        if before:
            return f"{before[0].step} does it, but before {self.units[since[0]].step}"
        if right:
            return f"{right[0].step} does it, but nothing makes it come before {unit.step}"
        return "no step of this runbook does it"

    def _since(self, unit: Unit, since: Sequence[UnitId]) -> bool:
        return unit.id in since or all(self.order.before(one, unit.id) for one in since)

    def _setters(
        self, fact: FactRef, host: HostName, value: Json, *, but: UnitId | None
    ) -> tuple[list[Unit], list[Unit]]:
        """The units that bring the state about on a host, and those that bring another one."""
        if fact.name == STEP_DONE:
            of_type = self._of_type.get((str(fact.args["uses"]), host), ())
            found: list[tuple[Unit, Json]] = [(u, True) for u in of_type if _has(u, fact)]
        else:
            found = self._sets.get((fact.key, host), [])
        right = [unit for unit, brought in found if brought == value and unit.id != but]
        wrong = [unit for unit, brought in found if brought != value and unit.id != but]
        return right, wrong

    # --- duties, and demands on several steps ------------------------------------------------

    def duty(self, unit: Unit | None, duty: Duty, one: Carried) -> str:
        """Why the state is not proved to be brought about after a unit; empty when it is."""
        hosts = one.hosts or (unit.hosts if unit else ())
        return _first({host: self._followed(unit, duty, host) for host in hosts}, duty.some)

    def _followed(self, unit: Unit | None, duty: Duty, host: HostName) -> str:
        right, wrong = self._setters(duty.fact, host, duty.value, but=unit.id if unit else None)
        after = [o for o in right if unit is None or self.order.before(unit.id, o.id)]
        firm = self._firm(after)
        anew = [other for other in firm if not duty.anew or self._anew(other, duty, host, wrong)]
        if anew:
            late = [w for w in wrong if not any(self.order.before(w.id, one.id) for one in anew)]
            return f"{late[0].step} may reverse it" if late else ""
        if firm:
            return f"{firm[0].step} finds it so: nothing makes it another before"
        if after:
            return f"{after[0].step} does it, but its `when` may skip it"
        if right and unit is not None:
            return f"{right[0].step} does it, but nothing makes it come after {unit.step}"
        return "no step of this runbook does it"

    def _anew(self, unit: Unit, duty: Duty, host: HostName, wrong: Sequence[Unit]) -> bool:
        passed = [
            value for one, value in self._passes.get((duty.fact.key, host), ()) if one is unit
        ]
        return any(value != duty.value for value in passed) or any(
            self.order.before(other.id, unit.id) for other in self._firm(wrong)
        )

    def alone(self, carried: Sequence[Carried]) -> list[Breach]:
        """Two units of one name that nothing orders. Ordered neighbours order them all."""
        named: dict[str, dict[UnitId, Carried]] = defaultdict(dict)
        for one in carried:
            assert isinstance(one.demand, Alone)
            named[one.demand.name] |= dict.fromkeys(one.units, one)
        found = []
        for mine in named.values():
            for first, second in pairwise(sorted(mine, key=self.order.depth)):
                if not self.order.before(first, second):
                    message = f"{first} and {second} may run at the same time"
                    one, step = mine[second], self.units[second].step
                    found.append(Breach(step, message, one.demand.because, one.by))
                    break
        return found

    def alike(self, carried: Sequence[Carried]) -> list[Breach]:
        """Units that carry another value than the first of the same name."""
        first: dict[str, Carried] = {}
        found = []
        for one in carried:
            assert isinstance(one.demand, Alike)
            other = first.setdefault(one.demand.name, one)
            assert isinstance(other.demand, Alike)
            if one.demand.value != other.demand.value:
                a, b = self.units[other.units[0]], self.units[one.units[0]]
                message = f"{a.step} and {b.step} differ in {one.demand.name}"
                found.append(Breach(b.step, message, one.demand.because, one.by))
        return found


def _has(unit: Unit, fact: FactRef) -> bool:
    """Whether a unit has the fields that a `step.done` names, as written."""
    return all(unit.params.get(k) == value for k, value in fact.args.items() if k != "uses")


def _first(reasons: Mapping[HostName, str], some: bool) -> str:  # noqa: FBT001 - a rule's own word
    """`on HOST, and WHY` for the first host without a proof; empty when enough hosts have one."""
    broken = [(host, reason) for host, reason in reasons.items() if reason]
    if not broken or (some and len(broken) < len(reasons)):
        return ""
    host, reason = broken[0]
    where = f"one of {', '.join(reasons)}" if some and len(reasons) > 1 else host
    return f"on {where}, and {reason}"


def guarded_units(units: Sequence[Unit], proved: Proved) -> tuple[Unit, ...]:
    """The units, each with its guards."""
    return tuple(replace(unit, guards=proved.guards.get(unit.id, ())) for unit in units)
