"""Driving a run from the command line: the view, the signals, the end screen. For run, resume, abort."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

from drrun.app import App
from drrun.cli.aside import Aside
from drrun.cli.prompt import TerminalPrompt
from drrun.cli.signals import Signals
from drrun.cli.terminal import Terminal
from drrun.cli.views import view
from drrun.errors import DrrunError
from drrun.execute.decide import Finish
from drrun.journal.chain import Record
from drrun.plan.plan import Plan
from drrun.report import html, stream, text
from drrun.report.outage import missed
from drrun.report.promise import Promise, promise
from drrun.report.readmitted import readmissions
from drrun.report.story import Story
from drrun.store.folder import FolderStore, StoredRun
from drrun.values import RunId

MISSED = 7
"""Done, but an objective was missed."""


def drive(
    app: App,
    screen: Terminal,
    plan: Plan,
    act: Callable[[], Finish],
    past: Sequence[Record] = (),
) -> int:
    """Do it, show it, and say how it ended. The exit code is that of design §9."""
    shown = Aside(view(screen, plan, past, app.stop))
    app.watchers = (*app.watchers, shown.watch)
    if isinstance(app.prompt, TerminalPrompt):
        app.prompt.stop, app.prompt.paused = app.stop, shown.paused
    with Signals(app.stop, plan.run) as signals, shown:
        finish = act()
    if finish.status == "detached":
        return _detached(screen, plan, app.store.load(plan.run), signals.exit_code)
    return ended(screen, app.store.load(plan.run), finish.exit_code)


def _detached(screen: Terminal, plan: Plan, stored: StoredRun, code: int) -> int:
    if screen.json:
        screen.give(stream.result(story_of(stored), code))
    else:
        screen.warn(f"stopped; commands on hosts go on\n  next: drrun resume {plan.run}")
    return code


def ended(screen: Terminal, stored: StoredRun, code: int) -> int:
    """The end screen, or the failure screen; and the report beside the journal."""
    story = story_of(stored)
    code = code_of(story, code)
    report = _keep_report(stored, story)
    if screen.json:
        screen.give(stream.result(story, code))
        return code
    screen.say(text.end(story, report=report, promised=promised(stored, story)))
    if code not in {0, MISSED} and story.status != "resting":
        screen.warn("")
        screen.warn(text.failure(story, stored.outputs, source_of(story)))
    return code


def code_of(story: Story, code: int) -> int:
    """The exit code of a run that ended with `code`, by its objectives."""
    return MISSED if code == 0 and story.status != "resting" and missed(story) else code


def promised(stored: StoredRun, story: Story) -> Promise | None:
    """What the run made of the sealed plan that it was applied from, if it was."""
    sealed = stored.sealed
    return None if sealed is None else promise(story, sealed)


def story_of(stored: StoredRun) -> Story:
    """The story of a run on disk; for one with fenced hosts, also which of them later runs brought back."""
    story = Story.of(stored.plan, stored.records, live=stored.live)
    if story.fenced:
        later = _later(FolderStore(stored.folder.parent), stored.run)
        story.readmitted = readmissions(later)
    return story


def _later(store: FolderStore, run: RunId) -> Iterator[Story]:
    """The runs beside that one that are younger, the oldest first."""
    for later in reversed(list(takewhile(lambda other: other != run, store.runs()))):
        with suppress(DrrunError):  # one damaged run tells nothing, and hides nothing
            found = store.load(later)
            yield Story.of(found.plan, found.records)


def source_of(story: Story) -> Sequence[str]:
    """The runbook's lines, if the file is still the one that was planned."""
    try:
        raw = Path(story.plan.runbook).read_bytes()
    except OSError:
        return ()
    if hashlib.sha256(raw).hexdigest() != story.plan.runbook_digest:
        return ()
    return raw.decode("utf-8", "replace").splitlines()


def _keep_report(stored: StoredRun, story: Story) -> str:
    """The HTML report beside the journal; a disk that is full costs the report alone."""
    path = stored.folder / "report.html"
    try:
        path.write_text(html.page(story, stored.outputs), encoding="utf-8")
    except OSError:
        return f"drrun report {story.plan.run}"
    return str(path)
