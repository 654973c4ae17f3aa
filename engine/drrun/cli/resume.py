"""`drrun resume`: go on with a run."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from drrun.cli.detach import detached, ready
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
    detach: bool = False,
    look: Look = Look(),  # noqa: B008 - frozen
) -> int:
    """Go on with a run: what is finished stays, what was interrupted is taken up again.

    Args:
        run: The run, or the beginning of its id; the newest one when left out.
        forks: How many units may run at once.
        no_input: Never ask; what needs a person waits (exit 6).
        detach: Go on in the background once it is under way; `drrun watch` follows it.
        look: How it is shown.
    """
    screen = terminal(look)
    app = engine(TerminalPrompt(allowed=not no_input))
    app.forks, app.under_way = forks, ready()
    found = app.store.find(run)
    if run is None:
        screen.tell(f"the newest run is {found.run} ({found.plan.name})")
    if detach:
        return detached(app.store, screen, found.run, forks=forks, look=look)
    return drive(app, screen, found.plan, lambda: app.resume(found.run), found.records)
