"""The step that gives the Nodes of new control-plane hosts the roles and taints of those of before.

A kubelet may not give its own Node a role (NodeRestriction), and kubeadm, which does, is not asked here.
Without the taint, the scheduler puts other people's pods beside etcd.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from drrun.spi import OPAQUE, Command, Effect, Fact, Host, HostStep, Repeat, Reply, satisfies, sh
from drrun_steps.kube.facts import KUBECTL
from drrun_steps.kube.plan_pods import PodPlan

_MARKS = (
    KUBECTL
    + r"""
labels() { # NODE: those of a control plane
  api get node "$1" --ignore-not-found -o go-template='{{range $k, $v := .metadata.labels}}{{$k}}={{$v}}{{"\n"}}{{end}}' |
    sed -n -e '/^node-role\.kubernetes\.io\//p' -e '/^node\.kubernetes\.io\/exclude-from-external-load-balancers=/p'
}
taints() {
  api get node "$1" --ignore-not-found \
    -o go-template='{{range .spec.taints}}{{.key}}{{if .value}}={{.value}}{{end}}:{{.effect}}{{"\n"}}{{end}}' |
    sed -n '/^node-role\.kubernetes\.io\//p'
}
"""
)
_ASK = (
    _MARKS
    + r"""
there=$(api get node "$NODE" --ignore-not-found -o name) || exit 3
[ -n "$there" ] || { echo absent; exit 0; }
has=$(labels "$NODE"; taints "$NODE"); must=$(labels "$OLD"; taints "$OLD")
printf '%s\n' "$must" | while read -r one; do
  [ -z "$one" ] || printf '%s\n' "$has" | grep -qxF -- "$one" || { echo bare; exit; }
done
echo marked
"""
)
_MARK = (
    "# give this host's Node the roles and taints that a control-plane Node of before has\n"
    + _MARKS
    + r"""
set -eu
for one in $(labels "$OLD"); do api label node "$NODE" --overwrite "$one"; done
for one in $(taints "$OLD"); do api taint node "$NODE" --overwrite "$one"; done
"""
)


@dataclass(frozen=True, slots=True)
class KubeMarked(Fact[str]):
    """Whether a Node has every role and taint of a control plane that another one has.

    `marked`, `bare`, or `absent` where the API knows no such Node.
    """

    name: ClassVar[str] = "kube.marked"
    node: str
    old: str
    kubeconfig: str = "/etc/kubernetes/admin.conf"
    server: str = "https://127.0.0.1:6443"
    tls_name: str = "kubernetes"

    def about(self) -> tuple[str, ...]:
        """The API server here, etcd behind it, and the kubelet that registers."""
        return ("service:kube-apiserver", "@etcd", "@kubelet", OPAQUE)

    def ask(self) -> Command:
        """Labels and taints of both."""
        return self.command(_ASK)

    def command(self, text: str) -> Command:
        """A script about both Nodes."""
        return sh(
            text,
            CONFIG=self.kubeconfig,
            SERVER=self.server,
            TLS_NAME=self.tls_name,
            NODE=self.node,
            OLD=self.old,
        )

    def parse(self, reply: Reply) -> str:
        """An API server that does not answer knows of no Node."""
        said = reply.text.split()
        if reply.exit != 0 or "absent" in said or not said:
            return "absent"
        return "bare" if "bare" in said else "marked"


class MarkNodes(HostStep):
    """Give the Nodes of new hosts of static pods the roles and taints of a control-plane Node of before.

    Waits until kubelet has registered the Node. What the Node of before had is what the restored API says;
    where that Node is not there, nothing is given.
    """

    uses = "kube.nodes.mark"
    effect = Effect.CHANGE
    repeat = Repeat.SAFE

    pods: Mapping[str, PodPlan]
    """Host -> its pods, from kube.static_pods.plan; hosts that are not in it are left alone."""
    kubeconfig: str = "/etc/kubernetes/admin.conf"
    """A kubeconfig on the host; only its credentials are used."""
    within: str = "180s"
    """How long kubelet may take to register."""

    def run(self, host: Host) -> None:
        """Wait for the Node, then mark it."""
        if host.name not in self.pods:
            return
        plan = self.pods[host.name]
        fact = KubeMarked(plan.node, plan.old_node, self.kubeconfig)
        host.require(
            fact,
            satisfies("registered", lambda found: found != "absent"),
            because="a Node that kubelet has not registered takes no role",
            hint=f"see `journalctl -u kubelet` on {host.name}",
            within=self.within,
        )
        host.change(
            "mark",
            fact.command(_MARK),
            sets={fact: "marked"},
            repeat=Repeat.SAFE,
        )


FACTS: tuple[type[Fact[Any]], ...] = (KubeMarked,)
