"""A run as NDJSON: a version record, each event, a result. The stream is versioned by `format`."""

from __future__ import annotations

from datetime import datetime

from drrun import __version__
from drrun.journal.events import Event, body
from drrun.report.outage import goals
from drrun.report.story import Story
from drrun.values import Json, RunId

FORMAT = 1


def version() -> dict[str, Json]:
    """The first record."""
    return {"type": "version", "drrun": __version__, "format": FORMAT}


def record(run: RunId, event: Event, when: datetime) -> dict[str, Json]:
    """One event: its type, time and run, and its body as the journal has it."""
    stamp = when.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"type": event.type, "utc": stamp, "run": run, "body": body(event)}


def result(story: Story, exit_code: int) -> dict[str, Json]:
    """The last record."""
    why = story.finished.why if story.finished is not None else ""
    return {
        "type": "result",
        "run": story.plan.run,
        "status": story.status,
        "exit_code": exit_code,
        "why": why,
        "seconds": round(story.seconds, 3),
        "objectives": [
            {"name": g.name, "goal": g.goal, "got": g.got, "met": g.met} for g in goals(story)
        ],
    }
