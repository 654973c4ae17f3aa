"""A disk that breaks at any of its calls, and a power that is cut at any moment."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from drrun.errors import StoreError
from drrun.journal.events import Noted
from drrun.store.folder import JOURNAL, OUTPUT
from drrun.testing.crash import CrashingJournal, CrashingTransport, Points
from drrun.testing.world import Crash
from drrun.values import RunId, UnitId

from .conftest import EFFECTS, Desk

FAULTS = (errno.EIO, errno.ENOSPC, None)
TORN = ("a byte", "half", "unwritten blocks")


def reference(root: Path) -> list[str]:
    """The disk's calls of a run that nothing happens to."""
    desk = Desk(root)
    assert desk.app().start(desk.plan).exit_code == 0
    desk.proved()
    return desk.disk.calls


@pytest.mark.parametrize(
    "fault", FAULTS, ids=lambda fault: errno.errorcode[fault] if fault else "short"
)
def test_broken_at_any_call_nothing_is_sent_unannounced_and_a_resume_ends_the_run(
    tmp_path: Path, fault: int | None
) -> None:
    """At each write and sync of journal and outputs: exit 10, nothing unannounced, each effect once."""
    calls = reference(tmp_path / "reference")
    assert sum(call.endswith(JOURNAL) for call in calls) > 35
    assert sum(call.endswith(".out") for call in calls) == 2 * EFFECTS
    for at, call in enumerate(calls, 1):
        if fault is None and call != f"write {JOURNAL}":
            continue  # a sync is not short, and of an output the rest is written after it
        desk = Desk(tmp_path / f"{fault}-{at}")
        desk.disk.at, desk.disk.error = at, fault
        with pytest.raises(StoreError) as found:
            desk.app().start(desk.plan)
        assert found.value.exit_code == 10
        assert "drrun resume r-test" in found.value.hint
        assert not desk.too_early, f"call {at}"
        assert desk.app().resume(None).exit_code == 0, f"call {at}"
        desk.proved()


def test_what_broke_once_is_never_asked_again(desk: Desk) -> None:
    """After the failed sync there is no further write or sync on that journal, though both would do."""
    desk.disk.at, desk.disk.error = 12, errno.EIO
    with pytest.raises(StoreError):
        desk.app().start(desk.plan)
    assert len(desk.disk.calls) == 12


def test_a_broken_journal_stays_broken_until_it_is_opened_anew(desk: Desk) -> None:
    """Append and sync give the first error again; a journal opened afterwards has what was safe."""
    journal = desk.store.create(desk.plan)
    note = Noted(unit=UnitId("stop@h1"), text="one")
    journal.append(note, durable=True)
    desk.disk.at, desk.disk.error = len(desk.disk.calls) + 2, errno.EIO
    with pytest.raises(StoreError, match="Input/output error") as first:
        journal.append(note, durable=True)
    for act in (journal.sync, lambda: journal.append(note, durable=False)):
        with pytest.raises(StoreError) as again:
            act()
        assert again.value is first.value
    journal.close()
    _, opened = desk.store.open(RunId("r-test"))
    assert list(opened.events()) == [note]
    opened.close()


class Fuse(Points):
    """Points that end the controller by Crash instead of a signal: within this process."""

    def touch(self, name: str) -> None:
        """One more point."""
        self.names.append(name)
        if len(self.names) == self.at:
            raise Crash


def fused(root: Path, at: int) -> tuple[Desk, Fuse]:
    """A desk whose controller dies at a point."""
    fuse = Fuse(at)
    desk = Desk(
        root,
        wrap=lambda journal: CrashingJournal(journal, fuse),
        through=lambda transport: CrashingTransport(transport, fuse),
    )
    return desk, fuse


def cut(desk: Desk, left: str) -> None:
    """The power goes: of what was not synced nothing is left, or the beginning, or empty blocks."""
    for output in (desk.path.parent / OUTPUT).iterdir():
        desk.disk.cut(output, keep=1 if left == "a byte" else 0)
    risk = desk.path.stat().st_size - len(desk.disk.safe(desk.path))
    keep = {"a byte": 1, "half": risk // 2}.get(left, 0)
    desk.disk.cut(desk.path, keep=keep, zeros=4096 if left == "unwritten blocks" and risk else 0)


@pytest.mark.parametrize("torn", [False, True], ids=["gone", "torn"])
def test_the_power_cut_at_any_point_loses_nothing_that_was_waited_for(
    tmp_path: Path, *, torn: bool
) -> None:
    """The controller dies, its unsynced records are gone or torn: the resume repeats no effect."""
    desk, fuse = fused(tmp_path / "reference", 0)
    assert desk.app().start(desk.plan).exit_code == 0
    points, trimmed = len(fuse.names), 0
    assert points > 50
    for at in range(1, points + 1):
        desk, fuse = fused(tmp_path / f"p{at}", at)
        with pytest.raises(Crash):
            desk.app().start(desk.plan)
        fuse.at = 0
        cut(desk, TORN[at % len(TORN)] if torn else "nothing")
        events = desk.store.load("r-test").events
        if not events or events[-1].type != "run.finished":
            assert desk.app().resume(None).exit_code == 0, f"point {at}"
        desk.proved()
        kinds = [event.type for event in desk.store.load("r-test").events]
        trimmed += "journal.trimmed" in kinds
    assert (trimmed > points // 4) == torn


def test_a_store_that_cannot_be_made_leaves_no_run(tmp_path: Path) -> None:
    """The root is a file: exit 10, the hint names DRRUN_STATE, and there is no run."""
    (tmp_path / "runs").write_text("")
    desk = Desk(tmp_path / "runs")
    with pytest.raises(StoreError, match="cannot be written") as found:
        desk.app().start(desk.plan)
    assert "DRRUN_STATE" in found.value.hint
    assert not desk.world.effects


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes into every folder")
def test_a_folder_of_somebody_else_is_exit_10(desk: Desk) -> None:
    """The runs can be read and not written: nothing is started, the run is seen as it was."""
    desk.app().start(desk.plan)
    desk.path.parent.chmod(0o500)
    try:
        with pytest.raises(StoreError, match="cannot be written"):
            desk.store.open(RunId("r-test"))
        assert desk.store.load("r-test").events
    finally:
        desk.path.parent.chmod(0o700)
