"""A control plane made by kubeadm itself: `init` on the first host, `join` on the others.

Rule 1: what kubeadm writes stays as it is: manifests, certificates, kubelet settings are its own.
The lab adds an address (the load balancer's), encryption of Secrets, and limits that fit a small
machine.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from subprocess import CompletedProcess

from drrun.errors import LabError
from drrun_lab import images
from drrun_lab.commands import tail
from drrun_lab.layout import LabHost, Layout
from drrun_lab.progress import Progress
from drrun_lab.release import Release

CONFIG = "/root/kubeadm.yaml"
ENCRYPTION = "/etc/kubernetes/encryption.yaml"
RUNTIME = ("drrun-lab-prepare", "containerd")
"""Units of a host that has joined nothing yet."""
SERVICES = (*RUNTIME, "kubelet")
"""Units of a node; all else are static pods."""
_ACCEPTED = (
    *("SystemVerification", "Mem", "NumCPU", "Swap"),
    "FileContent--proc-sys-net-bridge-bridge-nf-call-iptables",
)
_INIT, _JOIN = 300, 300
"""Seconds that one kubeadm may take; about ten times what is usual."""

Ssh = Callable[[str, str, float], CompletedProcess[str]]
"""Runs a script on a host: its name, the script, seconds."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What lets hosts join: kubeadm's own bootstrap token, and the key of the shared certificates."""

    bootstrap: str
    certificates: str

    @classmethod
    def new(cls) -> Tokens:
        """Make fresh ones."""
        return cls(f"{secrets.token_hex(3)}.{secrets.token_hex(8)}", secrets.token_hex(32))


def settings(layout: Layout, host: LabHost, tokens: Tokens) -> str:
    """Kubeadm's configuration of a host: the first makes the cluster, the others join it."""
    first = host == layout.members[0]
    return "---\n".join(_new(layout, host, tokens) if first else _joined(layout, host, tokens))


def bring_up(layout: Layout, ssh: Ssh, progress: Progress) -> None:
    """Run kubeadm on every host, one after the other: a join moves the quorum of etcd.

    Raises LabError with kubeadm's last lines.
    """
    ignored = f"--ignore-preflight-errors={','.join(_ACCEPTED)}"
    for host in layout.members:
        if host == layout.members[0]:
            words, limit = "init --upload-certs --skip-phases=addon", _INIT
        else:
            words, limit = "join", _JOIN
        progress.say(f"kubeadm {words.split()[0]} on {host.name}")
        script = f"kubeadm {words} --config {CONFIG} {ignored}"
        done = ssh(host.name, script, limit)
        if done.returncode != 0:
            raise LabError(f"{host.name}: {script}: {tail(done.stdout + done.stderr)}")
        linked = "mkdir -p /root/.kube; ln -sf /etc/kubernetes/admin.conf /root/.kube/config"
        ssh(host.name, linked, 30)


def _new(layout: Layout, host: LabHost, tokens: Tokens) -> Iterator[str]:
    release = Release.of(layout.spec)
    yield f"""\
apiVersion: {release.kubeadm_api}
kind: InitConfiguration
bootstrapTokens: [{{token: {tokens.bootstrap}, ttl: 24h0m0s}}]
certificateKey: {tokens.certificates}
localAPIEndpoint: {{advertiseAddress: {host.address}, bindPort: 6443}}
nodeRegistration: {{criSocket: {release.runtime_socket}, name: {host.name}}}
"""
    yield f"""\
apiVersion: {release.kubeadm_api}
kind: ClusterConfiguration
clusterName: lab
kubernetesVersion: v{release.version}
controlPlaneEndpoint: "{layout.haproxy_address}:6443"
imageRepository: {release.registry}
etcd: {{local: {{imageTag: {images.etcd_tag(layout.spec)}, dataDir: /var/lib/etcd}}}}
networking: {{podSubnet: 10.244.0.0/16, serviceSubnet: 10.96.0.0/12}}
apiServer:
  extraArgs: {release.extra_arguments("encryption-provider-config", ENCRYPTION)}
  extraVolumes:
  - {{name: encryption, hostPath: {ENCRYPTION}, mountPath: {ENCRYPTION}, readOnly: true, pathType: File}}
"""
    yield f"""\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cgroupDriver: cgroupfs
failSwapOn: false
imageGCHighThresholdPercent: 100
{release.kubelet_settings}evictionHard: {{nodefs.available: "0%", nodefs.inodesFree: "0%", imagefs.available: "0%", memory.available: "1Mi"}}
"""


def _joined(layout: Layout, host: LabHost, tokens: Tokens) -> Iterator[str]:
    release = Release.of(layout.spec)
    yield f"""\
apiVersion: {release.kubeadm_api}
kind: JoinConfiguration
discovery:
  bootstrapToken:
    token: {tokens.bootstrap}
    apiServerEndpoint: "{layout.haproxy_address}:6443"
    unsafeSkipCAVerification: true
controlPlane:
  certificateKey: {tokens.certificates}
  localAPIEndpoint: {{advertiseAddress: {host.address}, bindPort: 6443}}
nodeRegistration: {{criSocket: {release.runtime_socket}, name: {host.name}}}
"""
