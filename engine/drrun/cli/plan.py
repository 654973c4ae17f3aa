"""`drrun plan`: a sealed plan, for those who review and approve it. No host is asked."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from cyclopts import App

from drrun.cli.options import Look
from drrun.cli.terminal import terminal
from drrun.places import operator
from drrun.report import reviewing
from drrun.store.approvals import approve as sign
from drrun.store.approvals import beside
from drrun.store.plan_file import read_plan

plan = App(
    name="plan", help="Show a sealed plan, and approve it: what it will do, and what it rests on."
)


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


@plan.command
def approve(path: Path, /, *, key: Path, name: str = "", look: Look = Look()) -> int:  # noqa: B008 - frozen
    """Sign a sealed plan's digest with an SSH key, in the file beside it: FILE.approvals.

    Args:
        path: The file that `drrun RUNBOOK --dry-run --out FILE` sealed. Read it first: drrun plan show FILE.
        key: Your private key, or the public one of a key that ssh-agent has.
        name: Who you are in the signers' file of those who apply it; your user name when left out.
        look: How it is shown.
    """
    screen = terminal(look)
    sealed = read_plan(path)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    made = sign(path, sealed.digest, name=name or operator(), key=key, at=now)
    if screen.json:
        screen.give(
            {"type": "plan.approved", "digest": made.digest, "name": made.name, "at": made.at}
        )
    else:
        screen.say(f"{made.digest[:7]} approved by {made.name}: {beside(path)} goes with the plan")
    return 0
