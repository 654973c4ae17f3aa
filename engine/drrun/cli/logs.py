"""`drrun logs`: what the commands of a run printed."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from drrun.cli.driving import output_of, story_of
from drrun.cli.options import Look
from drrun.cli.prompt import TerminalPrompt
from drrun.cli.terminal import Terminal, terminal
from drrun.cli.wiring import engine
from drrun.errors import UsageError
from drrun.lang.diagnostics import suggest
from drrun.report.story import Made, Story
from drrun.report.text import ReadOutput
from drrun.report.words import clock, one_line, safe


def logs(
    run: str | None = None,
    /,
    *,
    step: str = "",
    host: Annotated[str, Parameter(name="--host")] = "",
    look: Look = Look(),  # noqa: B008 - frozen
) -> int:
    """Print what the commands of a run printed, in the order in which they were sent.

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
        (_as_json if screen.json else _as_text)(screen, story, made, output_of(stored))
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


def _as_text(screen: Terminal, story: Story, made: Made, read: ReadOutput) -> None:
    intent = made.intent
    end = "its end is not known" if made.code is None else f"rc={made.code} {made.seconds}s"
    way = "undo " if intent.undo else ""
    name = f"{way}{story.plan.unit_of[intent.unit].step}.{intent.name}"
    screen.say(f"── {clock(made.began)} {intent.host} {name} {end}")
    screen.say(f"   $ {one_line(intent.preview, 400)}")
    for stream, head in (("out", ""), ("err", "stderr: ")):
        text = read(f"{intent.token}.{stream}").decode("utf-8", "backslashreplace")
        shown = "\n".join(safe(line) for line in text.splitlines()) if sys.stdout.isatty() else text
        for line in shown.splitlines():
            screen.say(f"{head}{line}")


def _as_json(screen: Terminal, story: Story, made: Made, read: ReadOutput) -> None:
    intent = made.intent
    screen.give(
        {
            "type": "log",
            "run": story.plan.run,
            "step": story.plan.unit_of[intent.unit].step,
            "host": intent.host,
            "change": intent.name,
            "undo": intent.undo,
            "command": intent.preview,
            "code": made.code,
            "stdout": read(f"{intent.token}.out").decode("utf-8", "backslashreplace"),
            "stderr": read(f"{intent.token}.err").decode("utf-8", "backslashreplace"),
        }
    )
