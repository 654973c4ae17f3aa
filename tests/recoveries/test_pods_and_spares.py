"""Static pods with further hosts beside them: a drill, an API server that nobody listed, workers."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.recoveries.joining import join
from tests.recoveries.test_drill import drilled
from tests.recoveries.test_everyone import INSTANCE, saved_and_later, words
from tests.recoveries.test_static_pods import PODS, lives

from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Operator
from drrun_lab.waiting import until

from .conftest import Matrix

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1800)]
LOOK = (
    "ss -Hltn | awk '{print $4}' | sort; systemctl is-active kubelet; "
    "find /etc/kubernetes /var/lib/kubelet /var/lib/etcd /var/lib/drrun-*/* 2>/dev/null || :"
)


@pytest.fixture(name="saved")
def _saved(spare_pods: Lab, operator: Operator, tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A snapshot, and the objects in it; later ones are in the cluster alone."""
    return saved_and_later(spare_pods, operator, tmp_path / "snapshot.db", 40)


def test_a_backup_is_drilled_on_a_host_that_has_joined_nothing(
    spared: Lab, operator: Operator, matrix: Matrix, saved: tuple[Path, dict[str, str]]
) -> None:
    """A14: the cluster's containers are the same ones, and the spare is what it was."""
    before, spare = lives(spared, *PODS), rehearsal.each(spared, LOOK, ["sp1"])
    with matrix.cell("drill on a spare: restored, booted, counted", spared) as remarks:
        remarks.append(drilled(operator, saved[0], "sp1"))
        assert lives(spared, *PODS) == before
        assert rehearsal.each(spared, LOOK, ["sp1"]) == spare
        assert rehearsal.disagreement(rehearsal.members(spared)) == ""


def test_a_host_that_joined_and_that_nobody_listed_is_refused_before_any_stop(
    spared: Lab, operator: Operator, matrix: Matrix, saved: tuple[Path, dict[str, str]]
) -> None:
    """H3: `kubeadm join` made it a member of etcd and an API server; each is refused by itself."""
    path, _ = saved
    address = spared.layout.host("sp1").address
    join(spared, "sp1", control_plane=True)
    announced = f"{rehearsal.ETCDCTL} get /registry/masterleases/{address} --keys-only"
    until(
        lambda: address in spared.ssh("cp1", announced).stdout,
        timeout=120,
        awaiting="the fourth API server to announce itself",
    )
    before = lives(spared, *PODS)
    with matrix.cell("a fourth API server that nobody listed", spared) as remarks:
        told = ""
        for further, said in (
            ((), "etcd has members that the inventory does not know: sp1"),
            (("-e", "accept_unlisted=sp1"), f"{address} is announced as an API server"),
        ):
            refused = operator.drrun(*words(path), *further, "--yes", "--no-input")
            told = refused.stdout + refused.stderr
            assert refused.returncode == 5, told
            assert said in told
            journal = operator.journal(operator.newest())
            assert not [e for e in journal if e.type == "change.intended"]
        assert f"the Node sp1 of the control plane has {address}" in told
        assert f"accept_servers={address}" in told
        assert lives(spared, *PODS) == before
        remarks.append(
            "joined by kubeadm: refused as a member, then as a server; nothing was stopped"
        )


def test_kubelets_of_workers_are_restarted_but_for_one_that_is_away(
    spared: Lab, operator: Operator, matrix: Matrix, saved: tuple[Path, dict[str, str]]
) -> None:
    """H15: at 10 % of two nobody may be away, and nothing is begun; at 50 % one is left out and told."""
    path, _ = saved
    for host in ("sp1", "sp2"):
        join(spared, host)
    snapshot = path.with_name("joined.db")
    saved_again = operator.drrun("etcd-backup.yaml", "-e", f"to={snapshot}", "--yes", "--no-input")
    assert saved_again.returncode == 0, saved_again.stdout + saved_again.stderr
    objects = rehearsal.read_objects(spared)
    rehearsal.write_objects(spared, "later", 10)
    was = spared.ssh("sp1", INSTANCE).stdout
    spared.power_cut("sp2")
    workers = (*words(snapshot), "-e", "role.workers=sp1 | sp2")
    with matrix.cell("kubelets of workers, one of two away", spared) as remarks:
        before = operator.runs()
        refused = operator.drrun(*workers, "--yes", "--no-input")
        told = refused.stdout + refused.stderr
        assert (refused.returncode, operator.runs()) == (4, before), told
        assert "sp2" in told
        share = ("-e", "unreached=50%", "--yes", "--no-input")
        done = operator.drrun(*workers, *share, timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "restart-workers was not done on sp2 (1 of 2)" in done.stdout
        assert rehearsal.read_objects(spared) == objects
        assert rehearsal.disagreement(rehearsal.members(spared)) == ""
        assert spared.ssh("sp1", INSTANCE).stdout != was
        remarks.append(
            "two that joined by kubeadm: refused at 10 %; at 50 % the other one was restarted"
        )
