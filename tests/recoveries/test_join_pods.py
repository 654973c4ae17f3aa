"""New machines for a control plane of static pods: in a lost host's place, and beside three others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.recoveries.joining import ready
from tests.recoveries.states import MEMBERS, urls
from tests.recoveries.test_join import foretold
from tests.recoveries.test_members import listed
from tests.recoveries.test_pod_members import servers
from tests.recoveries.test_rebuild import keys_saved
from tests.recoveries.test_rebuild_pods import STATE, without_tools

from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Operator
from drrun_lab.prober import Prober
from drrun_lab.rehearsal import each
from drrun_lab.waiting import until

from .conftest import Matrix

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1800)]
FIVE = [*MEMBERS, "sp1", "sp2"]
TAINTS = "jsonpath={.spec.taints[*].key}"


@pytest.fixture(name="keys")
def _keys(spare_pods: Lab, operator: Operator, tmp_path: Path) -> Iterator[Path]:
    """The archive of keys; the new machines have no tools of etcd, and cp2 is there again afterwards."""
    with without_tools(spare_pods):
        yield keys_saved(operator, tmp_path)
    spare_pods.power_on("cp2")


def words(keys: Path, new: str) -> tuple[str, ...]:
    """The runbook for these machines."""
    return ("control-plane-join.yaml", "-e", f"role.new={new}", "-e", f"keys={keys}")


def whole(lab: Lab, *hosts: str) -> None:
    """These are the members, every API server knows them all, every Node is a control plane's."""
    assert listed(lab, "cp1") == dict.fromkeys(hosts, False)
    assert servers(lab, *hosts) == {urls(lab, *hosts)}
    for host in hosts:
        until(lambda: ready(lab, host), timeout=180, awaiting=f"the Node {host}")  # noqa: B023
        taints = lab.kubectl("get", "node", host, "-o", TAINTS).stdout.split()
        assert [taint for taint in taints if "node-role.kubernetes.io" in taint], host
    readyz = "curl -sk -o /dev/null -w %{http_code} https://127.0.0.1:6443/readyz"
    assert set(each(lab, readyz, list(hosts)).values()) == {"200"}


def test_a_lost_host_is_replaced_by_a_new_machine(
    spared: Lab, operator: Operator, matrix: Matrix, keys: Path
) -> None:
    """A8: cp2 is off for good; sp1 has its vote, its API server and its taint, and no write is lost."""
    with matrix.cell("replace a dead member by another host", spared) as remarks:
        with Prober(spared) as prober:
            spared.power_cut("cp2")
            told = foretold(
                operator, *words(keys, "sp1"), "-e", "role.failed=cp2", "-e", "gone=true"
            )
        assert "kubectl delete node cp2" in told
        whole(spared, "cp1", "cp3", "sp1")
        assert prober.lost() == []
        spared.reboot("sp1")
        until(
            lambda: spared.ssh("sp1", "curl -skf https://127.0.0.1:6443/readyz").returncode == 0,
            timeout=180,
            awaiting="sp1 to come back from a reboot",
        )
        remarks.append(
            "a machine that had joined nothing, without tools of etcd, API server and all; "
            f"0 acknowledged writes lost, longest gap {prober.gap():.1f} s"
        )


def test_three_become_five_and_three_again(
    spared: Lab, operator: Operator, matrix: Matrix, keys: Path
) -> None:
    """A9: two new machines become part of the control plane, and their members leave it, under a writer."""
    with matrix.cell("grow from 3 to 5", spared) as remarks:
        with Prober(spared) as prober:
            foretold(operator, *words(keys, "sp1 | sp2"))
        whole(spared, *FIVE)
        assert prober.lost() == []
        remarks.append(
            "two machines that had joined nothing, API servers and all; "
            f"0 acknowledged writes lost, longest gap {prober.gap():.1f} s"
        )
    with matrix.cell("shrink from 5 to 3", spared) as remarks:
        everybody = ("-e", "role.etcd=etcd | sp1 | sp2", "-e", "role.leaving=sp1 | sp2")
        told = ("-e", "role.control_plane=control_plane | sp1 | sp2")
        with Prober(spared) as prober:
            done = operator.drrun(
                *("etcd-shrink.yaml", *everybody, *told, "--yes", "--no-input"), timeout=900
            )
        assert done.returncode == 0, done.stdout + done.stderr
        assert listed(spared, "cp1") == dict.fromkeys(MEMBERS, False)
        assert rehearsal.disagreement(rehearsal.members(spared)) == ""
        assert prober.lost() == []
        remarks.append(f"0 acknowledged writes lost, longest gap {prober.gap():.1f} s")


def test_what_was_laid_is_taken_back_by_undo(spared: Lab, operator: Operator, keys: Path) -> None:
    """Until a member is added, undo brings a new machine back to what it was, and the cluster was not touched."""
    before = each(spared, STATE, ["sp1"])
    members = listed(spared, "cp1")
    staged = operator.drrun(*words(keys, "sp1"), "--stage", "--yes", "--no-input", timeout=300)
    assert staged.returncode == 0, staged.stdout + staged.stderr
    assert each(spared, STATE, ["sp1"]) != before
    undone = operator.drrun("abort", operator.newest(), "--undo", "--no-input", timeout=300)
    assert undone.returncode == 8, undone.stdout + undone.stderr
    assert each(spared, STATE, ["sp1"]) == before
    assert listed(spared, "cp1") == members
