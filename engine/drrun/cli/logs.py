"""`drrun logs`: what the commands of a run printed."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from drrun.cli.driving import story_of
from drrun.cli.options import Look
from drrun.cli.prompt import TerminalPrompt
from drrun.cli.terminal import terminal
from drrun.cli.wiring import engine
from drrun.errors import UsageError
from drrun.lang.diagnostics import suggest
from drrun.report.logs import Log, traceback
from drrun.report.story import Story


def logs(
    run: str | None = None,
    /,
    *,
    step: str = "",
    host: Annotated[str, Parameter(name="--host")] = "",
    look: Look = Look(),  # noqa: B008 - frozen
) -> int:
    """Print what the commands of a run printed, in the order in which they were sent.

    What could move a terminal's cursor, and bytes that are no UTF-8, are spelt out; the bytes
    themselves are in the folder `output` of the run.

    Args:
        run: The run, or the beginning of its id; the newest one when left out.
        step: Only this step's.
        host: Only this host's.
        look: How it is shown.
    """
    screen = terminal(look)
    stored = engine(TerminalPrompt(allowed=False)).store.find(run)
    story = story_of(stored)
    _known(story, step, host)
    found = [
        made
        for made in story.changes
        if step in ("", story.plan.unit_of[made.intent.unit].step)
        and host in ("", made.intent.host)
    ]
    for made in found:
        log = Log(story, made, stored.outputs)
        screen.pour(log.document() if screen.json else log.text())
    for unit in story.plan.units:
        if step in ("", unit.step) and (not host or host in unit.hosts):
            screen.pour(traceback(story, unit.id, stored.outputs, json=screen.json))
    if not found:
        screen.tell("no command was sent")
    return 0


def _known(story: Story, step: str, host: str) -> None:
    for word, known, noun in (
        (step, list(story.plan.step_of), "step"),
        (host, list(story.plan.targets), "host"),
    ):
        if word and word not in known:
            raise UsageError(
                f"the run {story.plan.run} has no {noun} {word!r}",
                hint=suggest(word, known, f"{noun}s"),
            )
