"""Nodes and pods of a restored cluster against those that there are: what differs is told.

After a restore the API holds the Nodes and pods of another day. A Node whose machine is gone makes
controllers act on it; a machine whose Node is not there yet has to register anew; a pod that runs and
that the API does not know (a phantom) ends when its kubelet is restarted.
Sources: kubernetes#131115, #56212; recovery.md 1.12, pitfall 16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from drrun.spi import (
    OPAQUE,
    Command,
    Effect,
    Fact,
    Group,
    GroupStep,
    NotKnown,
    Outputs,
    Repeat,
    Reply,
    StepFailed,
    satisfies,
    sh,
)
from drrun_steps.kube.facts import KUBECTL
from drrun_steps.kube.orphans import KubeOrphans, told

_NODES = r"""
api get nodes -o go-template='{{range .items}}{{.metadata.name}}|{{range .status.conditions}}'\
'{{if eq .type "Ready"}}{{.status}}{{end}}{{end}}|{{range .status.addresses}}{{.address}} {{end}}{{"\n"}}{{end}}'
"""
_PODS = r"""
api get pods --all-namespaces -o go-template='{{range .items}}{{.metadata.uid}}{{"\n"}}{{end}}'
"""
_RUNNING = r"""
cat /proc/[0-9]*/cgroup 2>/dev/null |
  grep -oE 'pod[0-9a-f]{8}([-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}' | tr _ - | cut -c4- | sort -u
true
"""
"""Pods by the processes in their cgroups, whatever runs containers here. A static pod's is another kind."""


@dataclass(frozen=True, slots=True)
class Node:
    """A Node of the API."""

    name: str
    ready: bool
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Asked:
    kubeconfig: str = "/etc/kubernetes/admin.conf"
    server: str = "https://127.0.0.1:6443"
    tls_name: str = "kubernetes"

    def _api(self, text: str) -> Command:
        named = {"CONFIG": self.kubeconfig, "SERVER": self.server, "TLS_NAME": self.tls_name}
        return sh(KUBECTL + text, **named)


def _lines(reply: Reply, what: str) -> list[str]:
    if reply.exit != 0:
        raise StepFailed(f"the API server tells no {what}: {reply.complaint[:300]}")
    return reply.text.splitlines()


@dataclass(frozen=True, slots=True)
class KubeAllNodes(_Asked, Fact[tuple[Node, ...]]):
    """The Nodes that the API knows, and whether each is ready by its word."""

    name: ClassVar[str] = "kube.nodes.all"

    def about(self) -> tuple[str, ...]:
        """The API server here, etcd behind it, and whoever reports to it."""
        return ("service:kube-apiserver", "@etcd", "@kubelet", OPAQUE)

    def ask(self) -> Command:
        """Names, one condition, addresses."""
        return self._api(_NODES)

    def parse(self, reply: Reply) -> tuple[Node, ...]:
        """In the API's order. Raises StepFailed when it does not tell."""
        rows = (line.split("|") for line in _lines(reply, "nodes"))
        return tuple(Node(name, ready == "True", tuple(at.split())) for name, ready, at in rows)


@dataclass(frozen=True, slots=True)
class KubePods(_Asked, Fact[tuple[str, ...]]):
    """The UIDs of the pods that the API knows."""

    name: ClassVar[str] = "kube.pods"

    def about(self) -> tuple[str, ...]:
        """The API server here, etcd behind it, and whoever makes pods."""
        return ("service:kube-apiserver", "@etcd", "@kubelet", OPAQUE)

    def ask(self) -> Command:
        """One field of each."""
        return self._api(_PODS)

    def parse(self, reply: Reply) -> tuple[str, ...]:
        """In the API's order. Raises StepFailed when it does not tell."""
        return tuple(_lines(reply, "pods"))


@dataclass(frozen=True, slots=True)
class KubePodsRunning(Fact[tuple[str, ...]]):
    """The UIDs of pods of which a process runs on this host; static pods are not among them."""

    name: ClassVar[str] = "kube.pods_running"

    def about(self) -> tuple[str, ...]:
        """kubelet, and whoever makes pods."""
        return ("service:kubelet", OPAQUE)

    def ask(self) -> Command:
        """The cgroups of all processes."""
        return sh(_RUNNING)

    def parse(self, reply: Reply) -> tuple[str, ...]:
        """In order of text."""
        return tuple(reply.text.splitlines())


class _Nodes(GroupStep):
    """The hosts of the step are nodes; the API is asked on another."""

    effect = Effect.READ
    repeat = Repeat.SAFE

    api: str = "control_plane[0]"
    """The host whose API server is asked."""
    kubeconfig: str = "/etc/kubernetes/admin.conf"
    """A kubeconfig there; only its credentials are used."""


class MissingNodes(_Nodes):
    """Tell which Nodes are not ready, and which hosts have no Node. Nothing is deleted or refused.

    Pods and attachments of Nodes that are not there are told as well: controllers delete and detach them.
    """

    uses = "kube.nodes.missing"
    outputs = ("not_ready", "missing")

    def run(self, group: Group) -> Outputs:
        """By name, or by an address of the Node."""
        api = group.role(self.api)[0]
        nodes: Any = api.read(KubeAllNodes(self.kubeconfig))
        if isinstance(nodes, NotKnown):
            group.note("Nodes of the restored cluster are told when its API server answers")
            return {"not_ready": nodes, "missing": nodes}
        known = {word for node in nodes for word in (node.name, *node.addresses)}
        missing = [host.name for host in group.hosts if not {host.name, host.address} & known]
        late = [node.name for node in nodes if not node.ready]
        if nodes and missing:
            group.note(
                f"no Node: {', '.join(missing)}: a kubelet that is restarted registers anew; its "
                "labels and taints are not those of before"
            )
        if late:
            group.note(
                f"not ready: {', '.join(late)}: controllers move their pods elsewhere after five "
                "minutes; one whose machine is gone is to be deleted by you"
            )
        for line in told(api.read(KubeOrphans(self.kubeconfig))):
            group.note(line)
        return {"not_ready": late, "missing": missing if nodes else []}


class Phantoms(_Nodes):
    """Prove that nothing runs on these hosts that the API does not know.

    A pod that is there and in no list is ended by its kubelet when that is restarted; it may take a
    minute. What stays is named by its UID.
    """

    uses = "kube.phantoms"

    within: str = "180s"
    """How long kubelets may take to end them."""

    def run(self, group: Group) -> None:
        """First what runs, then what is known: a pod that starts in between is no phantom."""
        running = group.read(KubePodsRunning())
        known: Any = group.role(self.api)[0].read(KubePods(self.kubeconfig))
        for host in group.hosts:
            mine: Any = running[host.name]
            if isinstance(mine, NotKnown) or isinstance(known, NotKnown):
                host.note(
                    f"{host.name}: what runs there is compared when its kubelet has restarted"
                )
                continue
            strangers = frozenset(mine) - frozenset(known)
            if not strangers:
                continue
            host.note(f"{host.name}: unknown to the API: pods {', '.join(sorted(strangers))}")
            host.require(
                KubePodsRunning(),
                satisfies(
                    "without those pods",
                    lambda now, strangers=strangers: not strangers & set(now),  # type: ignore[misc]
                ),
                because="a pod that the API does not know holds its addresses and volumes, unseen",
                hint="end them by hand: `crictl pods`, `crictl stopp`; then resume",
                within=self.within,
            )


FACTS: tuple[type[Fact[Any]], ...] = (KubeAllNodes, KubePods, KubePodsRunning)
