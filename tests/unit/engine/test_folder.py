"""The journal on disk: chained, torn tails trimmed, damage refused, one writer at a time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from drrun.errors import Refused, StoreError, TakenOver, UsageError
from drrun.journal.events import Noted
from drrun.store.folder import JOURNAL, FolderJournal, FolderStore
from drrun.values import UnitId

from .conftest import compiled

STEP = "- {id: a, hosts: members, uses: world.set, with: {key: k, to: v}}"


def written(root: Path, count: int = 5) -> tuple[FolderStore, Path]:
    """A store with one run of `count` notes."""
    store = FolderStore(root)
    journal = store.create(compiled(STEP))
    for number in range(count):
        journal.append(Noted(unit=UnitId("a@h1"), text=f"note {number}"), durable=True)
    journal.close()
    return store, store.folder("r-test") / JOURNAL


def test_what_was_written_is_read_back_in_order(tmp_path: Path) -> None:
    """Five events, a verified chain, and the plan itself."""
    store, _ = written(tmp_path)
    run = store.load("r-test")
    assert [e.text for e in run.events if isinstance(e, Noted)] == [f"note {n}" for n in range(5)]
    assert run.plan.digest == compiled(STEP).digest
    assert not run.live


def test_every_torn_tail_is_trimmed_and_goes_on(tmp_path: Path) -> None:
    """Cut at every byte of the last record: four records stay, and a new one follows them."""
    store, path = written(tmp_path)
    whole = path.read_bytes()
    start = whole[:-1].rfind(b"\n") + 1
    for cut in range(start + 1, len(whole)):
        path.write_bytes(whole[:cut])
        _, journal = store.open(store.load("r-test").run)
        journal.append(Noted(unit=UnitId("a@h1"), text="after"), durable=True)
        journal.close()
        assert [e.text for e in store.load("r-test").events if isinstance(e, Noted)][-2:] == [
            "note 3",
            "after",
        ]


def test_two_writers_are_refused(tmp_path: Path) -> None:
    """The second controller is told who has the run."""
    store, _ = written(tmp_path)
    _, journal = store.open(store.load("r-test").run)
    with pytest.raises(Refused, match=f"pid {os.getpid()}"):
        store.open(store.load("r-test").run)
    assert store.load("r-test").live
    journal.close()


def test_a_write_error_poisons_the_journal_for_good(tmp_path: Path) -> None:
    """After one error nothing more is written, even when the disk is well again."""
    store, _ = written(tmp_path)
    _, journal = store.open(store.load("r-test").run)
    assert isinstance(journal, FolderJournal)
    full = os.open("/dev/full", os.O_WRONLY)
    good, journal._fd = journal._fd, full
    with pytest.raises(StoreError):
        journal.append(Noted(unit=UnitId("a@h1"), text="lost"), durable=True)
    journal._fd = good
    with pytest.raises(StoreError):
        journal.append(Noted(unit=UnitId("a@h1"), text="refused"), durable=True)
    journal.close()
    os.close(full)


def test_a_run_is_found_by_a_unique_prefix(tmp_path: Path) -> None:
    """And a wrong name says how to list them."""
    store, _ = written(tmp_path)
    assert store.find("r-te").run == "r-test"
    assert store.find(None).run == "r-test"
    with pytest.raises(UsageError, match="no run 'x'"):
        store.find("x")


def test_a_controller_whose_run_was_taken_over_cannot_write(tmp_path: Path) -> None:
    """Its next append is refused, and the new controller's journal holds all that came before."""
    store, _ = written(tmp_path)
    run = store.load("r-test").run
    _, old = store.open(run)
    old.append(Noted(unit=UnitId("a@h1"), text="by the old one"), durable=True)
    _, new = store.take_over(run)
    with pytest.raises(TakenOver):
        old.append(Noted(unit=UnitId("a@h1"), text="too late"), durable=True)
    with pytest.raises(TakenOver):
        old.save_output("c-1.out", b"too late as well")
    new.append(Noted(unit=UnitId("a@h1"), text="by the new one"), durable=True)
    new.close()
    old.close()
    texts = [e.text for e in store.load("r-test").events if isinstance(e, Noted)]
    assert texts[-2:] == ["by the old one", "by the new one"]


def test_outputs_cost_no_descriptors(tmp_path: Path) -> None:
    """A run of thousands of commands that print keeps no file open for each of them."""
    journal = FolderStore(tmp_path).create(compiled(STEP))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(50):
        journal.save_output(f"c-{number}.out", b"one ")
        journal.save_output(f"c-{number}.out", b"two")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert journal.outputs.size("c-7.out") == 7
    assert journal.outputs.read("c-7.out", 2, 3) == b"e t"
    assert (journal.outputs.size("c-none.out"), journal.outputs.read("c-none.out", 0, 9)) == (
        0,
        b"",
    )
    journal.close()


def test_an_output_that_cannot_be_written_poisons_the_journal(tmp_path: Path) -> None:
    """What a command printed is evidence as its end is: nothing more is started without it."""
    journal = FolderStore(tmp_path).create(compiled(STEP))
    journal.outputs.path("c-1.out").symlink_to("/dev/full")
    with pytest.raises(StoreError, match="No space left"):
        journal.save_output("c-1.out", b"x")
    with pytest.raises(StoreError):
        journal.append(Noted(unit=UnitId("a@h1"), text="refused"), durable=True)
    journal.close()
