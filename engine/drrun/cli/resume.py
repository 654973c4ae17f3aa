"""`drrun resume`: go on with a run."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from drrun.cli.consent import consent, rests
from drrun.cli.detach import detached, ready
from drrun.cli.driving import drive
from drrun.cli.options import Absent, Look
from drrun.cli.prompt import TerminalPrompt
from drrun.cli.terminal import terminal
from drrun.cli.wiring import engine
from drrun.drift import drift_of, refuse_changed
from drrun.execute.decide import Finish
from drrun.model.fencing import names
from drrun.places import operator
from drrun.report import drift as words


def resume(
    run: str | None = None,
    /,
    *,
    as_planned: bool = False,
    forks: int = 16,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"])] = False,
    confirm: str = "",
    no_input: Annotated[bool, Parameter(name="--no-input")] = False,
    detach: bool = False,
    absent: Absent = Absent(),  # noqa: B008 - frozen
    look: Look = Look(),  # noqa: B008 - frozen
) -> int:
    """Go on with a run: what is finished stays, what was interrupted is taken up again.

    Args:
        run: The run, or the beginning of its id; the newest one when left out.
        as_planned: Go on by the plan that the run began with, although its runbook was edited
            under steps that are finished.
        forks: How many units may run at once.
        yes: Agree to what a run that rests will destroy when it goes on.
        confirm: Agree, by the inventory's name: refused when it is another one.
        no_input: Never ask; what needs a person waits (exit 6).
        detach: Go on in the background once it is under way; `drrun watch` follows it.
        absent: Hosts that the run goes on without, beside those that were fenced before.
        look: How it is shown.
    """
    screen = terminal(look)
    prompt = TerminalPrompt(allowed=not no_input)
    app = engine(prompt)
    app.forks, app.under_way = forks, ready()
    fenced = absent.fencings(operator())
    found = app.resumable(run)
    if run is None:
        screen.tell(f"the newest run is {found.run} ({found.plan.name})")
    drift = None if found.live else drift_of(app, found, names(fenced))
    if drift is not None and not as_planned:
        refuse_changed(drift)

    if drift is not None and not screen.json:
        for line in words.drift_lines(drift):
            screen.tell(line)
    if rests(found):  # it was staged: nobody has agreed yet to what it destroys
        consent(found.plan, prompt, screen, yes=yes, confirm=confirm)
    if detach:  # what was looked at and agreed to here is not asked again in the background
        agreed = ("--yes", *(("--as-planned",) if as_planned else ()), *absent.words)
        return detached(app.store, screen, found.run, forks=forks, look=look, agreed=agreed)

    def act() -> Finish:
        if drift is not None and screen.json:
            screen.give(words.drift_document(drift))
        return app.resume(found.run, fenced)

    return drive(app, screen, found.plan, act, found.records)
