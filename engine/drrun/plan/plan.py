"""The plan: a runbook resolved against an inventory, as a frozen graph of units with a digest.

A run, and every resume of it, needs the plan alone: neither the runbook nor the inventory is read
again. `to_json` and `from_json` are exact inverses, so the digest can be checked by anybody.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from drrun.model.fencing import Fencing, Unreached
from drrun.model.inventory import Target
from drrun.model.rule import FactRef
from drrun.values import Digest, Effect, HostName, Json, Repeat, RunId, StepId, UnitId, digest

FORMAT = 1
LONGEST = 300.0
"""Seconds that a wait between attempts may grow to; one that was written longer stays."""


@dataclass(frozen=True, slots=True)
class Need:
    """What must have ended first: a whole step, or (with `host`) that step's unit on one host."""

    step: StepId
    reason: str
    host: HostName | None = None
    outcome: Literal["ok", "any"] = "ok"


@dataclass(frozen=True, slots=True)
class Guard:
    """A rule, bound to hosts: proved on the graph, and read live before each guarded change."""

    fact: FactRef
    hosts: tuple[HostName, ...]
    value: Json
    because: str
    carried_by: str
    some: bool = False
    """Whether one of the hosts is enough."""
    by: tuple[UnitId, ...] = ()
    """The units that were proved to bring it about before."""
    undo: bool = True
    """Whether the unit's undo is guarded as well: not by what orders the way forward."""
    fenced: tuple[HostName, ...] = ()
    """Hosts of the role that count by the operator's word that they are fenced."""
    present: bool = False
    """Whether hosts that are fenced, when planned or since, owe nothing here."""


@dataclass(frozen=True, slots=True)
class Check:
    """A `requires` or `ensures` of a step; `args` and `value` may hold open templates."""

    fact: str
    args: Mapping[str, Json]
    value: Json
    hosts: tuple[HostName, ...]
    within: float = 0.0


@dataclass(frozen=True, slots=True)
class Keep:
    """What must stay healthy while a unit has its turn, bound to a whole role."""

    fact: FactRef
    value: Json
    hosts: tuple[HostName, ...]
    least: int
    if_lost: Literal["stop", "proceed"]
    within: float


@dataclass(frozen=True, slots=True)
class Retry:
    """How often, and with what waits in seconds, a failed unit is tried again."""

    attempts: int = 1
    delay: float = 0.0
    exponential: bool = True

    def wait(self, attempt: int) -> float:
        """Seconds before the attempt after `attempt`; growing ends at LONGEST."""
        if not self.exponential:
            return self.delay
        return max(self.delay, min(self.delay * 2.0 ** (attempt - 1), LONGEST))


@dataclass(frozen=True, slots=True)
class PlanStep:
    """One step of the runbook: what its units share."""

    id: StepId
    uses: str
    kind: Literal["host", "group"]
    effect: Effect
    repeat: Repeat
    title: str
    hosts: tuple[HostName, ...]
    line: int
    timeout: float | None = None
    retry: Retry = Retry()
    on_failure: Literal["stop", "continue", "undo"] = "stop"
    on_unknown: Literal["check", "ask", "rerun"] | None = None
    repeat_said: bool = False
    """Whether `repeat` is the runbook's word, which no change of the step may loosen."""
    on_unreachable: Unreached = "stop"
    fenced: tuple[HostName, ...] = ()
    """Hosts that the step would act on, were they not fenced."""
    spread: float = 0.0
    """Seconds that each host waits at most before it begins, by chance."""
    tolerate: int = 0
    """How many of its hosts may be left out because they cannot be reached."""
    when: str | None = None
    keep: Keep | None = None
    undoable: bool = False
    point_of_no_return: bool = False
    safe_point: bool = False
    always: bool = False
    accept_unknown: bool = False
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unit:
    """A step on one host, or a group step on all of its hosts.

    `params` are rendered; `open` are the fields that need another step's outputs, as written,
    rendered when the unit starts. A rendered value is never rendered again.
    """

    id: UnitId
    step: StepId
    hosts: tuple[HostName, ...]
    params: Mapping[str, Json]
    open: Mapping[str, Json] = field(default_factory=dict)
    needs: tuple[Need, ...] = ()
    guards: tuple[Guard, ...] = ()
    requires: tuple[Check, ...] = ()
    ensures: tuple[Check, ...] = ()

    @property
    def host(self) -> HostName | None:
        """The unit's host, when it has just one."""
        return self.hosts[0] if len(self.hosts) == 1 else None


@dataclass(frozen=True)
class Plan:
    """Everything a run will do and where, known before it begins."""

    run: RunId
    name: str
    title: str
    runbook: str
    runbook_digest: Digest
    inventory: str
    inventory_name: str
    inputs: Mapping[str, Json]
    files: Mapping[str, Digest]
    """Input name -> sha256 of the file that it names."""
    vars: Mapping[str, Json]
    roles: Mapping[str, tuple[HostName, ...]]
    targets: Mapping[HostName, Target]
    steps: tuple[PlanStep, ...]
    units: tuple[Unit, ...]
    objectives: Mapping[str, float]
    versions: Mapping[str, str]
    whole_roles: Mapping[str, tuple[HostName, ...]] = field(default_factory=dict)
    """The roles as they are without --limit: what rules are proved on."""
    fenced: tuple[Fencing, ...] = ()
    """Hosts that the run does without from its beginning, by the operator's word."""
    unasked: tuple[HostName, ...] = ()
    """Hosts on which only steps act whose `when` does not hold: nobody speaks to them."""
    window: str = ""
    """When what is behind the safe point may begin, as 22:00-02:00 in UTC; empty: whenever it comes to it."""
    expected: Mapping[str, float] = field(default_factory=dict)
    """With a window: what earlier runs took (`drrun.plan.window.expected`)."""

    @cached_property
    def step_of(self) -> Mapping[StepId, PlanStep]:
        """Steps by id."""
        return {step.id: step for step in self.steps}

    @cached_property
    def unit_of(self) -> Mapping[UnitId, Unit]:
        """Units by id."""
        return {unit.id: unit for unit in self.units}

    @cached_property
    def units_of(self) -> Mapping[StepId, tuple[Unit, ...]]:
        """The units of each step, in the inventory's order."""
        found: dict[StepId, list[Unit]] = {step.id: [] for step in self.steps}
        for unit in self.units:
            found[unit.step].append(unit)
        return {step: tuple(units) for step, units in found.items()}

    @cached_property
    def rests_on(self) -> Mapping[StepId, frozenset[StepId]]:
        """Each step -> all those that must have ended before it, the needs of needs as well."""
        found: dict[StepId, frozenset[StepId]] = {}

        def of(step: StepId) -> frozenset[StepId]:
            if step not in found:
                needs = {need.step for unit in self.units_of[step] for need in unit.needs} - {step}
                found[step] = frozenset(needs).union(*(of(need) for need in needs))
            return found[step]

        return {step.id: of(step.id) for step in self.steps}

    @property
    def changes_anything(self) -> bool:
        """False for a run that only reads: it takes no locks."""
        return any(step.effect is not Effect.READ for step in self.steps)

    @property
    def changed_hosts(self) -> tuple[HostName, ...]:
        """The hosts that some step may change, in the inventory's order."""
        touched = {host for s in self.steps if s.effect is not Effect.READ for host in s.hosts}
        return tuple(host for host in self.targets if host in touched - {*self.unasked})

    @cached_property
    def staging(self) -> frozenset[StepId]:
        """The steps up to the first safe point: it and all that it waits for; none without one."""
        rest = next((step.id for step in self.steps if step.safe_point), None)
        found: set[StepId] = set()
        ahead = [] if rest is None else [rest]
        while ahead:
            step = ahead.pop()
            if step not in found:
                found.add(step)
                ahead += [need.step for unit in self.units_of[step] for need in unit.needs]
        return frozenset(found)

    @cached_property
    def digest(self) -> Digest:
        """The identity of the plan, its run id included."""
        return digest(self.to_json())

    def to_json(self) -> dict[str, Any]:
        """The plan as plain JSON."""
        raw = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        raw["targets"] = {n: t.model_dump(mode="json") for n, t in self.targets.items()}
        raw["steps"] = [_without(dataclasses.asdict(step), _NEWER_STEP) for step in self.steps]
        raw["units"] = [_unit_to_json(unit) for unit in self.units]
        raw["fenced"] = [dataclasses.asdict(fencing) for fencing in self.fenced]
        raw["format"] = FORMAT
        return _without(raw, {"fenced": [], "unasked": (), "window": "", "expected": {}})

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Plan:
        """The plan again."""
        fields = {k: v for k, v in raw.items() if k != "format"}
        fields["targets"] = {HostName(n): Target(**t) for n, t in raw["targets"].items()}
        fields["roles"] = {n: tuple(hosts) for n, hosts in raw["roles"].items()}
        whole = raw.get("whole_roles", raw["roles"])
        fields["whole_roles"] = {name: tuple(hosts) for name, hosts in whole.items()}
        fields["steps"] = tuple(_step(step) for step in raw["steps"])
        fields["units"] = tuple(_unit(unit) for unit in raw["units"])
        fields["unasked"] = tuple(raw.get("unasked", ()))
        fields["fenced"] = tuple(Fencing(**fencing) for fencing in raw.get("fenced", ()))
        return cls(**fields)


_NEWER_STEP: Mapping[str, object] = {
    "repeat_said": False,
    "on_unreachable": "stop",
    "fenced": (),
    "spread": 0.0,
    "tolerate": 0,
}
"""Fields that came after the first version: left out where they say nothing, so that a plan which
an earlier version wrote keeps its digest."""


def _without(raw: dict[str, Any], newer: Mapping[str, object]) -> dict[str, Any]:
    return {k: v for k, v in raw.items() if k not in newer or v != newer[k]}


def _unit_to_json(unit: Unit) -> dict[str, Any]:
    raw = dataclasses.asdict(unit)
    raw["guards"] = [_without(guard, {"fenced": ()}) for guard in raw["guards"]]
    return raw


def _step(raw: Mapping[str, Any]) -> PlanStep:
    return PlanStep(
        **{
            **raw,
            "effect": Effect(raw["effect"]),
            "repeat": Repeat(raw["repeat"]),
            "hosts": tuple(raw["hosts"]),
            "retry": Retry(**raw["retry"]),
            "tags": tuple(raw["tags"]),
            "keep": _keep(raw.get("keep")),
            "fenced": tuple(raw.get("fenced", ())),
        }
    )


def _keep(raw: Mapping[str, Any] | None) -> Keep | None:
    if raw is None:
        return None
    return Keep(**{**raw, "fact": FactRef(**raw["fact"]), "hosts": tuple(raw["hosts"])})


def _unit(raw: Mapping[str, Any]) -> Unit:
    return Unit(
        **{
            **raw,
            "hosts": tuple(raw["hosts"]),
            "needs": tuple(Need(**need) for need in raw["needs"]),
            "guards": tuple(_guard(g) for g in raw["guards"]),
            "requires": tuple(_check(check) for check in raw["requires"]),
            "ensures": tuple(_check(check) for check in raw["ensures"]),
        }
    )


def _guard(raw: Mapping[str, Any]) -> Guard:
    lists = {name: tuple(raw.get(name, ())) for name in ("hosts", "by", "fenced")}
    return Guard(**{**raw, **lists, "fact": FactRef(**raw["fact"])})


def _check(raw: Mapping[str, Any]) -> Check:
    return Check(**{**raw, "hosts": tuple(raw["hosts"])})
