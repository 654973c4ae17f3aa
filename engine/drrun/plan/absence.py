"""Steps and rules where hosts are fenced: who is left out, and whose absence nobody may assume.

Rule 1: a step goes on without a fenced host only where it says so.
Rule 2: a rule over a whole role counts a fenced host by the operator's word, and only for a state
that a host which cannot act is in: stopped is one, healthy is none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from drrun.lang.diagnostics import did_you_mean
from drrun.lang.hosts import resolve
from drrun.model.fencing import Unreached, names
from drrun.model.inventory import Inventory
from drrun.model.rule import STEP_DONE, Duty, FactRef, Rule
from drrun.model.spec import FactSpec
from drrun.plan.bind import Binding
from drrun.plan.plan import Plan
from drrun.values import CONTROLLER, HostName, Json


@dataclass(frozen=True, slots=True)
class Absence:
    """The hosts that a plan does without, and what that means for a step or a rule."""

    binding: Binding
    hosts: Sequence[HostName]

    @property
    def gone(self) -> frozenset[HostName]:
        """The fenced hosts."""
        return names(self.binding.fenced)

    def present(self, hosts: Iterable[HostName]) -> tuple[HostName, ...]:
        """Those that are not fenced."""
        return tuple(host for host in hosts if host not in self.gone)

    def of_step(self, expression: str) -> tuple[HostName, ...]:
        """The hosts that a step would act on, were they not fenced. Raises AuthorError."""
        if not self.gone or expression == CONTROLLER:
            return ()
        meant = resolve(expression, self.binding.unfenced, self.hosts)
        return tuple(host for host in meant if host in self.gone)

    def of_demand(
        self, hosts: Iterable[HostName], spec: FactSpec | None, demand: Rule | Duty
    ) -> tuple[tuple[HostName, ...], tuple[HostName, ...]]:
        """(hosts that count by the operator's word, fenced ones for which it is none).

        A fenced host owes nothing at the end of a run: it is to be readmitted. Where one host of
        several is enough, or where only those that are there are asked, it is none of those.
        """
        cut = tuple(host for host in hosts if host in self.gone)
        if isinstance(demand, Duty) or demand.some or demand.present:
            return cut, ()
        if demand.fact.name == STEP_DONE:
            return cut, ()
        word = None if spec is None else spec.when_fenced
        return (cut, ()) if word is not None and word == demand.value else ((), cut)


def refused_step(step: str, cut: Sequence[HostName], policy: Unreached) -> tuple[str, str] | None:
    """What is wrong with a step on fenced hosts that does not say `skip-fenced`."""
    if not cut or policy == "skip-fenced":
        return None
    return (
        f"{step} acts on {', '.join(cut)}, which is fenced, and stops without it",
        "bring it back first; where the step is right without it: `on_unreachable: skip-fenced`",
    )


def refused_guard(fact: FactRef, value: Json, cut: Sequence[HostName]) -> tuple[str, str]:
    """What is wrong with a rule over fenced hosts that are in no such state."""
    return (
        f"{fact.key} must be {value!r} on {', '.join(cut)}, which is fenced: nobody can know",
        "bring that host back first: that it is off says nothing of this",
    )


def wrong_host(host: HostName, inventory: Inventory) -> tuple[str, str] | None:
    """What is wrong with a name that is to be fenced: no host, or the controller itself."""
    if host == CONTROLLER:
        return (
            "the controller cannot be fenced: it is what runs this",
            "run it from another machine",
        )
    if host not in inventory.targets:
        hint = did_you_mean(host, inventory.targets) or "`drrun inventory show` lists them"
        return f"--fenced {host}: {inventory.name} has no such host", hint
    return None


def unneeded(plan: Plan) -> HostName | None:
    """A fenced host that no step and no rule of the plan would have looked at."""
    steps = {host for step in plan.steps for host in step.fenced}
    rules = {host for unit in plan.units for guard in unit.guards for host in guard.fenced}
    return next((f.host for f in plan.fenced if f.host not in steps | rules), None)
