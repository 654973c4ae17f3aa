"""Stories told by hand: a plan, and records whose times are known to the second."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from drrun.journal.chain import Record, Stamp
from drrun.journal.events import Event
from drrun.values import Digest

BEGAN = datetime(2026, 11, 22, 1, 0, 0, tzinfo=UTC)


def records(events: Iterable[tuple[float, Event]]) -> tuple[Record, ...]:
    """Events at seconds after the beginning, as a journal would hold them."""
    found: list[Record] = []
    for seq, (seconds, event) in enumerate(events):
        when = (BEGAN + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")
        stamp = Stamp(when, round(seconds * 1e9))
        found.append(Record(seq, Digest(f"{seq:064d}"), stamp, 1, event, Digest(f"{seq + 1:064d}")))
    return tuple(found)
