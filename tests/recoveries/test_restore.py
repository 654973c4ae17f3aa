"""All members restored from one snapshot: to the end, and back again from where it cannot go on."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.lab.test_recovery import lost_and_restored

from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Operator

from .conftest import Matrix
from .states import MEMBERS

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]
SETTLED = "ls /etc/systemd/system/*.d/00-drrun-hold.conf 2>/dev/null || :"


def restore(operator: Operator, snapshot: Path) -> tuple[int, str]:
    """The restore of a cluster that lives, its loss accepted: exit code and what was said."""
    words = ("restore-cluster.yaml", "-e", f"snapshot={snapshot}", "-e", "accept_loss=1000")
    done = operator.drrun(*words, "--yes", "--no-input", timeout=600)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(name="saved")
def _saved(fresh: Lab, operator: Operator, tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A snapshot, and all the objects there are: those that it holds, and later ones."""
    path = tmp_path / "snapshot.db"
    before = rehearsal.write_objects(fresh, "before", 10)
    done = operator.drrun("etcd-backup.yaml", "-e", f"to={path}", "--yes", "--no-input")
    assert done.returncode == 0, done.stdout + done.stderr
    return path, {**before, **rehearsal.write_objects(fresh, "after", 10)}


def undone(lab: Lab, operator: Operator, objects: dict[str, str], cluster: int) -> None:
    """Undo the newest run: the same cluster with all its objects, everything up and nothing held."""
    done = operator.drrun("abort", operator.newest(), "--undo", "--no-input", timeout=600)
    assert done.returncode == 8, done.stdout + done.stderr
    lab.wait_ready()
    assert rehearsal.read_objects(lab) == objects
    members = rehearsal.members(lab)
    assert members[0].cluster == cluster
    assert rehearsal.disagreement(members) == ""
    assert not any(text.strip() for text in rehearsal.each(lab, SETTLED, MEMBERS).values())


def test_everything_of_the_snapshot_comes_back(
    fresh: Lab, operator: Operator, matrix: Matrix, tmp_path: Path
) -> None:
    """A1: everything destroyed; the snapshot's objects are back, none of later, ownership as it was."""
    with matrix.cell("restore all members from a snapshot", fresh) as remarks:
        outage = lost_and_restored(fresh, operator, tmp_path)
        remarks.append(f"100 objects of the snapshot, none of 50 later ones; outage {outage:.1f} s")
        remarks.append("by hand: 17 s")


def test_an_api_server_that_does_not_stop_ends_in_the_old_cluster(
    fresh: Lab, operator: Operator, matrix: Matrix, saved: tuple[Path, dict[str, str]]
) -> None:
    """A3: one that no unit owns runs on cp2: nothing is installed, and undo starts all again."""
    path, objects = saved
    cluster = rehearsal.members(fresh)[0].cluster
    rogue = "cp /bin/sleep /root/kube-apiserver; systemd-run --unit=rogue /root/kube-apiserver 3600"
    rehearsal.each(fresh, rogue, ["cp2"])
    with matrix.cell("an API server that does not stop: refused, undone", fresh) as remarks:
        code, told = restore(operator, path)
        assert code == 5, told
        assert "cp2" in told
        assert "kube-apiserver" in told
        assert not [
            event
            for event in operator.journal(operator.newest())
            if event.type == "change.intended" and event.body["unit"].startswith("install@")
        ]
        undone(fresh, operator, objects, cluster)
        remarks.append("refused at the proof, before anything was replaced; all objects there")


def test_a_member_that_does_not_start_ends_in_the_old_cluster(
    fresh: Lab, operator: Operator, matrix: Matrix, saved: tuple[Path, dict[str, str]]
) -> None:
    """A5: cp2's etcd starts on its old data only: the restore stops, and undo brings all back."""
    path, objects = saved
    cluster = rehearsal.members(fresh)[0].cluster
    broken = (
        "touch /var/lib/etcd/old; mkdir -p /etc/systemd/system/etcd.service.d\n"
        "printf '[Service]\\nExecStartPre=/usr/bin/test -e /var/lib/etcd/old\\n' "
        ">/etc/systemd/system/etcd.service.d/10-test.conf; systemctl daemon-reload"
    )
    rehearsal.each(fresh, broken, ["cp2"])
    scenario = "a member that does not start: refused by the gate, undone"
    with matrix.cell(scenario, fresh) as remarks:
        code, told = restore(operator, path)
        assert code in {1, 5}, told
        assert "cp2" in told
        assert fresh.kubectl("get", "--raw", "/readyz").returncode != 0
        undone(fresh, operator, objects, cluster)
        remarks.append("no API server was started; all objects there")
