"""A part of a plan: from a step on. What came before is not proved by having been left out.

Rule 1: guards stay as they were bound, on whole roles. What a left-out step would have brought
about is read on the hosts; that a left-out step was done is not so (hazard H5).
"""

from __future__ import annotations

from dataclasses import replace

from drrun.errors import UsageError
from drrun.lang.diagnostics import did_you_mean
from drrun.lang.template import steps_named
from drrun.plan.plan import Plan, PlanStep, Unit
from drrun.values import StepId


def starting_at(plan: Plan, step: str) -> Plan:
    """The plan without the steps before `step`.

    Raises UsageError when there is no such step, and when a step that is left needs what one that
    is left out gives.
    """
    ids = [one.id for one in plan.steps]
    if step not in ids:
        hint = did_you_mean(step, ids) or f"its steps: {', '.join(ids)}"
        raise UsageError(f"{plan.name} has no step {step!r}", hint=hint)
    kept = ids[ids.index(StepId(step)) :]
    steps = tuple(one for one in plan.steps if one.id in kept)
    units = tuple(_freed(unit, kept) for unit in plan.units if unit.step in kept)
    for unit in units:
        _refuse_missing(plan.step_of[unit.step], unit, kept)
    return replace(plan, steps=steps, units=units)


def _freed(unit: Unit, kept: list[StepId]) -> Unit:
    """The unit without its waits for what is left out."""
    return replace(unit, needs=tuple(need for need in unit.needs if need.step in kept))


def _refuse_missing(step: PlanStep, unit: Unit, kept: list[StepId]) -> None:
    checks = [[check.args, check.value] for check in (*unit.requires, *unit.ensures)]
    needed = steps_named([unit.open, checks, f"{{{{ {step.when} }}}}"])
    for missing in sorted(needed - set(kept)):
        raise UsageError(
            f"{step.id} needs what {missing} gives, which --from leaves out",
            hint=f"begin with {missing}, or run the runbook as a whole",
        )
