"""The Nodes that carry the control plane: where an API server is, whatever an inventory says (H3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from drrun.spi import Command, Fact, Reply, sh
from drrun_steps.kube.facts import KUBECTL


@dataclass(frozen=True, slots=True)
class Node:
    """A Node that carries the control plane, and its internal addresses."""

    name: str
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Nodes:
    """Nodes that carry the control plane. `why` says why the API server does not tell."""

    nodes: tuple[Node, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class KubeNodes(Fact[Nodes]):
    """The Nodes that carry the control plane, as this host's own API server tells (H3)."""

    name: ClassVar[str] = "kube.nodes"
    kubeconfig: str = "/etc/kubernetes/admin.conf"
    server: str = "https://127.0.0.1:6443"
    tls_name: str = "kubernetes"

    def about(self) -> tuple[str, ...]:
        """The API server here, and etcd behind it."""
        return ("service:kube-apiserver", "@etcd")

    def ask(self) -> Command:
        """By the label of today and the one of before 1.24; names and addresses, nothing else."""
        return sh(
            KUBECTL + "for role in control-plane master; do\n"
            'api get nodes -l "node-role.kubernetes.io/$role" -o '
            "'jsonpath={range .items[*]}{.metadata.name}"
            '{range .status.addresses[?(@.type=="InternalIP")]}{" "}{.address}{end}{"\\n"}{end}\'\n'
            "[ $? = 0 ] || exit 3\ndone",
            CONFIG=self.kubeconfig,
            SERVER=self.server,
            TLS_NAME=self.tls_name,
        )

    def parse(self, reply: Reply) -> Nodes:
        """Not answering is an answer."""
        if reply.exit != 0:
            return Nodes(why=reply.complaint[:200] or f"exit {reply.exit}")
        found = {
            line.split()[0]: tuple(line.split()[1:]) for line in reply.text.splitlines() if line
        }
        return Nodes(tuple(Node(name, addresses) for name, addresses in sorted(found.items())))
