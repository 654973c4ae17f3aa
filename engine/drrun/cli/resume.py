"""`drrun resume`: go on with a run."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from drrun.cli.driving import drive
from drrun.cli.options import Look
from drrun.cli.prompt import TerminalPrompt
from drrun.cli.terminal import terminal
from drrun.cli.wiring import engine


def resume(
    run: str | None = None,
    /,
    *,
    forks: int = 16,
    no_input: Annotated[bool, Parameter(name="--no-input")] = False,
    look: Look = Look(),  # noqa: B008 - frozen
) -> int:
    """Go on with a run: what is finished stays, what was interrupted is taken up again.

    Args:
        run: The run, or the beginning of its id; the newest one when left out.
        forks: How many units may run at once.
        no_input: Never ask; what needs a person waits (exit 6).
        look: How it is shown.
    """
    screen = terminal(look)
    app = engine(TerminalPrompt(allowed=not no_input))
    app.forks = forks
    found = app.store.find(run)
    if run is None:
        screen.tell(f"the newest run is {found.run} ({found.plan.name})")
    return drive(app, screen, found.plan, lambda: app.resume(found.run), found.records)
