"""Waiting for a lab: sshd on every host, then what serves, then what works.

Rule 1: a wait has a deadline, and what ran out of time is told with the reason: the last lines of
the journals, or of the console of a host that did not boot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from drrun_lab.access import Access, sshd_answers
from drrun_lab.control_plane import LEADERS, ControlPlane
from drrun_lab.layout import LabHost, Layout
from drrun_lab.progress import Progress
from drrun_lab.waiting import until

BOOT = 60
"""Seconds until sshd must answer. Ten times what is usual."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """What is asked of a lab until it is ready."""

    layout: Layout
    access: Access
    control_plane: ControlPlane
    progress: Progress

    def sshd(self, consoles: Mapping[str, Path]) -> None:
        """Return when sshd answers on every host. `consoles` hold what each printed at its boot."""
        hosts = self.layout.hosts
        self.progress.say("waiting for sshd on " + ", ".join(host.name for host in hosts))
        for host in hosts:
            until(
                partial(sshd_answers, host.address),
                timeout=BOOT,
                awaiting=f"sshd on {host.name} ({host.address})",
                evidence=partial(_last_lines, consoles[host.name]),
            )

    def etcd(self, timeout: float) -> None:
        """Return when the unit of every member is up."""
        for host in self.layout.members:
            until(
                partial(self._active, host, "etcd"),
                timeout=timeout,
                awaiting=f"etcd on {host.name}",
                evidence=partial(self._journals, [host], ["etcd"]),
            )
        self.progress.say("etcd is up on all members")

    def api(self, timeout: float) -> None:
        """Return when each API server, and the load balancer, answers /readyz."""
        self.progress.say("waiting for /readyz of the API servers")
        by_kubelet = self.layout.spec.layout == "kubeadm"
        units = ["containerd", "kubelet"] if by_kubelet else ["etcd", "kube-apiserver"]
        for host in (*self.layout.members, self.layout.hosts[-1]):
            serving = ["haproxy"] if host.role == "load_balancer" else units
            until(
                partial(self.access.ready, host.address),
                timeout=timeout,
                awaiting=f"/readyz on {host.name} ({host.address}:6443)",
                evidence=partial(self._journals, [host], serving),
            )
        self.progress.say("the API servers are ready, through the load balancer as well")

    def controllers(self, timeout: float) -> None:
        """Return when controller manager and scheduler hold their leases, and nodes are Ready."""
        by_kubelet = self.layout.spec.layout == "kubeadm"
        evidence = partial(
            self._journals, self.layout.members, ["kubelet"] if by_kubelet else LEADERS
        )
        until(
            self.control_plane.works,
            timeout=timeout,
            awaiting="a controller manager and a scheduler that hold their leases",
            evidence=evidence,
        )
        self.progress.say("the controllers work")
        if not by_kubelet:
            return
        names = {host.name for host in self.layout.members}
        until(
            lambda: self.control_plane.ready_nodes() == names,
            timeout=timeout,
            awaiting=f"the nodes {', '.join(sorted(names))} to be Ready",
            evidence=evidence,
        )
        self.progress.say("the nodes are Ready")

    def _active(self, host: LabHost, unit: str) -> bool:
        return self._ssh(host, f"systemctl -q is-active {unit}")[0] == 0

    def _journals(self, hosts: Iterable[LabHost], units: Iterable[str]) -> str:
        """State and last lines of some units: the reason why a host is waited for in vain."""
        script = "".join(
            f"echo {unit}: $(systemctl is-active {unit});"
            f"journalctl --no-pager -n 12 -u {unit} | cut -c1-300;"
            for unit in units
        )
        return "\n".join(f"{host.name}:\n{self._ssh(host, script)[1]}" for host in hosts)

    def _ssh(self, host: LabHost, script: str) -> tuple[int, str]:
        done = self.access.ssh(host.address, script, user="root", stdin="", timeout=60)
        return done.returncode, done.stdout


def _last_lines(path: Path) -> str:
    return "\n".join(path.read_text(errors="replace").splitlines()[-15:])
