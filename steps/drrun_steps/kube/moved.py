"""The step that tells what the move of a control plane to other hosts leaves to be done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from drrun.spi import Command, Effect, Fact, Group, GroupStep, Outputs, Repeat, Reply, sh
from drrun_steps.kube.facts import KUBECTL
from drrun_steps.kube.gone import SnapshotHosts


@dataclass(frozen=True, slots=True)
class Node:
    """A Node, as the API tells of it."""

    name: str
    address: str = ""
    ready: bool = False


@dataclass(frozen=True, slots=True)
class KubeNodes(Fact[tuple[Node, ...]]):
    """The Nodes that this host's own API server knows."""

    name: ClassVar[str] = "kube.nodes"
    kubeconfig: str = "/etc/kubernetes/admin.conf"
    server: str = "https://127.0.0.1:6443"
    tls_name: str = "kubernetes"

    def about(self) -> tuple[str, ...]:
        """The API server here, and etcd behind it."""
        return ("service:kube-apiserver", "@etcd")

    def ask(self) -> Command:
        """Three fields of each."""
        wanted = (
            r'{range .items[*]}{.metadata.name}{" "}{.status.conditions[?(@.type=="Ready")].status}'
            r'{" "}{.status.addresses[?(@.type=="InternalIP")].address}{"\n"}{end}'
        )
        return sh(
            KUBECTL + 'api get nodes -o jsonpath="$WANTED"',
            WANTED=wanted,
            CONFIG=self.kubeconfig,
            SERVER=self.server,
            TLS_NAME=self.tls_name,
        )

    def parse(self, reply: Reply) -> tuple[Node, ...]:
        """In order of text. Raises ValueError when the API server does not tell."""
        if reply.exit != 0:
            raise ValueError(f"the API server does not tell its Nodes: {reply.complaint!r}")
        rows = (line.split(" ") for line in reply.text.splitlines())
        found = (Node(row[0], row[2] if len(row) > 2 else "", row[1] == "True") for row in rows)
        return tuple(sorted(found, key=lambda node: node.name))


class Moved(GroupStep):
    """Tell what the move of a control plane to other hosts leaves to be done. It only reads.

    Nodes that nobody stands behind, where the load balancer has to send clients, and who knows an
    old address. Nothing of it is done here: a Node may be of a worker that is only asleep.
    """

    uses = "kube.moved"
    effect = Effect.READ
    repeat = Repeat.SAFE
    outputs = ("gone", "backends")

    snapshot: str
    """The snapshot file on the controller: it says where the old hosts were."""
    kubeconfig: str = "/etc/kubernetes/admin.conf"
    """A kubeconfig on the host; only its credentials are used."""

    def run(self, group: Group) -> Outputs:
        """One question to the first host."""
        host = group.hosts[0]
        ours = {name for h in group.hosts for name in (h.name, h.address)}
        former = host.read(SnapshotHosts(self.snapshot))
        old = {word for one in former for word in (one.name, *one.at)} - ours - {""}
        nodes = host.read(KubeNodes(self.kubeconfig))
        gone = [node.name for node in nodes if not ours & {node.name, node.address}]
        dead = [node.name for node in nodes if old & {node.name, node.address}]
        for name in dead:
            group.note(f"Node {name} is of a host that is gone: kubectl delete node {name}")
        for name in gone:
            if name not in dead:
                group.note(f"Node {name}: its kubelet must find the new API servers, or it is gone")
        backends = [f"{h.address}:6443" for h in group.hosts]
        group.note(
            f"the API servers are at {', '.join(backends)} now: give these to the load balancer as its backends, "
            "and change every kubeconfig that names an old host"
        )
        return {"gone": gone, "backends": backends}


FACTS: tuple[type[Fact[Any]], ...] = (KubeNodes,)
