"""Group commit: many units wait for the disk at once, and one sync serves all that was written."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drrun.errors import StoreError
from drrun.execute.recorder import Recorder
from drrun.journal.events import Noted
from drrun.journal.state import RunState
from drrun.store.folder import FolderStore
from drrun.testing.disk import FaultyDisk
from drrun.values import UnitId
from tests.unit.engine.conftest import compiled

from .conftest import STEPS

UNITS = 16


@dataclass
class SlowDisk(FaultyDisk):
    """A disk whose first sync takes as long as it takes all the others to write.

    A recorder that held a lock while it waits would never let them write: the wait then ends by
    its deadline, and the counts tell.
    """

    wanted: int = 0
    together: threading.Event = field(default_factory=threading.Event)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Write; the last one wakes the sync."""
        taken = super().write(fd, data)
        if self.count("write") >= self.wanted:
            self.together.set()
        return taken

    def sync(self, fd: int) -> None:
        """Wait for the writers, then sync."""
        if not self.together.wait(10):
            self.together.set()  # nobody else could write: the others need not wait for that too
        super().sync(fd)


def recorder(root: Path, disk: SlowDisk) -> Recorder:
    """A recorder on a new run; only what comes from now on is counted."""
    plan = compiled(STEPS)
    journal = FolderStore(root, disk=disk).create(plan)
    disk.calls.clear()
    disk.wanted = UNITS
    return Recorder(journal, RunState.of(plan))


def noted(number: int) -> Noted:
    """What one unit records."""
    return Noted(unit=UnitId("stop@h1"), text=f"unit {number}")


def test_units_that_wait_at_once_share_a_sync(tmp_path: Path) -> None:
    """Sixteen durable records from sixteen threads: two syncs at most, each record on the disk."""
    disk = SlowDisk()
    one = recorder(tmp_path, disk)
    with ThreadPoolExecutor(UNITS) as pool:
        list(pool.map(lambda n: one.record(noted(n), durable=True), range(UNITS)))
    assert disk.count("write") == UNITS
    assert disk.count("sync") <= 2
    path = tmp_path / "r-test" / "journal.jsonl"
    assert disk.safe(path) == path.read_bytes()
    texts = {e.text for e in FolderStore(tmp_path).load("r-test").events if isinstance(e, Noted)}
    assert texts == {f"unit {n}" for n in range(UNITS)}


def test_a_sync_that_fails_fails_for_all_that_waited_for_it(tmp_path: Path) -> None:
    """None of the sixteen is told that its record is on the disk, and it is asked only once."""
    disk = SlowDisk()
    one = recorder(tmp_path, disk)
    disk.at, disk.error = UNITS + 1, 5

    def refused(number: int) -> bool:
        with pytest.raises(StoreError):
            one.record(noted(number), durable=True)
        return True

    disk.wanted = UNITS
    with ThreadPoolExecutor(UNITS) as pool:
        assert all(pool.map(refused, range(UNITS)))
    assert disk.count("sync") == 1


def test_a_record_that_is_not_waited_for_costs_no_sync(tmp_path: Path) -> None:
    """It goes to the disk with the next one that is."""
    disk = SlowDisk()
    disk.together.set()
    one = recorder(tmp_path, disk)
    one.record(noted(1))
    one.record(noted(2))
    assert disk.count("sync") == 0
    one.record(noted(3), durable=True)
    assert disk.count("sync") == 1
    one.journal.sync()
    assert disk.count("sync") == 1
