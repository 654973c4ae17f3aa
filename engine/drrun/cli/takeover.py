"""`drrun takeover`: go on with a run that another controller holds."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from drrun.cli.consent import rests
from drrun.cli.driving import drive
from drrun.cli.options import Absent, Look
from drrun.cli.prompt import TerminalPrompt
from drrun.cli.terminal import terminal
from drrun.cli.wiring import engine
from drrun.errors import UsageError
from drrun.places import operator


def takeover(
    run: str,
    /,
    *,
    forks: int = 16,
    no_input: Annotated[bool, Parameter(name="--no-input")] = False,
    absent: Absent = Absent(),  # noqa: B008 - frozen
    look: Look = Look(),  # noqa: B008 - frozen
) -> int:
    """Go on with a run whose controller is lost, frozen or out of reach.

    Every host is told a higher epoch first, and refuses the old controller's changes from then
    on. Commands that it started go on, and are followed to their end.

    Args:
        run: The run, or the beginning of its id. It must be named: nobody takes over by mistake.
        forks: How many units may run at once.
        no_input: Never ask; what needs a person waits (exit 6).
        absent: Hosts that the run goes on without, beside those that were fenced before.
        look: How it is shown.
    """
    screen = terminal(look)
    app = engine(TerminalPrompt(allowed=not no_input))
    app.forks = forks
    fenced = absent.fencings(operator())
    found = app.store.find(run)
    if rests(found):
        raise UsageError(
            f"{found.run} rests at its safe point: nobody holds it",
            hint=f"drrun resume {found.run}",
        )
    return drive(app, screen, found.plan, lambda: app.takeover(found.run, fenced), found.records)
