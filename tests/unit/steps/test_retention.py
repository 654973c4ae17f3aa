"""Which snapshots of earlier runs go, and that nothing else in the folder does: the real scripts."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from drrun.spi import Command, Reply
from drrun.testing import FakeHost
from drrun_steps.etcd.retention import EarlierSnapshots, Retain


def run(shell: tuple[str, ...], command: Command) -> Reply:
    """The script, here."""
    done = subprocess.run(
        shell,
        input=command.script(),
        capture_output=True,
        env={"PATH": os.environ["PATH"]},
        check=False,
        timeout=30,
    )
    return Reply(done.returncode, done.stdout, done.stderr)


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    """Three old snapshots, today's, another label's, somebody's own, and one without a manifest."""
    for age, name in enumerate(["r-now", "r-3", "r-2", "r-1"]):
        _made(tmp_path, f"etcd-{name}.db", '{"drrun": 1, "run": "x"}', age)
    _made(tmp_path, "before-restore-r-1.db", '{"drrun": 1, "run": "x"}', 9)
    _made(tmp_path, "etcd-mine.db", '{"made": "by hand"}', 9)
    (tmp_path / "etcd-torn.db").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("keep")
    return tmp_path


def _made(folder: Path, name: str, manifest: str, age: int) -> None:
    (folder / name).write_bytes(b"x")
    (folder / f"{name}.json").write_text(manifest + "\n")
    os.utime(folder / name, (1_000_000 - age * 3600,) * 2)


@pytest.mark.parametrize(("earlier", "gone"), [(0, 3), (1, 2), (3, 0), (9, 0)])
def test_the_oldest_of_earlier_runs_go(
    folder: Path, shell: tuple[str, ...], earlier: int, gone: int
) -> None:
    """Newest first, today's never, and whatever drrun did not make stays."""
    fact = EarlierSnapshots(str(folder), "etcd", "r-now")
    found = fact.parse(run(shell, fact.ask()))
    assert found == ("etcd-r-3.db", "etcd-r-2.db", "etcd-r-1.db")
    before = {path.name for path in folder.iterdir()}
    host = FakeHost("cp1", {fact: found}, run="r-now")
    Retain(earlier=earlier, folder=str(folder)).run(host)
    for change in host.changes:
        assert run(shell, change.command).exit == 0
    left = {path.name for path in folder.iterdir()}
    oldest = list(found[len(found) - gone :]) if gone else []
    assert before - left == {name for db in oldest for name in (db, f"{db}.json")}


def test_without_a_number_nothing_goes(folder: Path) -> None:
    """Empty is no zero: nothing is even asked."""
    host = FakeHost(
        "cp1", {EarlierSnapshots(str(folder), "etcd", "r-now"): ("etcd-r-1.db",)}, run="r-now"
    )
    Retain(folder=str(folder)).run(host)
    assert host.changes == []


def test_a_folder_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    """The first backup of a host."""
    fact = EarlierSnapshots(str(tmp_path / "none"), "etcd", "r")
    assert fact.parse(run(("dash",), fact.ask())) == ()


@pytest.mark.parametrize("name", ["../etcd-x.db", ".etcd-x.db", "other-x.db"])
def test_a_name_that_is_not_one_of_ours_is_never_removed(tmp_path: Path, name: str) -> None:
    """The script itself refuses, whatever it was given."""
    host = FakeHost("cp1", {EarlierSnapshots(str(tmp_path), "etcd", "r-test"): (name,)})
    Retain(earlier=0, folder=str(tmp_path)).run(host)
    assert run(("dash",), host.changes[0].command).exit == 9
