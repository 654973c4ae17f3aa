"""What a restore by something else leaves behind: told, and mended where that harms nobody."""

from __future__ import annotations

import pytest

from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Operator
from drrun_lab.waiting import until

from .conftest import Matrix
from .states import DEAD, announced, announces_a_dead_server

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]
ATTACHED = """
apiVersion: storage.k8s.io/v1
kind: VolumeAttachment
metadata: {name: left-over}
spec: {attacher: nobody.example, nodeName: gone, source: {persistentVolumeName: lost}}
"""
CELL = "another tool restored: what is left over is told and mended"


def reconcile(lab: Lab, operator: Operator) -> str:
    """A dead API server is announced; afterwards it is not, and all that live are.

    A volume that is attached to a Node that is gone is told: controllers detach it.
    """
    announces_a_dead_server(lab)
    assert DEAD in announced(lab)
    made = lab.kubectl("apply", "-f", "-", stdin=ATTACHED)
    assert made.returncode == 0, made.stderr
    done = operator.drrun("post-restore-reconcile.yaml", "--yes", "--no-input", timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert announced(lab) == {host.address for host in lab.layout.members}
    assert "will detach left-over (lost on gone)" in done.stdout
    return done.stdout + done.stderr


def test_a_dead_api_server_is_announced_no_more(
    fresh: Lab, operator: Operator, matrix: Matrix
) -> None:
    """A12: units without kubelets: nobody has a Node, and nothing is said of them."""
    with matrix.cell(CELL, fresh) as remarks:
        told = reconcile(fresh, operator)
        assert "no Node" not in told
        remarks.append("a dead API server is announced no more")


POD = """
apiVersion: v1
kind: Pod
metadata: {name: phantom}
spec:
  nodeName: cp2
  hostNetwork: true
  tolerations: [{operator: Exists}]
  containers: [{name: pause, image: "k8s.gcr.io/pause:3.2", imagePullPolicy: Never}]
"""
RUNS = "cat /proc/[0-9]*/cgroup 2>/dev/null | grep -c pod{uid} || :"


def test_a_pod_that_the_api_does_not_know_ends(
    pods: Lab, operator: Operator, matrix: Matrix
) -> None:
    """Pitfall 16: its key went while its kubelet was away, as with a restore; the runbook ends it."""
    made = pods.kubectl("apply", "-f", "-", stdin=POD)
    assert made.returncode == 0, made.stderr
    uid = pods.kubectl("get", "pod", "phantom", "-o", "jsonpath={.metadata.uid}").stdout
    look = RUNS.format(uid=uid.replace("-", "[-_]"))
    until(
        lambda: pods.ssh("cp2", look).stdout.strip() not in {"", "0"},
        timeout=120,
        awaiting="the pod to run",
    )
    rehearsal.each(pods, "systemctl stop kubelet", ["cp2"])
    gone = f"{rehearsal.ETCDCTL} del /registry/pods/default/phantom"
    assert pods.ssh("cp1", gone).stdout.strip() == "1"
    assert pods.ssh("cp2", look).stdout.strip() != "0"
    with matrix.cell(CELL, pods) as remarks:
        reconcile(pods, operator)
        assert pods.ssh("cp2", look).stdout.strip() == "0"
        remarks.append(
            "a dead API server is announced no more; a pod that the API does not know ended"
        )
