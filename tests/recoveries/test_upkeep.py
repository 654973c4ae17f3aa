"""Upkeep of a running etcd on real hosts: out of space, fragmented, restarted one by one."""

from __future__ import annotations

import pytest

from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Operator
from drrun_lab.prober import Prober

from .conftest import Matrix
from .states import MEMBERS, dies, runs_out_of_space, sizes

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]


def test_an_etcd_without_space_writes_again(fresh: Lab, operator: Operator, matrix: Matrix) -> None:
    """A6: the alarm NOSPACE is raised by real writes; afterwards it is gone and writes are taken."""
    with matrix.cell("NOSPACE: compact, defragment, disarm", fresh) as remarks:
        runs_out_of_space(fresh)
        refused = fresh.kubectl("create", "configmap", "before-room")
        assert refused.returncode != 0, refused.stdout
        full = max(sizes(fresh))
        done = operator.drrun("etcd-nospace.yaml", "--yes", "--no-input", timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        assert fresh.kubectl("create", "configmap", "after-room").returncode == 0
        alarms = fresh.ssh("cp1", f"{rehearsal.ETCDCTL} alarm list").stdout
        assert alarms.strip() == ""
        small = max(sizes(fresh))
        assert small < full / 2
        remarks.append(f"databases from {full >> 20} to {small >> 20} MiB")


def test_a_rolling_restart_loses_no_write(fresh: Lab, operator: Operator, matrix: Matrix) -> None:
    """Every member is another process, the leader went last, a writer lost nothing."""
    before = rehearsal.processes(fresh)
    with matrix.cell("restart all members one by one", fresh) as remarks:
        with Prober(fresh) as prober:
            done = operator.drrun("etcd-rolling.yaml", "--yes", "--no-input", timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        assert prober.lost() == []
        remarks.append(f"0 acknowledged writes lost, longest gap {prober.gap():.1f} s")
    after = rehearsal.processes(fresh)
    assert all(after[host] != before[host] for host in MEMBERS)
    changes = [
        e.body["name"] for e in operator.journal(operator.newest()) if e.type == "change.intended"
    ]
    assert changes[-2].startswith("hand-over-")
    assert changes[-1] == f"restart-{changes[-2].removeprefix('hand-over-')}"


def test_no_rolling_restart_beside_a_dead_member(fresh: Lab, operator: Operator) -> None:
    """With one member down the quorum would be lost at the first restart: nothing is restarted."""
    dies(fresh, "cp3")
    before = rehearsal.processes(fresh)
    done = operator.drrun("etcd-rolling.yaml", "--yes", "--no-input")
    assert done.returncode == 5, done.stdout + done.stderr
    assert "cp3 does not answer" in done.stdout + done.stderr
    assert rehearsal.processes(fresh) == before
