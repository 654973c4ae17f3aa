"""APIs that are served by pods behind the API server: whether somebody is there to answer for them.

One that nobody answers for keeps namespaces from being deleted and the garbage collector from working,
and every client waits for it at discovery.
Sources: kubernetes.io, "Kubernetes API Aggregation Layer"; recovery.md, pitfall 38.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from drrun.spi import Command, Fact, Reply, StepFailed, sh
from drrun_steps.kube.facts import KUBECTL

ENDPOINTS = r"""
echo '== ready'
api get endpoints --all-namespaces -o go-template='{{range .items}}{{$m := .metadata}}{{range .subsets}}'\
'{{if .addresses}}{{$m.namespace}}/{{$m.name}}{{"\n"}}{{end}}{{end}}{{end}}' || exit 3
"""
"""Services that have a ready endpoint, as NAMESPACE/NAME, behind a line `== ready`."""

_LIST = r"""
api get apiservices.apiregistration.k8s.io -o go-template='{{range .items}}{{$m := .metadata}}'\
'{{with .spec.service}}{{$m.name}}|{{.namespace}}/{{.name}}{{"\n"}}{{end}}{{end}}' || exit 3
"""


@dataclass(frozen=True, slots=True)
class KubeAggregatedLost(Fact[tuple[str, ...]]):
    """Aggregated APIs whose Service has no ready endpoint: `v1beta1.metrics.k8s.io (kube-system/metrics)`."""

    name: ClassVar[str] = "kube.aggregated_lost"
    kubeconfig: str = "/etc/kubernetes/admin.conf"
    server: str = "https://127.0.0.1:6443"
    tls_name: str = "kubernetes"

    def about(self) -> tuple[str, ...]:
        """The API server here, and etcd behind it."""
        return ("service:kube-apiserver", "@etcd")

    def ask(self) -> Command:
        """Two lists, of names alone."""
        named = {"CONFIG": self.kubeconfig, "SERVER": self.server, "TLS_NAME": self.tls_name}
        return sh(KUBECTL + _LIST + ENDPOINTS, **named)

    def parse(self, reply: Reply) -> tuple[str, ...]:
        """In the API's order. Raises StepFailed when it does not tell."""
        if reply.exit != 0:
            raise StepFailed(f"the API server tells no APIs: {reply.complaint[:300]}")
        apis, _, ready = reply.text.partition("== ready\n")
        there = set(ready.splitlines())
        rows = (line.split("|") for line in apis.splitlines())
        return tuple(f"{name} ({service})" for name, service in rows if service not in there)
