"""Before anything is destroyed, somebody says the name of what it is."""

from __future__ import annotations

from drrun.cli.terminal import Terminal
from drrun.errors import Refused
from drrun.plan.plan import Plan
from drrun.ports import Prompt, Question
from drrun.report.words import fold
from drrun.values import Effect


def consent(plan: Plan, prompt: Prompt, screen: Terminal, *, yes: bool, confirm: str) -> None:
    """Return when the operator agreed, or nothing is destroyed. Raises Refused."""
    destroys = [step for step in plan.steps if step.effect is Effect.DESTROY]
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
