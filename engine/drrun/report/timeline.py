"""The times of a run's records, as steady as they can be known.

Rule 1: between two records of one boot of the controller the monotonic clock tells how long it was;
between two boots, or two machines, only their wall clocks can.
Rule 2: time never goes back: the order of the records is that of the journal, whatever clocks say.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from drrun.journal.chain import Record, Stamp
from drrun.report.words import at

TOLERANCE = 1.0
"""Seconds by which two clocks may part before it is called a jump; slewing stays far below."""


@dataclass(frozen=True, slots=True)
class Jump:
    """The controller's wall clock was turned by `seconds` (back when negative) before a record."""

    seq: int
    seconds: float


def timeline(records: Sequence[Record]) -> Iterator[tuple[datetime, Record]]:
    """Each record with its time: the first one's wall clock, and what passed since."""
    now, before = None, None
    for record in records:
        if now is None or before is None:
            now = at(record.utc)
        else:
            now += timedelta(seconds=_passed(before, record.stamp))
        before = record.stamp
        yield now, record


def jumps(records: Sequence[Record]) -> tuple[Jump, ...]:
    """Where the wall clock did not go with the monotonic one."""
    found: list[Jump] = []
    for one, record in pairwise(records):
        if _same_boot(one.stamp, record.stamp):
            by = _walled(one.stamp, record.stamp) - _passed(one.stamp, record.stamp)
            if abs(by) > TOLERANCE:
                found.append(Jump(record.seq, by))
    return tuple(found)


def _passed(one: Stamp, other: Stamp) -> float:
    if _same_boot(one, other):
        return (other.mono_ns - one.mono_ns) / 1e9
    return max(0.0, _walled(one, other))


def _walled(one: Stamp, other: Stamp) -> float:
    return (at(other.utc) - at(one.utc)).total_seconds()


def _same_boot(one: Stamp, other: Stamp) -> bool:
    return bool(one.boot) and one.boot == other.boot and other.mono_ns >= one.mono_ns
