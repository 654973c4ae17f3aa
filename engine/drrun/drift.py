"""What moved under a run while nobody drove it: its runbook, its inventory, its step types, its hosts.

A resume goes by the plan that the run began with. What was edited since is not taken up, and so it
has to be told; where it was edited under steps that are finished, the resume stops.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from drrun import __version__
from drrun.app import App
from drrun.errors import DrrunError, Stale
from drrun.execute.checkpoint import Drift, checkpoint, host_drifts
from drrun.execute.hosts import Hosts
from drrun.journal.state import RunState, Status
from drrun.lang.inventory import load_inventory
from drrun.model.inventory import Inventory
from drrun.plan.bind import Binding
from drrun.plan.compile import compile_plan
from drrun.plan.diff import MISSING, StepDrift, differences, step_drifts
from drrun.plan.plan import Plan
from drrun.report.drift import difference_lines, step_details
from drrun.store.folder import StoredRun
from drrun.transport.routes import Transports
from drrun.values import CONTROLLER, HostName, StepId


def drift_of(app: App, stored: StoredRun, gone: frozenset[HostName] = frozenset()) -> Drift:
    """Look at everything that a resume rests on, but hosts that are fenced, or `gone`. Only reads."""
    state = RunState.of(stored.plan, stored.events)
    found = checkpoint(stored.plan, stored.events, app.registry, stored.outputs)
    runbook, edited, drifts = _runbook(app, stored.plan)
    begun = {
        stored.plan.unit_of[unit].step
        for unit, record in state.units.items()
        if record.status is Status.DONE
    }
    hosts = Hosts(stored.plan, app.transport or Transports())
    hosts.leave_out({*state.fenced, *gone})
    try:
        moved, asked = host_drifts(found, hosts)
    finally:
        hosts.close()
    return Drift(
        plan=stored.plan,
        runbook=runbook,
        edited=edited,
        finished=tuple(d for d in drifts if d.step in begun),
        ahead=tuple(d for d in drifts if d.step not in begun),
        inventory=_inventory(stored.plan),
        code=_code(stored.plan, found.other_code),
        hosts=moved,
        asked=asked,
    )


def refuse_changed(drift: Drift) -> None:
    """Raise Stale where the runbook says something else now of what is done already."""
    if not drift.finished:
        return
    details = step_details(drift.finished)
    many = "a step that is" if len(drift.finished) == 1 else "steps that are"
    told = (
        f"{drift.plan.run} was not resumed: {drift.plan.runbook} was edited under {many} finished"
    )
    raise Stale(
        "\n".join([told, *difference_lines(details)]),
        hint="put the runbook back as it was; or go on by the plan that the run began with: "
        f"drrun resume {drift.plan.run} --as-planned",
        findings=tuple(line.strip() for line in difference_lines(details)),
    )


def _runbook(app: App, plan: Plan) -> tuple[str, bool, tuple[StepDrift, ...]]:
    """Why it cannot be compared, whether it was edited, and the steps that are others now.

    The runbook of now is planned on the hosts, inputs and vars of the run: what else moved since
    is told apart.
    """
    path = Path(plan.runbook)
    try:
        content = path.read_bytes()
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}", False, ()
    if hashlib.sha256(content).hexdigest() == plan.runbook_digest:
        return "", False, ()
    targets = {name: target for name, target in plan.targets.items() if name != CONTROLLER}
    inventory = Inventory(
        name=plan.inventory_name,
        path=plan.inventory,
        targets=targets,
        groups={**{name: (name,) for name in targets}, **plan.whole_roles},
        vars=dict(plan.vars),
    )
    binding = Binding(plan.roles, plan.whole_roles, plan.inputs, plan.files, plan.vars, plan.fenced)
    try:
        now = compile_plan(
            app.load(plan.runbook),
            inventory,
            binding,
            app.registry,
            run=plan.run,
            versions=plan.versions,
        ).plan
    except DrrunError as error:
        first = error.message.splitlines()[0]
        return f"{path} was edited, and cannot be compared: {first}", True, ()
    return "", True, step_drifts(plan, now)


def _inventory(plan: Plan) -> tuple[str, ...]:
    """How the run's hosts are told to be reached now; values of vars are not repeated."""
    try:
        now = load_inventory(Path(plan.inventory))
    except DrrunError as error:
        return (f"{plan.inventory} cannot be read: {error.message.splitlines()[0]}",)
    found: list[str] = []
    for name, target in plan.targets.items():
        if name == CONTROLLER:
            continue
        if name not in now.targets:
            found.append(f"the host {name} is not in {plan.inventory} any more")
            continue
        was, new = _plain(target), _plain(now.targets[name])
        for d in differences(was, new):
            how = {True: "was added"}.get(d.was is MISSING, "changed")
            words = "" if d.at.startswith("vars.") else f": {d.was} → {d.now}"
            found.append(f"{d.at} of {name} {how}{words}")
    return tuple(found)


def _plain(target: Any) -> dict[str, Any]:
    plain: dict[str, Any] = target.model_dump(mode="json")
    return plain


def _code(plan: Plan, other: tuple[StepId, ...]) -> tuple[str, ...]:
    found = []
    if plan.versions.get("drrun") != __version__:
        found.append(f"drrun is {__version__}, the run began with {plan.versions.get('drrun')}")
    found += [f"the step type of {step} asks something else now than when it ran" for step in other]
    return tuple(found)
