"""`drrun runs`: the runs of this account."""

from __future__ import annotations

from drrun.cli.driving import story_of
from drrun.cli.options import Look
from drrun.cli.prompt import TerminalPrompt
from drrun.cli.terminal import terminal
from drrun.cli.wiring import engine
from drrun.errors import DrrunError
from drrun.report import document, text
from drrun.report.story import Story


def runs(*, last: int = 20, look: Look = Look()) -> int:  # noqa: B008 - frozen
    """List the runs, the newest first.

    Args:
        last: How many.
        look: How it is shown.
    """
    screen = terminal(look)
    store = engine(TerminalPrompt(allowed=False)).store
    found: list[Story] = []
    for run in store.runs()[: max(last, 0)]:
        try:
            found.append(story_of(store.load(run)))
        except DrrunError as error:  # one damaged run does not hide the others
            screen.warn(f"✘ {run}: {error.message}")
    if screen.json:
        for story in found:
            screen.give(document.summary(story))
    elif found:
        screen.say(text.runs(found))
    else:
        screen.tell(f"no run yet under {store.root}")
    return 0
