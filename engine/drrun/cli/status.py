"""`drrun status`: where a run stands."""

from __future__ import annotations

from drrun.cli.driving import source_of, story_of
from drrun.cli.options import Look
from drrun.cli.prompt import TerminalPrompt
from drrun.cli.terminal import terminal
from drrun.cli.wiring import engine
from drrun.report import document, text


def status(run: str | None = None, /, *, look: Look = Look()) -> int:  # noqa: B008 - frozen
    """Show where a run stands, live or not. Only reads.

    Args:
        run: The run, or the beginning of its id; the newest one when left out.
        look: How it is shown.
    """
    screen = terminal(look)
    stored = engine(TerminalPrompt(allowed=False)).store.find(run)
    story = story_of(stored)
    if screen.json:
        screen.give(document.summary(story))
        return 0
    screen.say(text.status(story))
    if screen.verbose and story.tiers:
        screen.say(text.tiers(story))
    if wrong := text.troubles(story, stored.outputs, source_of(story)):
        screen.say("\n" + "\n".join(wrong))
    return 0
