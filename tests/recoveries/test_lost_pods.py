"""The recoveries of a lost or sick etcd, on static pods: kubelet starts again whatever dies."""

from __future__ import annotations

from pathlib import Path

import pytest

from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Operator
from drrun_lab.prober import Prober
from drrun_lab.rehearsal import each
from drrun_lab.waiting import until

from .conftest import Matrix
from .states import LOST, MEMBERS, QUOTA, fill, urls
from .test_quorum import listed, rescued
from .test_restore import restore
from .test_static_pods import MANIFESTS, lives

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1800)]

RUINED = (
    "cd /var/lib/etcd/member; rm -rf wal/*; head -c 1000000 /dev/urandom >snap/db\n"
    "for c in $(crictl ps -q --name '^etcd$'); do crictl stop --timeout 0 $c; done >/dev/null"
)
"""A disk that gives back garbage. One that is merely wiped may come back by itself, as the same member."""


def _whole(lab: Lab, manifests: dict[str, str]) -> None:
    """Three members that agree, every manifest at its place, nothing held."""
    assert listed(lab) == MEMBERS
    assert rehearsal.disagreement(rehearsal.members(lab)) == ""
    assert each(lab, MANIFESTS, MEMBERS) == manifests


def test_two_of_three_are_ruined_and_every_key_is_there(
    pods: Lab, operator: Operator, matrix: Matrix, tmp_path: Path
) -> None:
    """A7: two members crash over and over, named as unreadable; the survivor's keys are on all three again."""
    manifests = each(pods, MANIFESTS, MEMBERS)
    with matrix.cell("rescue from one live survivor of three", pods) as remarks:
        with Prober(pods) as prober:
            until(
                lambda: len([w for w in prober.writes if w.taken]) > 20,
                timeout=60,
                awaiting="writes",
            )
            each(pods, RUINED, LOST)
            taken = [w for w in prober.writes if w.taken]
            done = operator.drrun(
                *("etcd-quorum-rescue.yaml", "-e", f"to={tmp_path / 'survivor.db'}"),
                *("-e", "accept_unreadable=cp2,cp3", "--yes", "--no-input"),
                timeout=900,
            )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "the survivor is cp1, which answers" in done.stdout
        assert prober.lost() == []
        _whole(pods, manifests)
        remarks += rescued(operator, prober, len(taken))


def test_one_member_is_restored_and_the_others_join_it(
    pods: Lab, operator: Operator, matrix: Matrix, tmp_path: Path
) -> None:
    """The snapshot's objects are back on three members that agree."""
    path = tmp_path / "snapshot.db"
    manifests = each(pods, MANIFESTS, MEMBERS)
    before = rehearsal.write_objects(pods, "before", 20)
    saved = operator.drrun("etcd-backup.yaml", "-e", f"to={path}", "--yes", "--no-input")
    assert saved.returncode == 0, saved.stdout + saved.stderr
    rehearsal.write_objects(pods, "after", 10)
    with matrix.cell("restore one member, the others join", pods) as remarks:
        done = operator.drrun(
            *("restore-cluster-seed.yaml", "-e", f"snapshot={path}", "-e", "role.seed=cp1"),
            *("-e", "accept_loss=500", "--yes", "--no-input"),
            timeout=900,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert rehearsal.read_objects(pods) == before
        _whole(pods, manifests)
        remarks.append(f"{len(before)} objects of the snapshot, none of later")


def test_an_api_server_that_does_not_stop_ends_in_the_old_cluster(
    pods: Lab, operator: Operator, matrix: Matrix, tmp_path: Path
) -> None:
    """A3: one that kubelet does not know runs on the second host: nothing is installed, undo starts all."""
    path = tmp_path / "snapshot.db"
    manifests = each(pods, MANIFESTS, MEMBERS)
    objects = rehearsal.write_objects(pods, "before", 10)
    saved = operator.drrun("etcd-backup.yaml", "-e", f"to={path}", "--yes", "--no-input")
    assert saved.returncode == 0, saved.stdout + saved.stderr
    objects |= rehearsal.write_objects(pods, "after", 10)
    cluster = rehearsal.members(pods)[0].cluster
    rogue = "cp /bin/sleep /root/kube-apiserver; systemd-run --unit=rogue /root/kube-apiserver 3600"
    each(pods, rogue, ["cp2"])
    with matrix.cell("an API server that does not stop: refused, undone", pods) as remarks:
        code, told = restore(operator, path)
        assert code == 5, told
        assert "cp2" in told
        assert "kube-apiserver" in told
        undone = operator.drrun("abort", operator.newest(), "--undo", "--no-input", timeout=600)
        assert undone.returncode == 8, undone.stdout + undone.stderr
        pods.wait_ready()
        assert rehearsal.read_objects(pods) == objects
        assert rehearsal.members(pods)[0].cluster == cluster
        _whole(pods, manifests)
        remarks.append("refused at the proof, before anything was replaced; all objects there")


def test_an_etcd_without_space_writes_again(pods: Lab, operator: Operator, matrix: Matrix) -> None:
    """A6: the alarm NOSPACE is raised by real writes; afterwards it is gone and writes are taken."""
    quota = f"sed -i 's/^    - --name=/    - --quota-backend-bytes={QUOTA}\\n&/'"
    before = lives(pods, "etcd")
    each(pods, f"{quota} /etc/kubernetes/manifests/etcd.yaml", MEMBERS)
    until(
        lambda: len(lives(pods, "etcd") - before) == 3,
        timeout=180,
        awaiting="etcd with the small quota",
    )
    pods.wait_ready()
    with matrix.cell("NOSPACE: compact, defragment, disarm", pods) as remarks:
        said = fill(pods)
        assert "database space exceeded" in said, said
        assert pods.kubectl("create", "configmap", "before-room").returncode != 0
        done = operator.drrun("etcd-nospace.yaml", "--yes", "--no-input", timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        assert pods.kubectl("create", "configmap", "after-room").returncode == 0
        assert pods.ssh("cp1", f"{rehearsal.ETCDCTL} alarm list").stdout.strip() == ""
        remarks.append("the alarm is gone on three pods, and writes are taken")


def test_a_rolling_restart_of_etcd_loses_no_write(
    pods: Lab, operator: Operator, matrix: Matrix
) -> None:
    """Every member is another container, and a writer lost nothing."""
    before = lives(pods, "etcd")
    with matrix.cell("restart all members one by one", pods) as remarks:
        with Prober(pods) as prober:
            done = operator.drrun("etcd-rolling.yaml", "--yes", "--no-input", timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        after = lives(pods, "etcd")
        assert len(after) == 3
        assert not before & after
        assert prober.lost() == []
        remarks.append(f"0 acknowledged writes lost, longest gap {prober.gap():.1f} s")


def test_every_api_server_is_told_of_the_members_there_are(
    pods: Lab, operator: Operator, matrix: Matrix
) -> None:
    """Kubeadm tells each of its own member alone; they are told of all, and a second run changes nothing."""
    said = "sed -n 's/^ *- --etcd-servers=//p' /etc/kubernetes/manifests/kube-apiserver.yaml"
    with matrix.cell("tell every API server of all members", pods) as remarks:
        with Prober(pods) as prober:
            done = operator.drrun("apiserver-etcd-servers.yaml", "--yes", "--no-input", timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        for host, flag in each(pods, said, MEMBERS).items():
            assert ",".join(sorted(flag.strip().split(","))) == urls(pods, *MEMBERS), host
        assert prober.lost() == []
        remarks.append(f"0 acknowledged writes lost, longest gap {prober.gap():.1f} s")
    before = lives(pods, "kube-apiserver")
    again = operator.drrun("apiserver-etcd-servers.yaml", "--yes", "--no-input")
    assert again.returncode == 0, again.stdout + again.stderr
    assert lives(pods, "kube-apiserver") == before
