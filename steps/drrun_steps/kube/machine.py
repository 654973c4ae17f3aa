"""What is on a machine that is to become a host of static pods: asked in one question.

Whether it is new (nothing of a cluster, no container that runs), and whether it has what a provisioning
gives: a container runtime with the images, kubelet, and the programs that drrun calls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from drrun.spi import Command, Fact, Reply, sh

MANIFESTS = "/etc/kubernetes/manifests"
"""Kubelet's folder of static pods, as kubeadm sets it."""
HELD = "/var/lib/drrun/stopped"
"""Where manifests lie that are held (see service.pods)."""

_ASK = r"""
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C
say() { printf '%s=%s\n' "$1" "$2"; }
say node "$(uname -n | tr A-Z a-z)"
for f in /etc/kubernetes/kubelet.conf /etc/kubernetes/bootstrap-kubelet.conf "$MANIFESTS"/*.yaml "$HELD"/*.yaml; do
  [ ! -e "$f" ] || say of "$f"
done
for p in kubelet kubectl curl openssl etcdctl; do command -v $p >/dev/null || say lacks $p; done
systemctl cat kubelet.service >/dev/null 2>&1 || say lacks 'a unit of kubelet'
[ ! -e /var/lib/kubelet/config.yaml ] || say settings yes
say kubelet "$(kubelet --version 2>/dev/null | sed 's/^Kubernetes v//')"
for f in $FILES; do [ -e "$f" ] || say without "$f"; done
real=$(readlink -f -- "$DATA" || printf '%s' "$DATA")
awk -v d="$real" '$5 == d { print "mount=yes" }' /proc/self/mountinfo
if command -v crictl >/dev/null && timeout 20 crictl ps -q >/dev/null 2>&1; then
  timeout 20 crictl ps -q | sed 's/^/runs=/'
  has() { timeout 20 crictl inspecti "$1" >/dev/null 2>&1; }
elif command -v ctr >/dev/null && timeout 20 ctr version >/dev/null 2>&1; then
  timeout 20 ctr -n k8s.io tasks ls -q | sed 's/^/runs=/'
  has() { timeout 20 ctr -n k8s.io images ls -q | grep -qxF -- "$1"; }
else say lacks 'a container runtime that answers'; exit 0; fi
for i in $IMAGES; do has "$i" || say image "$i"; done
true
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine as it was found. Empty fields are good news, but for `node`."""

    node: str = ""
    """What kubelet calls it: its host name in lower case."""
    of_cluster: tuple[str, ...] = ()
    """Files that only a host of a cluster has."""
    lacks: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    """Images that are not there."""
    without: tuple[str, ...] = ()
    """Files that are not there."""
    running: int = 0
    """Containers that run."""
    settings: bool = False
    """Whether kubelet has a `config.yaml` of its own."""
    kubelet: str = ""
    """Its version, as 1.31.2."""
    mount: bool = False
    """Whether the data directory is a mount point."""


@dataclass(frozen=True, slots=True)
class KubeMachine(Fact[Machine]):
    """Whether a machine is new and ready for static pods with these images and files."""

    name: ClassVar[str] = "kube.machine"
    timeout: ClassVar[float] = 90.0
    images: tuple[str, ...]
    files: tuple[str, ...]
    data_dir: str

    def about(self) -> tuple[str, ...]:
        """The programs and images of this host."""
        return ("programs", "images")

    def ask(self) -> Command:
        """Files, programs, and the container runtime."""
        return sh(
            _ASK,
            IMAGES=" ".join(self.images),
            FILES=" ".join(self.files),
            DATA=self.data_dir,
            MANIFESTS=MANIFESTS,
            HELD=HELD,
        )

    def parse(self, reply: Reply) -> Machine:
        """Raises ValueError when it broke off."""
        said = [line.partition("=")[::2] for line in reply.text.splitlines()]
        if reply.exit != 0 or not said:
            raise ValueError(f"cannot tell what is on this machine: {reply.complaint!r}")

        def every(name: str) -> tuple[str, ...]:
            return tuple(value for key, value in said if key == name)

        return Machine(
            node="".join(every("node")),
            of_cluster=every("of"),
            lacks=every("lacks"),
            images=every("image"),
            without=every("without"),
            running=len(every("runs")),
            settings="yes" in every("settings"),
            kubelet="".join(every("kubelet")),
            mount="yes" in every("mount"),
        )


FACTS: tuple[type[Fact[Any]], ...] = (KubeMachine,)
