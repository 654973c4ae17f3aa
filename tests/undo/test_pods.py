"""restore-cluster on a control plane that kubeadm made: one failure for each kind of change, and undone."""

from __future__ import annotations

import pytest
from tests.undo.scene import At, Scene

from drrun_lab.rehearsal import each

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

KINDS = (
    At("stage", "restore", "cp2"),
    At("stop-apiservers", "hold", "cp2"),
    At("stop-apiservers", "stop", "cp1"),
    At("stop-controller-managers", "hold", "cp3"),
    At("stop-schedulers", "stop", "cp2"),
    At("stop-etcd", "stop", "cp1"),
    At("install", "install", "cp3"),
    At("start-etcd", "lift", "cp2"),
    At("start-etcd", "start", "cp1"),
    At("close", "close", "cp1"),
)
PROBE = """\
    readinessProbe:
      failureThreshold: 3
      httpGet:
        host: 127.0.0.1
        path: /readyz
        port: 6443
        scheme: HTTPS
      periodSeconds: 1
      timeoutSeconds: 15
"""
"""Ready only while its host's API server is, as kubeadm's scheduler has been since 1.32 (its own /readyz asks one)."""


@pytest.mark.parametrize("at", KINDS, ids=str)
def test_a_change_that_cannot_be_begun_is_undone_whole(pods: Scene, at: At) -> None:
    """Exit 1, then `abort --undo`: exit 8, and every manifest, container, port and directory is as it was."""
    with pods.case() as before:
        run = pods.failed(at, pods.restore)
        code, told = pods.undone(run)
        assert (code, pods.bad_ends(run, undo=True)) == (8, []), told
        pods.back(before)


@pytest.mark.field("v2")
def test_a_scheduler_that_waits_for_an_api_server_keeps_none_away(pods: Scene) -> None:
    """A readiness probe that asks the API server's port: all is back, and proved, exit 8.

    Where the API servers are back, and one scheduler's probe is asked in vain, the end names that scheduler alone.
    """
    manifest = "/etc/kubernetes/manifests/kube-scheduler.yaml"
    probing = f"cat >/root/probe; sed -i '/^    livenessProbe:/{{ e cat /root/probe\n}}' {manifest}"
    with pods.case():
        for host in pods.hosts:
            done = pods.lab.ssh(host, probing, stdin=PROBE)
            assert done.returncode == 0, done.stderr
        pods.still()
        before = pods.stands()
        run = pods.failed(At("install", "install", "cp2"), pods.restore)
        code, told = pods.undone(run)
        assert (code, pods.bad_ends(run, undo=True)) == (8, []), told
        pods.back(before)

        run = pods.failed(At("install", "install", "cp2"), pods.restore)
        nowhere = "sed -i '/readinessProbe:/,/scheme:/s/port: 6443/port: 6444/' /var/lib/drrun/stopped/kube-scheduler.yaml"
        each(pods.lab, nowhere, ["cp3"])
        code, told = pods.undone(run)
        assert (code, pods.bad_ends(run, undo=True)) == (9, ["stop-schedulers@cp3"]), told
        assert pods.whole()
        each(pods.lab, f"sed -i 's/port: 6444/port: 6443/' {manifest}", ["cp3"])
        code, told = pods.undone(run)
        assert code == 8, told
        pods.back(before)
    pods.dirty = True  # the manifests are others now
