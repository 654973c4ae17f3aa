"""What a plan leaves out: steps on roles that may be empty (`min: 0`), hosts that nobody speaks to.

A step that waits for one that is left out waits for what that one would have waited for.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from drrun.lang.hosts import Name, names, parse, resolve
from drrun.model.rule import STEP_DONE
from drrun.model.runbook import Runbook
from drrun.plan.plan import PlanStep, Unit
from drrun.values import CONTROLLER, HostName, StepId


def left_out(
    runbook: Runbook,
    roles: Mapping[str, tuple[HostName, ...]],
    hosts: Sequence[HostName],
) -> Mapping[str, int]:
    """Steps that name a role which may be empty, and is, and nobody else: id -> place."""
    empty = {n for n, spec in runbook.roles.items() if spec.min == 0 and not roles.get(n)}
    return {
        step.id: place
        for place, step in enumerate(runbook.steps)
        if empty and _nobody(step.hosts, empty, roles, hosts)
    }


def spoken_to(units: Iterable[Unit], steps: Mapping[StepId, PlanStep]) -> set[HostName]:
    """Every host that these units act on, ask, or keep an eye on.

    That a step was done somewhere is asked of the journal, not of the host.
    """
    found = set[HostName]()
    for unit in units:
        checks = (check.hosts for check in (*unit.requires, *unit.ensures))
        guards = (guard.hosts for guard in unit.guards if guard.fact.name != STEP_DONE)
        found.update(unit.hosts, *checks, *guards)
        if (keep := steps[unit.step].keep) is not None:
            found.update(keep.hosts)
    return found


def _nobody(
    text: str,
    empty: Collection[str],
    roles: Mapping[str, tuple[HostName, ...]],
    hosts: Sequence[HostName],
) -> bool:
    """Whether an expression means nobody because of an empty role. Raises AuthorError."""
    if text == CONTROLLER or not any(
        isinstance(part, Name) and part.name in empty for part in names(parse(text))
    ):
        return False
    return not resolve(text, roles, hosts)
