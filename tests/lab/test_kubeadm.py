"""The stock runbooks on a control plane that kubeadm made: static pods, kubelet, containerd."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from drrun_lab import Lab, LabSpec, Progress, rehearsal
from drrun_lab.operator import Operator
from drrun_lab.prober import Prober
from drrun_lab.rehearsal import each

from .test_recovery import made, predicted

pytestmark = [pytest.mark.lab, pytest.mark.kubeadm, pytest.mark.timeout(1800)]

NAME = "test-kubeadm"
BY_HAND = "17 s with kubelet and containers stopped, 21 s with manifests moved; units 17 s"
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


@pytest.fixture(scope="module")
def kubeadm() -> Iterator[Lab]:
    """Three nodes and a load balancer, booted from the saved cluster if there is one."""
    if os.geteuid() != 0:
        pytest.skip("booting hosts needs root")
    lab = Lab.up(NAME, LabSpec(layout="kubeadm"), progress=Progress())
    yield lab
    if not os.environ.get("DRRUN_KEEP_LAB"):
        lab.down()


@pytest.fixture
def operator(kubeadm: Lab, tmp_path: Path) -> Operator:
    """Somebody with drrun and a folder for runs of their own."""
    return Operator(kubeadm.inventory, tmp_path / "state")


def test_a_preflight_finds_nothing_in_the_way(operator: Operator) -> None:
    """What it reads of units elsewhere, it reads of manifests here."""
    done = operator.drrun("etcd-preflight.yaml", "--yes", "--no-input")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("etcd 3.5.") == 3, done.stdout


def test_a_restore_brings_back_what_the_snapshot_holds(
    kubeadm: Lab, operator: Operator, tmp_path: Path
) -> None:
    """20 objects before, 10 after: the 20 come back, none of the 10, and nothing stays held.

    The dry-run lists, in order, exactly the changes that the run then makes. The hosts have no tools
    of etcd, as kubeadm leaves them: those in the member's container are used (H14).
    """
    snapshot = tmp_path / "snapshot.db"
    before = rehearsal.write_objects(kubeadm, "before", 20)
    hosts = [host.name for host in kubeadm.layout.members]
    old = rehearsal.members(kubeadm)[0].cluster
    manifests = each(kubeadm, MANIFESTS, hosts)
    words = ("restore-cluster.yaml", "-e", f"snapshot={snapshot}", "-e", "accept_loss=500")
    with _without_tools(kubeadm):
        saved = operator.drrun("etcd-backup.yaml", "-e", f"to={snapshot}", "--yes", "--no-input")
        assert saved.returncode == 0, saved.stdout + saved.stderr
        rehearsal.write_objects(kubeadm, "after", 10)
        forecast = operator.drrun(*words, "--dry-run", "--output", "json")
        assert forecast.returncode == 0, forecast.stdout + forecast.stderr
        with Prober(kubeadm) as prober:
            restored = operator.drrun(*words, "--yes", "--no-input", timeout=900)
        assert restored.returncode == 0, restored.stdout + restored.stderr

    run = operator.newest()
    journal = operator.journal(run)
    assert made(journal, forecast.stdout) == predicted(forecast.stdout)
    assert rehearsal.read_objects(kubeadm) == before
    members = rehearsal.members(kubeadm)
    assert rehearsal.disagreement(members) == ""
    assert members[0].cluster != old
    assert [(k.owner, k.mode) for k in rehearsal.kept(kubeadm, run)] == [("root:root", "700")] * 3
    assert each(kubeadm, MANIFESTS, hosts) == manifests
    stopped = next(
        e.utc for e in journal if e.type == "change.intended" and e.body["unit"].startswith("stop-")
    )
    back = prober.back(stopped)
    assert back is not None
    outage = (back - stopped).total_seconds()
    print(f"\noutage, first stop to first write: {outage:.1f} s (by hand: {BY_HAND})")


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
    assert _running(kubeadm, host) == set(PODS) - {"kube-scheduler"}

    undone = operator.drrun("abort", operator.newest(), "--undo", "--no-input")
    assert undone.returncode in {0, 8}, undone.stdout + undone.stderr
    assert _running(kubeadm, host) == set(PODS)


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
