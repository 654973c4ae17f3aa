"""`drrun explain`: one step of a runbook: where, why there, what it will send, how it is undone."""

from __future__ import annotations

from drrun.app import App
from drrun.cli.options import InventoryPath, Look, answers, find_inventory
from drrun.cli.prompt import TerminalPrompt
from drrun.cli.terminal import terminal
from drrun.cli.wiring import engine
from drrun.errors import AuthorError, UsageError
from drrun.lang.diagnostics import suggest
from drrun.plan.plan import Plan
from drrun.report import explain as words
from drrun.values import StepId


def explain(
    runbook: str,
    step: str,
    /,
    *,
    inventory: InventoryPath = None,
    extra: tuple[str, ...] = (),
    look: Look = Look(),  # noqa: B008 - frozen
) -> int:
    """Explain one step: why it waits, what guards it, what it sends where. Hosts are not asked.

    Args:
        runbook: A file, else the name of a stock runbook.
        step: The step's id.
        inventory: The inventory; without one, hosts are made up from the roles.
        extra: KEY=VALUE: an input of the runbook. Repeatable.
        look: How it is shown.
    """
    screen = terminal(look)
    app = engine(TerminalPrompt(allowed=False))
    plan = _plan(app, runbook, inventory, extra)
    if step not in plan.step_of:
        raise UsageError(
            f"{plan.runbook} has no step {step!r}", hint=suggest(step, list(plan.step_of), "steps")
        )
    spec = app.registry.step(plan.step_of[StepId(step)].uses)
    forecast = app.forecast(plan, offline=True)
    if screen.json:
        screen.give(words.document(plan, StepId(step), forecast))
    else:
        screen.say(words.screen(plan, StepId(step), spec, forecast))
    return 0


def _plan(app: App, runbook: str, inventory: InventoryPath, extra: tuple[str, ...]) -> Plan:
    """On the inventory if there is one and every input is given, else on made-up hosts."""
    loaded = app.load(runbook)
    if inventory is None and not extra:
        return app.lint(loaded).plan
    try:
        return app.plan(loaded, find_inventory(inventory), answers(extra))
    except AuthorError:
        if extra:
            raise
        from drrun.lang.inventory import load_inventory

        return app.lint(loaded, load_inventory(find_inventory(inventory))).plan
