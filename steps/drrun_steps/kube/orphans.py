"""What controllers do to a restored cluster as soon as they start, told before by names (hazard H6).

The API holds the pods and attachments of another day. Pods of a Node that is not there are deleted by the
garbage collector, and their workloads start others elsewhere; volumes are detached from such a Node.
Rule 1: it is told and never in the way: what cannot be listed in time is said, and the restore goes on.
Sources: kubernetes, pkg/controller/podgc and pkg/controller/volume/attachdetach; recovery.md 1.12.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from drrun.spi import OPAQUE, Command, Fact, NotKnown, Reply, sh
from drrun_steps.kube.facts import KUBECTL

_LIST = r"""
api get nodes -o go-template='{{range .items}}node|{{.metadata.name}}{{"\n"}}{{end}}' || exit 3
api get pods --all-namespaces -o go-template='{{range .items}}pod|{{.metadata.namespace}}/'\
'{{.metadata.name}}|{{with .spec.nodeName}}{{.}}{{end}}{{"\n"}}{{end}}' || exit 3
api get persistentvolumes -o go-template='{{range .items}}volume|{{.metadata.name}}{{"\n"}}{{end}}' || exit 3
api get volumeattachments.storage.k8s.io -o go-template='{{range .items}}attachment|{{.metadata.name}}|'\
'{{.spec.nodeName}}|{{with .spec.source.persistentVolumeName}}{{.}}{{end}}{{"\n"}}{{end}}' || exit 3
"""
_NAMED = 10
"""How many of a kind are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class Orphans:
    """What controllers will delete or detach. `why` says why the API server does not tell."""

    pods: tuple[str, ...] = ()
    """NAMESPACE/NAME of each pod that is bound to a Node that the API does not know."""
    attachments: tuple[str, ...] = ()
    """`NAME (VOLUME on NODE)` where that Node or that volume is not there."""
    why: str = ""


@dataclass(frozen=True, slots=True)
class KubeOrphans(Fact[Orphans]):
    """Pods and attachments whose Node or volume the API does not know."""

    name: ClassVar[str] = "kube.orphans"
    kubeconfig: str = "/etc/kubernetes/admin.conf"
    server: str = "https://127.0.0.1:6443"
    tls_name: str = "kubernetes"

    def about(self) -> tuple[str, ...]:
        """The API server here, etcd behind it, and whoever makes pods."""
        return ("service:kube-apiserver", "@etcd", "@kubelet", OPAQUE)

    def ask(self) -> Command:
        """Four lists, of names alone."""
        named = {"CONFIG": self.kubeconfig, "SERVER": self.server, "TLS_NAME": self.tls_name}
        return sh(KUBECTL + _LIST, **named)

    def parse(self, reply: Reply) -> Orphans:
        """In the API's order; not answering is an answer."""
        if reply.exit != 0:
            return Orphans(why=reply.complaint[:200] or f"exit {reply.exit}")
        rows = [line.split("|") for line in reply.text.splitlines()]
        nodes, volumes = ({row[1] for row in rows if row[0] == kind} for kind in ("node", "volume"))
        pods = (row[1:] for row in rows if row[0] == "pod")
        attached = (row[1:] for row in rows if row[0] == "attachment")
        return Orphans(
            tuple(name for name, node in pods if node and node not in nodes),
            tuple(
                f"{name} ({volume or 'inline'} on {node})"
                for name, node, volume in attached
                if node not in nodes or (volume and volume not in volumes)
            ),
        )


def told(found: Orphans | NotKnown) -> Iterator[str]:
    """What an operator reads of it before controllers start; nothing where there is nothing."""
    if isinstance(found, NotKnown):
        return
    if found.why:
        yield f"what controllers will delete or detach is not told: {found.why}"
    if found.pods:
        yield (
            f"controllers will delete {_some(found.pods)}: bound to Nodes that the API does not know; "
            "their workloads start others elsewhere"
        )
    if found.attachments:
        yield (
            f"controllers will detach {_some(found.attachments)}: their Node or volume is not known; "
            "where that machine lives and writes, stop it before two write to one disk"
        )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
