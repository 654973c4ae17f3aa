"""A control plane of static pods, rebuilt on new machines when all of its hosts are gone (H13)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.lab.test_recovery import made, predicted
from tests.recoveries.joining import ready
from tests.recoveries.test_rebuild import NEW, PKI, SPARES, balance, keys_saved, review
from tests.recoveries.test_static_pods import PODS

from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Operator
from drrun_lab.waiting import until

from .conftest import Matrix

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1800)]
STATE = """
exec 2>/dev/null
at='/etc/kubernetes /etc/systemd/system /var/lib/kubelet /var/lib/etcd'
find $at /var/lib/drrun/stopped /var/lib/drrun/tools /usr/local/bin -type f | sort | xargs -r sha256sum
find $at ! -type f -printf '%p %l\\n' | sort
systemctl is-enabled kubelet; systemctl is-active kubelet
ls -d /run/drrun-image* /var/lib/drrun/laid-* /var/lib/drrun-*/*; grep drrun-image /proc/mounts
ctr -n k8s.io snapshots ls | sort; ctr -n k8s.io leases ls; ctr -n k8s.io containers ls -q
true
"""
"""What the machine is: files, folders, kubelet, and what containerd keeps."""


@contextmanager
def without_tools(lab: Lab) -> Iterator[None]:
    """The new machines have no tools of etcd, as packages of kubeadm leave them."""
    tools, hidden = "/usr/local/bin", "/root/hidden"
    rehearsal.each(lab, f"mkdir {hidden} && mv {tools}/etcd* {hidden}/", SPARES)
    try:
        yield
    finally:
        rehearsal.each(lab, f"mv {hidden}/etcd* {tools}/ && rmdir {hidden}", SPARES)


def words(folder: Path) -> tuple[str, ...]:
    """The runbook on the three new machines."""
    files = ("-e", f"snapshot={folder}/snapshot.db", "-e", f"keys={folder}/keys.tar")
    return ("rebuild-control-plane.yaml", *NEW, *files)


def rebuild(operator: Operator, folder: Path, *further: str) -> tuple[int, str]:
    """Run it: exit code and what was said."""
    done = operator.drrun(*words(folder), *further, "--yes", "--no-input", timeout=900)
    return done.returncode, done.stdout + done.stderr


def test_static_pods_are_rebuilt_on_new_machines(
    spare_pods: Lab, spared: Lab, operator: Operator, matrix: Matrix, tmp_path: Path
) -> None:
    """H13: three hosts are gone for good; three that ran nothing have objects, Secrets and tokens again."""
    objects = rehearsal.write_objects(spared, "before", 40)
    uid = spared.kubectl("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}").stdout
    ask = "kubectl get secret -n default -o jsonpath='{.items[0].data.token}' | base64 -d"
    token = rehearsal.each(spared, ask, ["cp1"])["cp1"]
    keys_saved(operator, tmp_path)
    rehearsal.write_objects(spared, "after", 10)
    with without_tools(spared):
        before = rehearsal.each(spared, STATE, SPARES)
        code, told = rebuild(operator, tmp_path)
        assert (code, "the old cluster is not gone" in told) == (5, True), told
        assert rehearsal.each(spared, STATE, SPARES) == before
        for host in spared.layout.members:
            spared.power_cut(host.name)
        with matrix.cell(
            "all hosts gone: rebuilt on others from keys and snapshot", spared
        ) as remarks:
            staged_and_undone(spared, operator, tmp_path, before)
            rebuilt(operator, tmp_path)
            balance(spared)
            remarks.append("new machines without tools of etcd; staged and undone first")
            remarks.append(proved(spared, objects, uid, token))


def staged_and_undone(lab: Lab, operator: Operator, folder: Path, before: dict[str, str]) -> None:
    """Staged, the machines have all and run nothing; undone, they are what they were."""
    code, told = rebuild(operator, folder, "--stage")
    assert code == 0, told
    held = rehearsal.each(lab, "ls /var/lib/drrun/stopped; crictl ps -q", SPARES)
    assert {text.split()[0] for text in held.values()} == {"etcd.yaml"}
    assert {len(text.split()) for text in held.values()} == {len(PODS)}
    undone = operator.drrun("abort", operator.newest(), "--undo", "--no-input", timeout=600)
    assert undone.returncode == 8, undone.stdout + undone.stderr
    assert rehearsal.each(lab, STATE, SPARES) == before


def rebuilt(operator: Operator, folder: Path) -> None:
    """What the dry-run says is what the run does, change for change."""
    forecast = operator.drrun(*words(folder), "--dry-run", "--output", "json")
    assert forecast.returncode == 0, forecast.stdout + forecast.stderr
    code, told = rebuild(operator, folder)
    assert code == 0, told
    assert "kubectl delete node cp2" in told
    assert made(operator.journal(operator.newest()), forecast.stdout) == predicted(forecast.stdout)


def proved(lab: Lab, objects: dict[str, str], uid: str, token: str) -> str:
    """The cluster is the one of before, on machines of its own that come back by themselves."""
    assert rehearsal.read_objects(lab) == objects
    again = lab.kubectl("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")
    assert again.stdout == uid
    whoami = lab.kubectl("create", "-f", "-", "-o", "jsonpath={.status}", stdin=review(token))
    assert '"authenticated":true' in whoami.stdout, whoami.stdout + whoami.stderr
    assert lab.kubectl("create", "configmap", "anew").returncode == 0
    for host in lab.layout.spares:
        until(lambda: ready(lab, host.name), timeout=180, awaiting=f"the Node {host.name}")  # noqa: B023
        names = lab.ssh(host.name, f"openssl x509 -in {PKI}/apiserver.crt -noout -text").stdout
        assert f"IP Address:{host.address}" in names
        assert f"IP Address:{lab.haproxy_address}" in names
    tools = "PATH=$PATH:/var/lib/drrun/tools\n"
    status = f"{tools}{rehearsal.ETCDCTL} endpoint health"
    rehearsal.each(lab, status, SPARES)
    lab.reboot("sp2")
    until(
        lambda: lab.ssh("sp2", status).returncode == 0,
        timeout=180,
        awaiting="etcd on sp2 to come back from a reboot",
    )
    return "40 objects of the snapshot, none of 10 later ones; tokens of before are valid; its Nodes are Ready"
