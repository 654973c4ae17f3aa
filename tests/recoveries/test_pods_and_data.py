"""What a restore does to data and clients where etcd is a static pod: as with units, and shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Operator
from drrun_lab.rehearsal import each
from drrun_lab.waiting import until

from .conftest import Matrix
from .states import MEMBERS
from .test_drill import drilled
from .test_rebuild import backed_up, kept_apart, others_refused
from .test_restore import restore, told_to_a_watch
from .test_static_pods import MANIFESTS, PODS, lives

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1800)]

OLD_DATA_ONLY = r"""
mkdir -p /var/lib/etcd/old
sed -i -e 's,^    volumeMounts:,&\n    - {mountPath: /old\, name: old},' \
  -e 's,^  volumes:,&\n  - {name: old\, hostPath: {path: /var/lib/etcd/old\, type: Directory}},' \
  /etc/kubernetes/manifests/etcd.yaml
"""
"""kubelet starts this pod only where the folder is: on the old data, never on restored data."""


ELSEWHERE = r"""
set -e
mv /etc/kubernetes/manifests/etcd.yaml /root/
for i in $(seq 250); do [ -n "$(crictl ps -q --name '^etcd$')" ] || break; sleep 0.2; done
mkdir -p /srv/disk/lost+found
mv /var/lib/etcd/member /srv/disk/member
mv /srv/disk/member/wal /srv/wal
mount --bind /srv/disk /var/lib/etcd
sed -i -e 's,^    volumeMounts:,&\n    - {mountPath: /srv/wal\, name: wal},' \
  -e 's,^  volumes:,&\n  - {name: wal\, hostPath: {path: /srv/wal\, type: Directory}},' \
  -e 's,^    - --data-dir=,    - --wal-dir=/srv/wal\n&,' /root/etcd.yaml
mv /root/etcd.yaml /etc/kubernetes/manifests/
"""
"""etcd's data on a disk of its own, which cannot be renamed, and its log on another."""


@pytest.fixture(name="saved")
def _saved(pods: Lab, operator: Operator, tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A snapshot, and all the objects there are: those that it holds, and later ones."""
    path = tmp_path / "snapshot.db"
    before = rehearsal.write_objects(pods, "before", 40)
    done = operator.drrun("etcd-backup.yaml", "-e", f"to={path}", "--yes", "--no-input")
    assert done.returncode == 0, done.stdout + done.stderr
    return path, {**before, **rehearsal.write_objects(pods, "after", 10)}


def test_a_pod_that_does_not_start_ends_in_the_old_cluster(
    pods: Lab, operator: Operator, matrix: Matrix, tmp_path: Path
) -> None:
    """A5: cp2's etcd starts on its old data only: the restore stops, and undo brings all back."""
    before = lives(pods, "etcd")
    each(pods, OLD_DATA_ONLY, ["cp2"])
    until(lambda: len(lives(pods, "etcd") - before) == 1, timeout=120, awaiting="cp2's new etcd")
    pods.wait_ready()
    manifests = each(pods, MANIFESTS, MEMBERS)
    cluster = rehearsal.members(pods)[0].cluster
    path = tmp_path / "snapshot.db"
    objects = rehearsal.write_objects(pods, "before", 10)
    done = operator.drrun("etcd-backup.yaml", "-e", f"to={path}", "--yes", "--no-input")
    assert done.returncode == 0, done.stdout + done.stderr
    objects |= rehearsal.write_objects(pods, "after", 10)
    scenario = "a member that does not start: refused by the gate, undone"
    with matrix.cell(scenario, pods) as remarks:
        code, told = restore(operator, path)
        assert code in {1, 5}, told
        assert "cp2" in told
        assert pods.kubectl("get", "--raw", "/readyz").returncode != 0
        undone = operator.drrun("abort", operator.newest(), "--undo", "--no-input", timeout=900)
        assert undone.returncode == 8, undone.stdout + undone.stderr
        pods.wait_ready()
        assert rehearsal.read_objects(pods) == objects
        members = rehearsal.members(pods)
        assert members[0].cluster == cluster
        assert rehearsal.disagreement(members) == ""
        assert each(pods, MANIFESTS, MEMBERS) == manifests
        remarks.append("no API server was started; all objects there")


def test_data_on_a_disk_of_its_own_and_a_log_on_another(
    pods: Lab, operator: Operator, matrix: Matrix, tmp_path: Path
) -> None:
    """A13: a mount point with lost+found is filled, not renamed; the log is where the manifest says."""
    before = lives(pods, "etcd")
    each(pods, ELSEWHERE, MEMBERS)
    until(lambda: len(lives(pods, "etcd") - before) == 3, timeout=180, awaiting="etcd over there")
    pods.wait_ready()
    path = tmp_path / "snapshot.db"
    objects = rehearsal.write_objects(pods, "before", 10)
    done = operator.drrun("etcd-backup.yaml", "-e", f"to={path}", "--yes", "--no-input")
    assert done.returncode == 0, done.stdout + done.stderr
    rehearsal.write_objects(pods, "after", 10)
    with matrix.cell("restore onto mount points, with the log elsewhere", pods) as remarks:
        code, told = restore(operator, path)
        assert code == 0, told
        assert rehearsal.read_objects(pods) == objects
        assert rehearsal.disagreement(rehearsal.members(pods)) == ""
        look = "mountpoint -q /var/lib/etcd && ls -A /var/lib/etcd /srv/wal"
        for host, listed in each(pods, look, MEMBERS).items():
            assert {"lost+found", "member"} <= set(listed.split()), f"{host}: {listed}"
            assert ".wal" in listed, f"{host}: {listed}"
        remarks.append("10 objects of the snapshot, none of 10 later ones")


def test_a_client_that_watched_is_told_that_it_missed_something(
    pods: Lab, operator: Operator, matrix: Matrix, saved: tuple[Path, dict[str, str]]
) -> None:
    """A11: the revision that it saw last is compacted; where none can be raised, the report says so."""
    last = rehearsal.members(pods)[0].revision
    with matrix.cell("a client that watched before the restore", pods) as remarks:
        code, told = restore(operator, saved[0])
        assert code == 0, told
        remarks.append(told_to_a_watch(pods, last + 1, told))


def test_a_backup_is_restored_and_counted_beside_live_pods(
    pods: Lab, operator: Operator, matrix: Matrix, saved: tuple[Path, dict[str, str]]
) -> None:
    """A14: counts are those of the API; every container and manifest is as it was before."""
    before, manifests = lives(pods, *PODS), each(pods, MANIFESTS, MEMBERS)
    with matrix.cell("drill on a member: restored, booted, counted", pods) as remarks:
        remarks.append(drilled(operator, saved[0], "cp1"))
        assert lives(pods, *PODS) == before
        assert each(pods, MANIFESTS, MEMBERS) == manifests
        assert rehearsal.disagreement(rehearsal.members(pods)) == ""


def test_keys_are_saved_apart_and_others_are_refused(
    pods: Lab, operator: Operator, matrix: Matrix, tmp_path: Path
) -> None:
    """No key is in a plan, a journal or a report; a host with another sa.key is refused before a stop."""
    with matrix.cell("keys saved apart; a host with others is refused", pods) as remarks:
        backup = backed_up(operator, tmp_path)
        kept_apart(pods, tmp_path)
        before, manifests = lives(pods, *PODS), each(pods, MANIFESTS, MEMBERS)
        others_refused(pods, operator, backup)
        assert lives(pods, *PODS) == before
        assert each(pods, MANIFESTS, MEMBERS) == manifests
        remarks.append("by file, before any stop; no key in plan, journal or report")
