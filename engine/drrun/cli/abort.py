"""`drrun abort --undo`: undo a run."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from drrun.cli.driving import drive
from drrun.cli.options import Absent, Look
from drrun.cli.prompt import TerminalPrompt
from drrun.cli.terminal import terminal
from drrun.cli.wiring import engine
from drrun.errors import UsageError
from drrun.places import operator


def abort(
    run: str,
    /,
    *,
    undo: bool = False,
    no_input: Annotated[bool, Parameter(name="--no-input")] = False,
    absent: Absent = Absent(),  # noqa: B008 - frozen
    look: Look = Look(),  # noqa: B008 - frozen
) -> int:
    """Undo a run, last step first. Refused behind its point of no return.

    Args:
        run: The run, or the beginning of its id.
        undo: Undo what was changed; there is no abort without it.
        no_input: Never ask; what needs a person waits (exit 6).
        absent: Hosts that the run goes on without, beside those that were fenced before.
        look: How it is shown.
    """
    screen = terminal(look)
    app = engine(TerminalPrompt(allowed=not no_input))
    fenced = absent.fencings(operator())
    found = app.store.find(run)
    if not undo:
        raise UsageError(
            f"{found.run} is left as it is: abort does nothing without --undo",
            hint=f"undo all of it: drrun abort {found.run} --undo; "
            "a run that is not resumed stays as it is",
        )
    return drive(app, screen, found.plan, lambda: app.abort(found.run, fenced), found.records)
