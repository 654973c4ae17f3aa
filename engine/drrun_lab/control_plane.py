"""Questions to a lab's control plane, asked by kubectl through the load balancer."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from drrun.errors import LabError

LEADERS = ("kube-controller-manager", "kube-scheduler")
"""Components that elect a leader; their leases bear their names."""

_FRESH = timedelta(seconds=5)
"""A holder renews its lease every two seconds."""


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """A cluster, known by its administrator's kubeconfig. `layers` hold the kubectl to use."""

    config: Path
    layers: tuple[Path, ...]

    def kubectl(
        self, *args: str, stdin: str = "", timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl on this machine; not checked. Raises LabError when it does not end."""
        places = (layer / "usr/local/bin/kubectl" for layer in self.layers)
        binary = next((place for place in places if place.exists()), None)
        if binary is None:
            raise LabError("this lab has no Kubernetes")
        try:
            return subprocess.run(
                [binary, f"--kubeconfig={self.config}", "--request-timeout=20s", *args],
                input=stdin,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            raise LabError(f"no end within {timeout:g} s: kubectl {' '.join(args)}") from exc

    def uid(self) -> str:
        """What tells this cluster from any other: the uid of the namespace kube-system."""
        asked = self.kubectl("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")
        if asked.returncode != 0 or not asked.stdout:
            raise LabError(f"the namespace kube-system has no uid: {asked.stderr.strip()}")
        return asked.stdout

    def works(self) -> bool:
        """Whether controllers act: leases are being renewed and service accounts were made.

        Their own /healthz does not tell: it says ok with the API servers gone.
        """
        now = datetime.now(UTC)
        renewed = self._leases("renewTime")
        for lease in LEADERS:
            told = renewed.get(lease)
            if not told or now - datetime.fromisoformat(told) > _FRESH:
                return False
        accounts = self.kubectl("get", "serviceaccounts", "-n", "default", "-o", "name")
        return bool(accounts.stdout)

    def ready_nodes(self) -> set[str]:
        """The names of the nodes that say that they are Ready."""
        path = '{range .items[*]}{.metadata.name}={.status.conditions[?(@.type=="Ready")].status}'
        told = self.kubectl("get", "nodes", "-o", f'jsonpath={path}{{"\\n"}}{{end}}').stdout
        return {
            name
            for name, _, ready in (line.partition("=") for line in told.split())
            if ready == "True"
        }

    @contextmanager
    def leaderless(self) -> Iterator[None]:
        """Empty the leases for the length of a block, then give them back to their holders.

        Whoever calls holds the leaders still. This is for a copy of the disks: a holder in it would
        make the controllers that boot from it wait fifteen seconds for somebody long gone.
        """
        holders = self._leases("holderIdentity")
        for lease in holders:
            self._hand(lease, "")
        yield
        for lease, holder in holders.items():
            self._hand(lease, holder)

    def _leases(self, field: str) -> dict[str, str]:
        query = f'jsonpath={{range .items[*]}}{{.metadata.name}}={{.spec.{field}}}{{"\\n"}}{{end}}'
        told = self.kubectl("get", "leases", "-n", "kube-system", "-o", query).stdout
        pairs = (line.partition("=") for line in told.split())
        return {name: value for name, _, value in pairs if value}

    def _hand(self, lease: str, holder: str) -> None:
        patch = f'{{"spec": {{"holderIdentity": "{holder}"}}}}'
        self.kubectl("patch", "lease", lease, "-n", "kube-system", "--type=merge", "-p", patch)
