"""One writer a run, whoever looks at it meanwhile; and what a takeover leaves behind."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from drrun.errors import Refused, StoreError
from drrun.store import lock
from drrun.store.folder import FolderStore
from drrun.values import RunId

from .conftest import Desk

HOLDS = """
import sys
from pathlib import Path
from drrun.store.folder import FolderStore
_, journal = FolderStore(Path(sys.argv[1])).open("r-test")
print("has it", flush=True)
sys.stdin.read()
"""


def test_another_process_has_the_run_until_it_dies(desk: Desk) -> None:
    """Its pid and machine are named; a kill -9 gives the run free, though its lock file stays."""
    desk.app().start(desk.plan)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDS, str(desk.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "has it\n"
        assert desk.store.live("r-test")
        with pytest.raises(Refused, match=f"driven by pid {holder.pid} on ") as found:
            desk.store.open(RunId("r-test"))
        assert "drrun takeover r-test" in found.value.hint
    finally:
        holder.kill()
        holder.communicate()
    assert not desk.store.live("r-test")
    assert (desk.root / "r-test" / "lock").read_text().startswith(f"pid {holder.pid} ")
    _, journal = desk.store.open(RunId("r-test"))
    journal.close()


def test_who_only_looks_never_keeps_a_writer_out(tmp_path: Path) -> None:
    """Threads that ask without a pause whether the run is held; each of 300 takes succeeds."""
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            lock.held(tmp_path)

    lookers = [threading.Thread(target=look) for _ in range(4)]
    for looker in lookers:
        looker.start()
    try:
        for _ in range(300):
            os.close(lock.take(tmp_path))
    finally:
        over.set()
        for looker in lookers:
            looker.join()


def test_a_lock_that_a_takeover_replaces_meanwhile_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has opened the old file when the new one comes is refused, and told of the new holder."""
    real, new = fcntl.flock, []

    def flock(fd: int, operation: int) -> None:
        """The takeover happens between the opening and the locking."""
        monkeypatch.setattr(fcntl, "flock", real)
        new.append(lock.take_anew(tmp_path))
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(Refused, match=f"driven by pid {os.getpid()}"):
        lock.take(tmp_path)
    os.close(new[0])
    os.close(lock.take(tmp_path))


def test_a_takeover_that_died_half_way_does_not_hinder_the_next(desk: Desk) -> None:
    """What it left under its own names is written over."""
    desk.app().start(desk.plan)
    folder = desk.root / "r-test"
    (folder / f"lock.{os.getpid()}").write_text("half")
    (folder / f"journal.jsonl.{os.getpid()}").write_text("half")
    _, journal = FolderStore(desk.root).take_over(RunId("r-test"))
    assert [e.type for e in journal.events()][-1] == "run.finished"
    journal.close()
    assert sorted(p.name for p in folder.iterdir()) == [
        "journal.jsonl",
        "lock",
        "output",
        "plan.json",
    ]


def test_a_takeover_that_cannot_be_journaled_fences_no_host(desk: Desk) -> None:
    """The folder does not take a copy of the journal: exit 10, and the hosts have heard nothing."""
    desk.disk.at, desk.disk.error = 20, errno.EIO
    with pytest.raises(StoreError):
        desk.app().start(desk.plan)
    before = dict(desk.world.locks)
    in_the_way = desk.root / "r-test" / "journal.jsonl.probe"
    in_the_way.mkdir()
    with pytest.raises(StoreError, match="cannot be written") as found:
        desk.app().takeover(None)
    assert found.value.exit_code == 10
    assert desk.world.locks == before
    in_the_way.rmdir()
    assert desk.app().takeover(None).exit_code == 0
    desk.proved()
