"""The scripts of staging and swapping, run by a real shell on a real file system."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from drrun.spi import Command, Reply, sh
from drrun_steps.etcd.place import INSTALL, RESTORE, SWAP_BACK, UNSTAGE, Place, Staged, staged

_TOOL = """#!/bin/sh
# Stands for etcdutl: makes what a restore makes, or leaves residue and fails.
[ "$1 $2" = "snapshot restore" ] || exit 2
while [ $# -gt 0 ]; do
  case $1 in --data-dir) to=$2;; --wal-dir) wal=$2;; --bump-revision) bump=$2;; esac; shift
done
[ -e "$to" ] && { echo "data-dir $to not empty" >&2; exit 1; }
mkdir -p "$to/member/snap"; echo "restored bump=${bump:-0}" >"$to/member/snap/db"
[ -e %(fail)s ] && { echo "expected sha256" >&2; exit 1; }
mkdir -p "${wal:-$to/member/wal}"
"""


@dataclass
class Machine:
    """One host's corner of the file system."""

    root: Path
    place: Place

    def run(self, text: str, **env: object) -> Reply:
        """A script, as a host would run it."""
        owner = f"{self.root.owner()}:{self.root.group()}"
        command = sh(
            text,
            **self.place.environment(),
            RUN="r1",
            SHA256=_SHA,
            NAME="cp1",
            CLUSTER="cp1=https://1:2380",
            TOKEN="t",
            PEER="https://1:2380",
            BUMP=env.pop("BUMP", 7),
            OWNER=owner,
            TOOL=str(self.root / "etcdutl"),
        )
        return _shell(command)

    def staged(self) -> Staged:
        """The fact, as the engine would read it."""
        fact = staged(self.place)
        return fact.parse(_shell(fact.ask()))

    @property
    def live(self) -> str:
        """What is in the live database."""
        return (Path(self.place.data_dir) / "member/snap/db").read_text().strip()


_SNAPSHOT = b"a snapshot"
_SHA = hashlib.sha256(_SNAPSHOT).hexdigest()


def _shell(command: Command) -> Reply:
    done = subprocess.run(["/bin/sh"], input=command.script(), capture_output=True, check=False)
    return Reply(done.returncode, done.stdout, done.stderr)


@pytest.fixture(params=["sibling", "mount", "own-wal"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    """A member with data, in each of the three shapes that a data directory has."""
    data, stage = tmp_path / "etcd", tmp_path / "stage"
    (data / "member/snap").mkdir(parents=True)
    (data / "member/snap/db").write_text("old\n")
    wal = tmp_path / "wal" if request.param == "own-wal" else None
    if wal is not None:
        wal.mkdir()
        (wal / "0.wal").write_text("old")
    stage.mkdir()
    (stage / "snapshot.db").write_bytes(_SNAPSHOT)
    tool = tmp_path / "etcdutl"
    tool.write_text(_TOOL % {"fail": tmp_path / "fail"})
    tool.chmod(0o755)
    mount = request.param == "mount"
    return Machine(tmp_path, Place(str(data), str(wal or ""), mount, "r1", str(stage)))


def test_stage_install_and_back(machine: Machine) -> None:
    """There and back again: the old data is where it was, the restored one is staged."""
    assert machine.staged().state == "none"
    assert machine.run(RESTORE).exit == 0
    assert machine.staged() == Staged("staged", _SHA, "t", 7)
    assert machine.live == "old"
    assert machine.run(INSTALL).exit == 0
    assert machine.staged() == Staged("installed", _SHA, "t", 7)
    assert machine.live == "restored bump=7"
    assert Path(machine.place.old).exists()
    assert machine.run(SWAP_BACK).exit == 0
    assert machine.live == "old"
    assert machine.staged().state == "staged"
    assert machine.run(UNSTAGE).exit == 0
    assert machine.staged().state == "none"
    assert not Path(machine.place.restore_to).exists()


def test_each_script_may_be_sent_twice(machine: Machine) -> None:
    """A lost answer is asked again: the second time changes nothing."""
    for script in (RESTORE, INSTALL, SWAP_BACK, UNSTAGE):
        for _ in range(2):
            reply = machine.run(script)
            assert reply.exit == 0, reply.complaint
    assert machine.live == "old"


def test_a_restore_that_failed_counts_for_nothing_and_can_be_repeated(machine: Machine) -> None:
    """Etcd checks the hash after it copied the file, and refuses its own residue later."""
    (machine.root / "fail").write_text("")
    assert machine.run(RESTORE).exit != 0
    assert machine.staged().state == "none"
    (machine.root / "fail").unlink()
    assert machine.run(RESTORE).exit == 0
    assert machine.staged().state == "staged"


def test_another_snapshot_is_not_staged(machine: Machine) -> None:
    """One host with another file would run beside the others, healthy and different."""
    Path(machine.place.stage, "snapshot.db").write_bytes(b"another")
    reply = machine.run(RESTORE)
    assert reply.exit == 6
    assert "another sha256" in reply.complaint


def test_staging_again_replaces_only_its_own(machine: Machine) -> None:
    """With another bump, say."""
    assert machine.run(RESTORE).exit == 0
    assert machine.run(RESTORE, BUMP=9).exit == 0
    assert machine.staged().bump == 9
    assert machine.live == "old"


def test_a_member_whose_data_was_gone_is_installed_as_well(machine: Machine) -> None:
    """There is nothing to set aside; undo leaves nothing in its place either."""
    shutil.rmtree(machine.place.live)
    assert machine.run(RESTORE).exit == 0
    assert machine.run(INSTALL).exit == 0
    assert machine.staged().state == "installed"
    assert not Path(machine.place.old).exists()
    assert machine.run(SWAP_BACK).exit == 0
    assert not Path(machine.place.live).exists()


def test_a_swap_that_was_cut_is_half_and_finished_by_repeating_it(machine: Machine) -> None:
    """Between its two renames there is no live directory at all."""
    machine.run(RESTORE)
    Path(machine.place.live).rename(machine.place.old)
    assert machine.staged().state == "half"
    assert machine.run(INSTALL).exit == 0
    assert machine.staged().state == "installed"


def test_an_old_directory_is_never_overwritten(machine: Machine) -> None:
    """Somebody made a new live directory meanwhile: refused, nothing moved."""
    machine.run(RESTORE)
    shutil.copytree(machine.place.live, machine.place.old)
    reply = machine.run(INSTALL)
    assert reply.exit == 8
    assert machine.live == "old"


def test_a_staged_directory_that_somebody_removed_is_not_installed(machine: Machine) -> None:
    """The live directory is there, the staged one is not: only the inode tells them apart."""
    machine.run(RESTORE)
    shutil.rmtree(machine.place.restore_to)
    assert machine.staged().state == "none"


def test_nothing_is_swapped_under_a_process_that_has_it_open(machine: Machine) -> None:
    """Whatever the unit says."""
    machine.run(RESTORE)
    with (Path(machine.place.live) / "lock").open("w"):
        reply = machine.run(INSTALL)
    assert reply.exit == 6
    assert machine.live == "old"
