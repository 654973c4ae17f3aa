"""The shape of a lab: how many hosts, which versions, and the names and addresses that follow.

Everything here is a pure function of the lab's name, its spec and the subnet it was given.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Literal

from drrun.errors import LabError

EtcdLine = Literal["3.5", "3.4", "sid"]
Supervision = Literal["systemd", "kubeadm"]
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")
_MOST_HOSTS = 9
_FIRST_SPARE, _FIRST_CONTROL_PLANE, _LOAD_BALANCER, _CONTROLLER = 31, 11, 10, 1


@dataclass(frozen=True, slots=True)
class LabSpec:
    """What to build: `hosts` control-plane hosts, each an etcd member, of one etcd line.

    Without `kube` there is neither an API server nor a load balancer. `spares` are hosts that have
    all a member has (certificates, units, binaries) but run nothing: replacements for a dead one. A
    spare of kubeadm is a node that has joined nothing: containerd with images, kubelet off, no keys.
    `layout` is who runs the control plane: units of systemd, or kubelet with static pods as kubeadm
    makes them.
    `etcd_from` and `kube_from` are folders with programs that somebody brings, in place of Debian's;
    their versions are put in when the lab comes up. Nothing else of a spec depends on them.
    Raises LabError when the numbers make no lab.
    """

    hosts: int = 3
    etcd: EtcdLine = "3.5"
    kube: bool = True
    spares: int = 0
    layout: Supervision = "systemd"
    etcd_from: str = field(default="", repr=False)
    kube_from: str = field(default="", repr=False)
    etcd_version: str = field(default="", repr=False)
    kube_version: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not 1 <= self.hosts <= _MOST_HOSTS:
            raise LabError(f"a lab has 1 to {_MOST_HOSTS} hosts, not {self.hosts}")
        if not 0 <= self.spares <= _MOST_HOSTS:
            raise LabError(f"a lab has 0 to {_MOST_HOSTS} spare hosts, not {self.spares}")
        if self.layout == "kubeadm" and not self.kube:
            raise LabError(
                "a kubeadm lab has Kubernetes",
                hint="leave --no-kube out, or choose --layout systemd",
            )
        if self.kube_from and not self.kube:
            raise LabError("--kube-from is for a lab with Kubernetes", hint="leave --no-kube out")

    @property
    def etcd_line(self) -> str:
        """The line of etcd, or the release that was brought: `3.5`, `3.6.14`."""
        return self.etcd_version or self.etcd

    @property
    def described(self) -> str:
        """The shape, and what was brought, for a message."""
        brought = [
            f"{what} {version} of {folder}"
            for what, version, folder in (
                ("etcd", self.etcd_version, self.etcd_from),
                ("Kubernetes", self.kube_version, self.kube_from),
            )
            if folder
        ]
        return ", ".join([repr(self), *brought])


@dataclass(frozen=True, slots=True)
class LabHost:
    """One booted machine: its name inside the lab and its address on the lab's bridge."""

    name: str
    address: str
    role: Literal["control_plane", "load_balancer", "spare"]


@dataclass(frozen=True, slots=True)
class Layout:
    """A named lab with its subnet: who is in it and what its parts are called on this machine."""

    name: str
    spec: LabSpec
    subnet: IPv4Network

    @property
    def bridge(self) -> str:
        """The bridge's name: short, since Linux gives an interface name fifteen bytes."""
        _, second, third, _ = self.subnet.network_address.packed
        return f"drl{second:02x}{third:02x}"

    @property
    def controller_address(self) -> str:
        """This machine's own address on the bridge."""
        return self._address(_CONTROLLER)

    @property
    def haproxy_address(self) -> str:
        """Where the load balancer of the API servers listens, on port 6443."""
        return self._address(_LOAD_BALANCER)

    @property
    def members(self) -> tuple[LabHost, ...]:
        """The hosts that run etcd (and the control plane)."""
        return tuple(
            LabHost(f"cp{n + 1}", self._address(_FIRST_CONTROL_PLANE + n), "control_plane")
            for n in range(self.spec.hosts)
        )

    @property
    def spares(self) -> tuple[LabHost, ...]:
        """The hosts that wait to replace a member."""
        return tuple(
            LabHost(f"sp{n + 1}", self._address(_FIRST_SPARE + n), "spare")
            for n in range(self.spec.spares)
        )

    @property
    def hosts(self) -> tuple[LabHost, ...]:
        """All the hosts, the load balancer last."""
        if not self.spec.kube:
            return (*self.members, *self.spares)
        return (*self.members, *self.spares, LabHost("lb", self.haproxy_address, "load_balancer"))

    def host(self, name: str) -> LabHost:
        """Look a host up. Raises LabError that names the hosts there are."""
        for host in self.hosts:
            if host.name == name:
                return host
        known = ", ".join(host.name for host in self.hosts)
        raise LabError(f"lab {self.name} has no host {name}", hint=f"it has: {known}")

    def machine(self, host: LabHost) -> str:
        """The host's name among all machines here; its bridge port is `vb-` and this."""
        return f"{self.bridge}-{host.name}"

    def port(self, host: LabHost) -> str:
        """The host's port on the bridge, as systemd-nspawn names it."""
        return f"vb-{self.machine(host)}"

    def _address(self, last: int) -> str:
        return str(self.subnet.network_address + last)


def checked_name(name: str) -> str:
    """Return a lab's name if it can be a folder and part of unit names. Raises LabError."""
    if not _NAME.fullmatch(name):
        raise LabError(
            f"{name!r} cannot be a lab's name",
            hint="use lower-case letters, digits and dashes, a letter first",
        )
    return name


def candidates(name: str) -> Iterator[IPv4Network]:
    """Subnets for a lab, the same sequence for the same name.

    A rebuilt lab keeps its addresses, unless something else took them meanwhile.
    """
    start = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")
    for step in range(64):
        second, third = divmod((start + step * 7919) % (64 * 256), 256)
        yield IPv4Network(f"10.{64 + second}.{third}.0/24")
