"""Static pods that do not run, because their kubelet does not: saved from, rescued from, grown again."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Operator
from drrun_lab.rehearsal import each
from drrun_lab.waiting import until

from .conftest import Matrix
from .states import LOST, MEMBERS
from .test_lost_pods import RUINED
from .test_pod_members import DOWN
from .test_quorum import listed

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1800)]

DATA = "find /var/lib/etcd -type f -exec sha256sum {} + | sort"
LEFT = "pgrep -x etcd; ls /var/lib/drrun-scratch || :"


def _serves(lab: Lab) -> bool:
    """Whether the load balancer finds an API server that writes."""
    made = lab.kubectl("create", "configmap", "probe", "--dry-run=server")
    return made.returncode == 0


def test_a_stopped_cluster_is_saved_from_the_member_that_is_furthest_ahead(
    pods: Lab, operator: Operator, matrix: Matrix, tmp_path: Path
) -> None:
    """Not from cp1, which stopped early: every object is in the snapshot, and back when all is lost."""
    path = tmp_path / "stopped.db"
    objects = rehearsal.write_objects(pods, "before", 10)
    each(pods, DOWN, ["cp1"])
    until(lambda: _serves(pods), timeout=120, awaiting="the other two to serve")
    objects |= rehearsal.write_objects(pods, "since", 10)
    each(pods, DOWN, LOST)
    with matrix.cell("save from stopped members, restore that", pods) as remarks:
        before = each(pods, DATA, MEMBERS)
        saved = operator.drrun(
            "etcd-backup-stopped.yaml", "-e", f"to={path}", "--yes", "--no-input", timeout=600
        )
        assert saved.returncode == 0, saved.stdout + saved.stderr
        assert "cp1 is furthest ahead" not in saved.stdout
        assert each(pods, DATA, MEMBERS) == before
        assert not any(text.strip() for text in each(pods, LEFT, MEMBERS).values())
        each(pods, f"systemctl start kubelet; {RUINED}", MEMBERS)
        words = ("-e", f"snapshot={path}", "-e", f"accept_unreadable={','.join(MEMBERS)}")
        done = operator.drrun("restore-cluster.yaml", *words, "--yes", "--no-input", timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        assert rehearsal.read_objects(pods) == objects
        remarks.append("kubelet off everywhere; every object present; the directories as they were")


@pytest.fixture(name="one_left")
def _one_left(pods: Lab) -> Iterator[tuple[Lab, dict[str, str]]]:
    """cp2 and cp3 are off, and so is cp1's kubelet with all its pods; objects were written before."""
    objects = rehearsal.write_objects(pods, "before", 20)
    each(pods, DOWN, ["cp1"])
    for host in LOST:
        pods.power_cut(host)
    try:
        yield pods, objects
    finally:
        for host in LOST:
            pods.power_on(host)


def _answers(lab: Lab, host: str) -> bool:
    return lab.ssh(host, "crictl ps -q").returncode == 0


def test_a_stopped_survivor_alone_serves_all_and_grows_again(
    one_left: tuple[Lab, dict[str, str]], operator: Operator, matrix: Matrix, tmp_path: Path
) -> None:
    """Two hosts fenced by name, the third's kubelet off: a cluster of one with every key, then three."""
    lab, objects = one_left
    fenced = [word for host in LOST for word in ("--fenced", f"{host}=power")]
    asked = (
        "etcd-quorum-rescue.yaml",
        "-e",
        f"to={tmp_path / 'survivor.db'}",
        "--no-input",
        "--yes",
    )
    accept = ("-e", "accept_unreadable=cp2,cp3", "-e", "accept_unlisted=cp2,cp3")
    with matrix.cell("rescue from one stopped survivor, two fenced", lab) as remarks:
        why = ("--reason", "cut from power by this test")
        done = operator.drrun(*asked, *fenced, *why, *accept, timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "which is stopped: a copy of its directory is replayed" in done.stdout
        assert rehearsal.read_objects(lab) == objects
        assert listed(lab) == ["cp1"]
        remarks.append("kubelet was off; every object present")
    with matrix.cell("grow the rescued member to three again", lab):
        for host in LOST:
            lab.power_on(host)
        for host in LOST:
            until(partial(_answers, lab, host), timeout=120, awaiting=f"{host}'s runtime")
        # Their disks hold a quorum of the old cluster, and their kubelets start it: wiped first, as the guide says.
        each(lab, f"{DOWN}; rm -rf /var/lib/etcd/member", LOST)
        done = operator.drrun(
            *("etcd-grow.yaml", "-e", "role.etcd=cp1", "-e", "role.new=cp2 | cp3"),
            *("--yes", "--no-input"),
            timeout=900,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert listed(lab) == MEMBERS
        assert rehearsal.disagreement(rehearsal.members(lab)) == ""
