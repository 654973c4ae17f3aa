"""The stock runbooks on a control plane that kubeadm made: static pods, kubelet, containerd."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.lab.test_recovery import closed, made, outage, predicted

from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Operator
from drrun_lab.prober import Prober
from drrun_lab.rehearsal import each
from drrun_lab.waiting import until

from .conftest import Matrix

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1800)]

BY_HAND = "by hand: 17 s with kubelet and containers stopped, 21 s with manifests moved"
PODS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
MANIFESTS = (
    "ls -A /etc/kubernetes/manifests; echo held:; ls -A /var/lib/drrun/stopped 2>/dev/null || :"
)
HOLD_AND_STOP = """
drrun: 1
name: hold-a-scheduler
title: Stop one scheduler and hold it stopped
inputs: {}
roles: {control_plane: {min: 1, help: Hosts with a scheduler}}
steps:
  - id: stop
    title: Stop it
    hosts: control_plane[2]
    uses: service.stop
    with: {service: kube-scheduler}
"""


def test_a_preflight_finds_nothing_in_the_way(kubeadm: Lab, operator: Operator) -> None:
    """What it reads of units elsewhere, it reads of manifests here."""
    done = operator.drrun("etcd-preflight.yaml", "--yes", "--no-input")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(f"etcd {kubeadm.layout.spec.etcd}.") == 3, done.stdout


def test_a_restore_brings_back_what_the_snapshot_holds(
    kubeadm: Lab, operator: Operator, matrix: Matrix, tmp_path: Path
) -> None:
    """A1: 20 objects before, 10 after: the 20 come back, none of the 10, and nothing stays held.

    The dry-run lists, in order, exactly the changes that the run then makes. The hosts have no tools
    of etcd, as kubeadm leaves them: those in the member's container are used (H14).
    """
    with matrix.cell("restore all members from a snapshot", kubeadm) as remarks:
        seconds = restored(kubeadm, operator, tmp_path / "snapshot.db")
        remarks.append(f"20 objects of the snapshot, none of 10 later ones; outage {seconds:.1f} s")
        remarks.append(BY_HAND)


def restored(lab: Lab, operator: Operator, snapshot: Path, *, loss: int = 1000) -> float:
    """Back up, predict, restore, prove; the outage in seconds.

    `loss`: how many revisions may be lost; clients write on while it is staged.
    """
    before = rehearsal.write_objects(lab, "before", 20)
    hosts = [host.name for host in lab.layout.members]
    old = rehearsal.members(lab)[0].cluster
    manifests = each(lab, MANIFESTS, hosts)
    words = ("restore-cluster.yaml", "-e", f"snapshot={snapshot}", "-e", f"accept_loss={loss}")
    with _without_tools(lab):
        saved = operator.drrun("etcd-backup.yaml", "-e", f"to={snapshot}", "--yes", "--no-input")
        assert saved.returncode == 0, saved.stdout + saved.stderr
        rehearsal.write_objects(lab, "after", 10)
        forecast = operator.drrun(*words, "--dry-run", "--output", "json")
        assert forecast.returncode == 0, forecast.stdout + forecast.stderr
        with Prober(lab) as prober, Prober(lab, lab.layout.host("cp1").address) as direct:
            restored = operator.drrun(*words, "--yes", "--no-input", timeout=900)
        assert restored.returncode == 0, restored.stdout + restored.stderr
    # Who is announced and which Nodes there are was asked (H3), and all of them are hosts of the inventory.
    assert "was not read" not in restored.stdout, restored.stdout

    run = operator.newest()
    journal = operator.journal(run)
    assert made(journal, forecast.stdout) == predicted(forecast.stdout)
    assert rehearsal.read_objects(lab) == before
    members = rehearsal.members(lab)
    assert rehearsal.disagreement(members) == ""
    assert members[0].cluster != old
    assert [(k.owner, k.mode) for k in rehearsal.kept(lab, run)] == [("root:root", "700")] * 3
    assert each(lab, MANIFESTS, hosts) == manifests
    closed(journal, direct)
    return outage(journal, prober)


def test_what_is_held_stays_down_through_a_reboot(
    kubeadm: Lab, operator: Operator, tmp_path: Path
) -> None:
    """Kubelet brings back every pod but the one that is held; undo brings that one back."""
    host = kubeadm.layout.members[2].name
    runbook = tmp_path / "hold.yaml"
    runbook.write_text(HOLD_AND_STOP)
    held = operator.drrun(str(runbook), "--yes", "--no-input")
    assert held.returncode == 0, held.stdout + held.stderr
    kubeadm.reboot(host)
    kubeadm.wait_ready()
    # Kubelet starts the others in its own time; the held one is not there when all of them are.
    others = set(PODS) - {"kube-scheduler"}
    until(lambda: _running(kubeadm, host) >= others, timeout=180, awaiting=f"the pods of {host}")
    assert _running(kubeadm, host) == others

    undone = operator.drrun("abort", operator.newest(), "--undo", "--no-input")
    assert undone.returncode == 8, undone.stdout + undone.stderr
    assert _running(kubeadm, host) == set(PODS)


def test_a_rolling_restart_of_the_control_plane_loses_no_write(
    kubeadm: Lab, operator: Operator, matrix: Matrix
) -> None:
    """Every server and controller is another container, every kubelet another process, etcd the same."""
    before, etcd = lives(kubeadm, *PODS[1:]), lives(kubeadm, "etcd")
    kubelets = _kubelets(kubeadm)
    with matrix.cell("restart the control plane, one host at a time", kubeadm) as remarks:
        with Prober(kubeadm) as prober:
            done = operator.drrun("control-plane-restart.yaml", "--yes", "--no-input", timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        after = lives(kubeadm, *PODS[1:])
        assert len(before) == len(after) == 9
        assert not before & after
        assert not kubelets & _kubelets(kubeadm)
        assert lives(kubeadm, "etcd") == etcd
        assert prober.lost() == []
        remarks.append(f"0 acknowledged writes lost, longest gap {prober.gap():.1f} s")


def lives(lab: Lab, *pods: str) -> set[str]:
    """The ids of the running containers of some static pods, on all hosts."""
    script = "".join(f"crictl ps -q --name '^{pod}$' --state Running\n" for pod in pods)
    hosts = [host.name for host in lab.layout.members]
    return set(" ".join(each(lab, script, hosts).values()).split())


def _kubelets(lab: Lab) -> set[str]:
    hosts = [host.name for host in lab.layout.members]
    return set(each(lab, "systemctl show --value -p InvocationID kubelet", hosts).values())


@contextmanager
def _without_tools(lab: Lab) -> Iterator[None]:
    """Hide etcd's tools from the hosts for the length of a block."""
    hosts, tools, hidden = (
        [host.name for host in lab.layout.members],
        "/usr/local/bin",
        "/root/hidden",
    )
    each(
        lab, f"mkdir {hidden} && mv {tools}/etcd* {hidden}/ && ! command -v etcdctl etcdutl", hosts
    )
    try:
        yield
    finally:
        each(lab, f"mv {hidden}/etcd* {tools}/ && rmdir {hidden}", hosts)


def _running(lab: Lab, host: str) -> set[str]:
    """The static pods of a host whose program runs, as /proc has it."""
    script = f'for p in {" ".join(PODS)}; do ls -l /proc/[0-9]*/exe 2>/dev/null | grep -q "/$p$" && echo $p; done; :'
    return set(each(lab, script, [host])[host].split())
