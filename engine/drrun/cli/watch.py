"""`drrun watch`: follow a run that another drrun drives, without touching it."""

from __future__ import annotations

import threading
from typing import Annotated

from cyclopts import Parameter

from drrun.cli.driving import source_of, story_of
from drrun.cli.options import Look
from drrun.cli.prompt import TerminalPrompt
from drrun.cli.tail import Tail
from drrun.cli.terminal import terminal
from drrun.cli.views import view
from drrun.cli.wiring import engine
from drrun.journal.events import RunDetached, RunFinished
from drrun.report import stream, text
from drrun.report.words import at
from drrun.store.folder import JOURNAL

POLL = 0.3
"""Seconds between two looks at the journal."""


def watch(
    run: str | None = None,
    /,
    *,
    exit_status: Annotated[bool, Parameter(name="--exit-status")] = False,
    look: Look = Look(),  # noqa: B008 - frozen
) -> int:
    """Follow a run's journal until the run ends. Only reads; ^C stops watching, not the run.

    Args:
        run: The run, or the beginning of its id; the newest one when left out.
        exit_status: Exit as the run did.
        look: How it is shown.
    """
    screen = terminal(look)
    store = engine(TerminalPrompt(allowed=False)).store
    stored = store.find(run)
    tail, pause, over = Tail(stored.folder / JOURNAL), threading.Event(), False
    try:
        with view(screen, stored.plan, (), threading.Event()) as shown:
            while not over:
                live = store.load(stored.run).live
                for record in tail.news():
                    shown.watch(record.event, at(record.utc))
                    over = isinstance(record.event, RunFinished | RunDetached)
                over = over or not live
                if not over:
                    pause.wait(POLL)
    except KeyboardInterrupt:
        screen.tell(f"no longer watching {stored.run}; it goes on")
        return 130
    stored = store.load(stored.run)
    story = story_of(stored)
    code = story.finished.exit_code if story.finished is not None else 0
    if screen.json:
        screen.give(stream.result(story, code))
    else:
        screen.say(text.end(story))
        if story.status not in {"done", "running"}:
            screen.say(text.failure(story, stored.outputs, source_of(story)))
    return code if exit_status else 0
