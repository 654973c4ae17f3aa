"""`drrun watch`: follow a run that another drrun drives, without touching it."""

from __future__ import annotations

import threading

from drrun.cli.driving import code_of, source_of, story_of
from drrun.cli.options import Look
from drrun.cli.prompt import TerminalPrompt
from drrun.cli.tail import Tail
from drrun.cli.terminal import Terminal, terminal
from drrun.cli.views import view
from drrun.cli.wiring import engine
from drrun.journal.events import RunDetached, RunFinished
from drrun.report import stream, text
from drrun.report.story import Story
from drrun.report.words import at
from drrun.store.folder import JOURNAL, FolderStore, StoredRun

POLL = 0.3
"""Seconds between two looks at the journal."""
LEFT = 130
"""The exit code for a run that was stopped and can be resumed."""
GONE = 1
"""The exit code for a run whose controller is gone without a word."""


def watch(run: str | None = None, /, *, look: Look = Look()) -> int:  # noqa: B008 - frozen
    """Follow a run's journal until the run ends, and exit as it does.

    Only reads; ^C stops watching, not the run. A run that was stopped is 130, one whose controller
    is gone without a word is 1.

    Args:
        run: The run, or the beginning of its id; the newest one when left out.
        look: How it is shown.
    """
    screen = terminal(look)
    store = engine(TerminalPrompt(allowed=False)).store
    stored = store.find(run)
    try:
        _follow(store, stored, screen)
    except KeyboardInterrupt:
        screen.tell(f"no longer watching {stored.run}; it goes on")
        return 130
    stored = store.load(stored.run)
    story = story_of(stored)
    code = _code(story)
    if screen.json:
        screen.give(stream.result(story, code))
        return code
    screen.say(text.end(story))
    if story.status not in {"done", "running"}:
        screen.say(text.failure(story, stored.outputs, source_of(story)))
    return code


def _follow(store: FolderStore, stored: StoredRun, screen: Terminal) -> None:
    """Show what is there and what comes, until the last record of this controller, or its death."""
    tail, pause, over = Tail(stored.folder / JOURNAL), threading.Event(), False
    with view(screen, stored.plan, (), threading.Event()) as shown:
        while not over:
            # In this order: whatever a controller wrote before it died is among the news.
            live = store.live(stored.run)
            for record in tail.news():
                shown.watch(record.event, at(record.utc))
                over = isinstance(record.event, RunFinished | RunDetached)
            over = over or not live
            if not over:
                pause.wait(POLL)


def _code(story: Story) -> int:
    if story.finished is not None:
        return code_of(story, story.finished.exit_code)
    return LEFT if story.detached else GONE
