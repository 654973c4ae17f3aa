"""Times that a turned clock cannot falsify: what passed is measured, not subtracted from wall clocks."""

from __future__ import annotations

from datetime import timedelta

import pytest

from drrun.journal.chain import Record, Stamp
from drrun.journal.events import Noted
from drrun.report.timeline import Jump, jumps, timeline
from drrun.values import Digest, UnitId

from .conftest import BEGAN


def record(seq: int, wall: float, mono: float, boot: str = "boot-1") -> Record:
    """A record at a wall clock's seconds after the beginning, and a monotonic clock's."""
    stamp = Stamp((BEGAN + timedelta(seconds=wall)).isoformat(), round(mono * 1e9), boot)
    event = Noted(unit=UnitId("a@h1"), text=str(seq))
    return Record(seq, Digest("0" * 64), stamp, 1, event, Digest("1" * 64))


def seconds(*records: Record) -> list[float]:
    """The timeline, in seconds after the beginning."""
    return [(when - BEGAN).total_seconds() for when, _ in timeline(records)]


@pytest.mark.parametrize("turned", [-3600.0, 86400.0], ids=["an hour back", "a day forth"])
def test_a_clock_that_is_turned_changes_no_duration(turned: float) -> None:
    """One boot: ten seconds stay ten seconds, and the jump is told with its record."""
    found = (record(0, 0, 100), record(1, 5, 105), record(2, 10 + turned, 110))
    assert seconds(*found) == [0, 5, 10]
    assert jumps(found) == (Jump(2, turned),)


def test_between_two_controllers_the_wall_clock_counts() -> None:
    """Another boot, another monotonic clock: what passed is what the wall clocks say."""
    found = (record(0, 0, 5000), record(1, 90, 3, "boot-2"), record(2, 95, 8, "boot-2"))
    assert seconds(*found) == [0, 90, 95]
    assert jumps(found) == ()


def test_time_never_goes_back() -> None:
    """A second controller whose clock is behind: its records come after the first one's."""
    found = (record(0, 0, 5), record(1, 60, 65), record(2, 30, 1, "boot-2"))
    assert seconds(*found) == [0, 60, 60]


def test_a_clock_that_is_slewed_is_not_called_turned() -> None:
    """Half a second between two records is a time daemon's work."""
    assert jumps((record(0, 0, 0), record(1, 10.5, 10))) == ()


def test_records_without_a_boot_go_by_the_wall_clock() -> None:
    """A controller that cannot tell its boots apart trusts none of its monotonic times."""
    assert seconds(record(0, 0, 9, ""), record(1, 7, 2, "")) == [0, 7]
