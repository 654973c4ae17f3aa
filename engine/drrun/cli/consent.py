"""Before anything is destroyed, somebody says the name of what it is."""

from __future__ import annotations

from drrun.cli.terminal import Terminal
from drrun.errors import Refused, UsageError
from drrun.journal.state import RunState
from drrun.plan.plan import Plan
from drrun.ports import Prompt, Question
from drrun.report import absent
from drrun.report.words import fold
from drrun.store.folder import StoredRun
from drrun.values import Effect, StepId


def consent(
    plan: Plan,
    prompt: Prompt,
    screen: Terminal,
    *,
    yes: bool,
    confirm: str,
    only: frozenset[StepId] = frozenset(),
) -> None:
    """Return when the operator agreed, or nothing (of the steps `only`) is destroyed.

    Raises Refused.
    """
    steps = [step for step in plan.steps if not only or step.id in only]
    destroys = [step for step in steps if step.effect is Effect.DESTROY]
    if not destroys:
        return
    name = plan.inventory_name
    if confirm:
        if confirm != name:
            raise Refused(
                f"--confirm says {confirm!r}, the inventory is {name!r}: nothing was started",
                hint=f"look at the inventory; then --confirm {name}",
            )
        return
    if yes:
        return
    for line in absent.planned(plan):
        screen.warn(line)
    for step in destroys:
        screen.warn(f"! {step.id} destroys on {fold(step.hosts)}: {step.title or step.uses}")
    if not prompt.present:
        raise Refused(
            "this run destroys data, and nobody is here to agree",
            hint=f"--confirm {name} (or --yes) agrees without a terminal",
        )
    said = prompt.ask(Question(f"Type the name of the inventory to go on ({name}):", expect=name))
    if said != name:
        raise Refused(f"{said!r} is not {name!r}: nothing was started", hint="start again")


def staged(plan: Plan, *, stage: bool) -> frozenset[StepId]:
    """The steps that --stage begins; none when it was not given. Raises UsageError without any."""
    if not stage:
        return frozenset()
    if not plan.staging:
        raise UsageError(
            f"{plan.name} has no safe point: there is nothing that could be staged",
            hint="a runbook says where a run may rest: `safe_point: true` on a step",
        )
    return plan.staging


def rests(found: StoredRun) -> bool:
    """Whether a run rests at its safe point since it was staged: nobody has agreed to the rest."""
    end = RunState.of(found.plan, found.events).finished
    return end is not None and end.status == "resting"
