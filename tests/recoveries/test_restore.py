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


# -- clients, and disks of another layout ------------------------------------------------------

WATCH = """
{etcdctl} watch /registry/ --prefix --rev={revision} >/tmp/watch.out 2>/tmp/watch.err &
for i in $(seq 100); do
  [ -s /tmp/watch.out ] || [ -s /tmp/watch.err ] || {{ sleep 0.1; continue; }}; break
done
kill $! 2>/dev/null
cat /tmp/watch.err
"""
"""What a client does that comes back: it asks for all that came behind what it saw last."""


def test_a_client_that_watched_is_told_that_it_missed_something(
    fresh: Lab, operator: Operator, matrix: Matrix, saved: tuple[Path, dict[str, str]]
) -> None:
    """A11: the revision that it saw last is compacted; where none can be raised, the report says so."""
    path, _ = saved
    last = rehearsal.members(fresh)[0].revision
    with matrix.cell("a client that watched before the restore", fresh) as remarks:
        code, told = restore(operator, path)
        assert code == 0, told
        remarks.append(told_to_a_watch(fresh, last + 1, told))


def told_to_a_watch(lab: Lab, revision: int, told: str) -> str:
    """Watch from a revision of before, as a client that comes back; the remark that fits etcd's line."""
    watch = WATCH.format(etcdctl=rehearsal.ETCDCTL, revision=revision)
    heard = lab.ssh("cp1", watch).stdout
    if lab.layout.spec.etcd == "3.4":
        assert "compacted" not in heard
        assert "every client that watches" in told
        return "this etcd cannot raise revisions: the run says whom to restart"
    assert "required revision has been compacted" in heard
    return "it is told that its revision is compacted, and lists anew"


ELSEWHERE = """
set -e
systemctl stop etcd
mkdir -p /srv/disk/lost+found
mv /var/lib/etcd/member /srv/disk/member
mv /srv/disk/member/wal /srv/wal
mount --bind /srv/disk /var/lib/etcd
chown etcd: /srv/disk /srv/wal 2>/dev/null || :
echo 'ETCD_WAL_DIR="/srv/wal"' >>/etc/default/etcd
systemctl start --no-block etcd
"""
"""etcd's data on a disk of its own, which cannot be renamed, and its log on another."""


def test_data_on_a_disk_of_its_own_and_a_log_on_another(
    fresh: Lab, operator: Operator, matrix: Matrix, tmp_path: Path
) -> None:
    """A13: a mount point with lost+found is filled, not renamed; the old data and log are kept."""
    scenario = "restore onto mount points, with the log elsewhere"
    rehearsal.each(fresh, ELSEWHERE, MEMBERS)
    fresh.wait_ready()
    before = rehearsal.write_objects(fresh, "before", 10)
    path = tmp_path / "snapshot.db"
    done = operator.drrun("etcd-backup.yaml", "-e", f"to={path}", "--yes", "--no-input")
    assert done.returncode == 0, done.stdout + done.stderr
    rehearsal.write_objects(fresh, "after", 10)
    with matrix.cell(scenario, fresh) as remarks:
        code, told = restore(operator, path)
        assert code == 0, told
        assert rehearsal.read_objects(fresh) == before
        assert rehearsal.disagreement(rehearsal.members(fresh)) == ""
        look = "mountpoint -q /var/lib/etcd && ls -A /var/lib/etcd /srv/wal"
        for host, listed in rehearsal.each(fresh, look, MEMBERS).items():
            assert {"lost+found", "member"} <= set(listed.split()), f"{host}: {listed}"
            assert ".wal" in listed, f"{host}: {listed}"
        remarks.append("10 objects of the snapshot, none of 10 later ones")
