"""Hosts that a run may do without although nobody fenced them: those of steps that tolerate it (H15).

A worker that cannot be reached is no reason to leave a cluster down; a member of etcd is.
Rule 1: a host is left out only where every step that acts on it tolerates that, and nothing else of
the plan asks it anything.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from drrun.lang.template import render
from drrun.lang.template_error import TemplateError
from drrun.model.runbook import Step
from drrun.model.spec import StepSpec
from drrun.plan.plan import Plan, PlanStep
from drrun.values import Effect, HostName, NotKnown


def tolerated(step: Step, spec: StepSpec, hosts: int, names: Mapping[str, Any]) -> int:
    """How many of so many hosts a step may leave out. Raises ValueError with the mistake."""
    if not step.tolerate:
        return 0
    if spec.kind == "group" or spec.effect is Effect.DESTROY or step.point_of_no_return:
        raise ValueError(
            "only a step that acts host by host and destroys nothing can do without one"
        )
    try:
        said = render(step.tolerate, names)
    except TemplateError as error:
        raise ValueError(error.message) from error
    if isinstance(said, NotKnown):
        return 0
    if not (found := re.fullmatch(r"([0-9]{1,6})(%?)", str(said).strip())):
        raise ValueError(f"{said!r} is neither a number of hosts nor a share as 20%")
    number = int(found[1])
    return hosts * min(number, 100) // 100 if found[2] else number


def spare(plan: Plan) -> frozenset[HostName]:
    """Hosts that every step of the plan can do without, and that no guard and no check asks."""
    tolerant = {host for step in plan.steps if step.tolerate for host in step.hosts}
    asked = {host for step in plan.steps if not step.tolerate for host in step.hosts}
    asked |= {host for step in plan.steps if step.keep for host in step.keep.hosts}
    for unit in plan.units:
        checks = (check.hosts for check in (*unit.requires, *unit.ensures))
        for hosts in (*checks, *(guard.hosts for guard in unit.guards)):
            asked |= set(hosts) - set(unit.hosts)
    return frozenset(tolerant - asked)


def too_many(plan: Plan, unreached: Collection[HostName]) -> PlanStep | None:
    """A step that tolerates fewer than cannot be reached, if there is one."""
    return next(
        (s for s in plan.steps if s.tolerate and len(set(s.hosts) & set(unreached)) > s.tolerate),
        None,
    )
