"""`drrun plan show`: a sealed plan, for those who review it. No host is asked."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from cyclopts import App

from drrun.cli.options import Look
from drrun.cli.terminal import terminal
from drrun.report import reviewing
from drrun.store.plan_file import read_plan

plan = App(name="plan", help="Show a sealed plan: what was reviewed, and what it rests on.")


@plan.command
def show(path: Path, /, *, look: Look = Look()) -> int:  # noqa: B008 - frozen
    """Show what a sealed plan will do, in which order, and what it rests on. Hosts are not asked.

    Args:
        path: The file that `drrun RUNBOOK --dry-run --out FILE` sealed.
        look: How it is shown; --verbose prints every command in full.
    """
    screen = terminal(look)
    sealed = read_plan(path)
    if screen.json:
        screen.give(reviewing.document(sealed))
    else:
        screen.say(reviewing.screen(sealed, datetime.now(UTC), verbose=screen.verbose > 0))
    return 0
