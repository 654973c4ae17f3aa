"""The step that tells what the move of a control plane to other hosts leaves to be done."""

from __future__ import annotations

from drrun.spi import Effect, Group, GroupStep, Outputs, Repeat
from drrun_steps.kube.gone import SnapshotHosts
from drrun_steps.kube.strays import KubeAllNodes


class Moved(GroupStep):
    """Tell what the move of a control plane to other hosts leaves to be done. It only reads.

    Nodes that nobody stands behind, where the load balancer has to send clients, and who knows an
    old address. Nothing of it is done here: a Node may be of a worker that is only asleep.
    """

    uses = "kube.moved"
    effect = Effect.READ
    repeat = Repeat.SAFE
    outputs = ("gone", "backends")

    snapshot: str = ""
    """The snapshot file on the controller, where all hosts have moved: it says where the old ones were."""
    failed: str = ""
    """Old hosts, as an expression over roles, where the others stay; they are not connected to."""
    kubeconfig: str = "/etc/kubernetes/admin.conf"
    """A kubeconfig on the host; only its credentials are used."""

    def run(self, group: Group) -> Outputs:
        """One question to the first host."""
        host = group.hosts[0]
        ours = {name for h in group.hosts for name in (h.name, h.address)}
        old = self._old(group) - ours - {""}
        nodes = host.read(KubeAllNodes(self.kubeconfig))
        others = [node.name for node in nodes if not ours & {node.name, *node.addresses}]
        dead = [node.name for node in nodes if old & {node.name, *node.addresses}]
        gone = others if self.snapshot else dead
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

    def _old(self, group: Group) -> set[str]:
        """Names and addresses of the hosts of before."""
        failed = group.role(self.failed) if self.failed else ()
        former = group.hosts[0].read(SnapshotHosts(self.snapshot)) if self.snapshot else ()
        words = {word for one in former for word in (one.name, *one.at)}
        return words | {word for host in failed for word in (host.name, host.address)}
