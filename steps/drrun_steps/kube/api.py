"""What steps share that ask the API server of their host."""

from __future__ import annotations

from collections.abc import Sequence

from drrun.spi import Demand, HostStep, Rule
from drrun_steps.service.facts import ServiceState


class ApiStep(HostStep):
    """How the API server of each host is reached."""

    kubeconfig: str = "/etc/kubernetes/admin.conf"
    """A kubeconfig on the host; only its credentials are used."""
    server: str = "https://127.0.0.1:6443"
    """The host's own API server."""
    tls_name: str = "kubernetes"
    """A name in its certificate."""
    service: str = "kube-apiserver"
    """The API server's unit."""

    def rules(self) -> Sequence[Demand]:
        """Not while this runbook has stopped the API server of the host."""
        because = "an API server that is stopped answers nothing"
        state = ServiceState(self.service).ref
        return [Rule(state, "", "running", because, standing=True, live=False)]
