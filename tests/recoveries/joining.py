"""Letting a spare of a kubeadm lab join, as its operator does: a new token, and kubeadm itself."""

from __future__ import annotations

import base64

from drrun_lab import Lab, rehearsal
from drrun_lab.kubeadm import CONFIG, ENCRYPTION
from drrun_lab.waiting import until


def join(lab: Lab, host: str, *, control_plane: bool = False) -> None:
    """Join a spare as a worker, or with an API server and a member of etcd of its own.

    Tokens and uploaded certificates of the cluster's first day may be over: new ones are made.
    """
    words = [
        f"kubeadm join {lab.haproxy_address}:6443 --discovery-token-unsafe-skip-ca-verification",
        f"--token {rehearsal.each(lab, 'kubeadm token create', ['cp1'])['cp1'].split()[-1]}",
        f"--node-name {host} --ignore-preflight-errors=all",
    ]
    if control_plane:
        upload = f"kubeadm init phase upload-certs --upload-certs --config {CONFIG}"
        key = rehearsal.each(lab, upload, ["cp1"])["cp1"].split()[-1]
        address = lab.layout.host(host).address
        words.append(
            f"--control-plane --certificate-key {key} --apiserver-advertise-address {address}"
        )
        settings = base64.b64encode(lab.ssh("cp1", f"cat {ENCRYPTION}").stdout.encode()).decode()
        rehearsal.each(
            lab, f"mkdir -p /etc/kubernetes; echo {settings} | base64 -d >{ENCRYPTION}", [host]
        )
    joined = lab.ssh(host, " ".join(words), timeout=300)
    assert joined.returncode == 0, joined.stdout + joined.stderr
    until(lambda: ready(lab, host), timeout=180, awaiting=f"the Node {host} to be Ready")


def ready(lab: Lab, node: str) -> bool:
    """Whether a Node says that it is Ready."""
    path = '{.status.conditions[?(@.type=="Ready")].status}'
    return lab.kubectl("get", "node", node, "-o", f"jsonpath={path}").stdout == "True"
