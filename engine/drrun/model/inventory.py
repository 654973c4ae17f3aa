"""Hosts, groups, and how to reach them, as the author wrote them and as the engine uses them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from drrun.values import HostName, Json

Layout = Literal["systemd", "static-pod", "k3s", "commands"]


def _port(value: object) -> object:
    if isinstance(value, str) and re.fullmatch("[0-9]{1,5}", value):
        return int(value)
    return value


Port = Annotated[int, Field(strict=True, ge=1, le=65535), BeforeValidator(_port)]


class Part(BaseModel):
    """The ground of every authored model: frozen, no unknown keys, docstrings in the schema."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Ssh(Part):
    """How to reach a host by SSH. What is not said here comes from `ssh -G` (~/.ssh/config)."""

    user: str | None = None
    """The account to log in as."""
    port: Port | None = None
    """The port of sshd."""
    identity: str | None = None
    """A private key file; without it, the agent and the default keys are tried."""
    known_hosts: str | None = None
    """The known_hosts file that must hold the host's key."""
    jump: str | None = None
    """Hosts to go through, as in `ssh -J`: user@host:port, comma between."""
    become: Literal["sudo", "none"] | None = None
    """How to act as root when the account is not root."""
    connect_timeout: str | None = None
    """How long a connection may take, as 10s or 1m."""


class HostEntry(Part):
    """One host, or a range of hosts such as cp[1-3]."""

    address: str | None = None
    """The name or address to connect to; the host's own name when left out."""
    layout: Layout | None = None
    """How the control plane is supervised here."""
    ssh: Ssh = Ssh()
    """Overrides of the inventory's ssh settings."""
    vars: Mapping[str, object] = Field(default_factory=dict)
    """Values for templates, over the inventory's."""


class InventoryFile(Part):
    """An inventory as written."""

    drrun_inventory: Literal["1"] = Field(default="1")
    """The version of this language."""
    name: str
    """What people call this set of hosts; asked for before anything is destroyed."""
    cluster_uid: str | None = None
    """The UID of the namespace kube-system: a snapshot of another cluster is refused."""
    ssh: Ssh = Ssh()
    """How to reach every host."""
    layout: Layout = "systemd"
    """How the control plane is supervised, where a host does not say."""
    vars: Mapping[str, object] = Field(default_factory=dict)
    """Values for templates, for every host."""
    hosts: Mapping[str, HostEntry | None]
    """Hosts by name; ranges such as cp[1-3] are expanded."""
    groups: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    """Groups of hosts (names or ranges), and of other groups."""


class Target(Part):
    """One host, resolved: all that a transport needs to reach it. Part of every plan."""

    name: HostName
    address: str
    user: str | None = None
    port: int | None = None
    identity: str | None = None
    known_hosts: str | None = None
    jump: str | None = None
    become: Literal["sudo", "none"] = "sudo"
    connect_timeout: float = 10.0
    layout: Layout = "systemd"
    vars: Mapping[str, object] = Field(default_factory=dict)


class Inventory(Part):
    """An inventory, resolved: targets in the order of the file, groups as host names."""

    name: str
    path: str
    cluster_uid: str | None = None
    targets: Mapping[HostName, Target]
    groups: Mapping[str, tuple[HostName, ...]]
    vars: Mapping[str, object] = Field(default_factory=dict)

    def describe(self) -> Mapping[str, Json]:
        """The part that a plan's digest covers."""
        return self.model_dump(mode="json", exclude={"path"})
