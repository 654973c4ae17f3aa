"""The step that proves that the hosts of a lost control plane are gone, before another one is built.

Two control planes with the same keys, each with a half of the nodes, are worse than none: both are
believed. A snapshot says by itself where the members of its cluster were.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from drrun.spi import Command, Effect, Fact, Host, HostStep, Look, Refused, Repeat, Reply, sh
from drrun_steps.etcd.bolt import Bolt
from drrun_steps.fields import Listed, Numbers

_SEAL = 32


@dataclass(frozen=True, slots=True)
class Former:
    """A member of the cluster that a snapshot is of: its name, and the hosts of its URLs."""

    name: str
    at: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SnapshotHosts(Look[tuple[Former, ...]]):
    """Who the members of a snapshot's cluster were, and where."""

    name: ClassVar[str] = "kube.snapshot.hosts"
    path: str

    def about(self) -> tuple[str, ...]:
        """The file, which a step on any host may bring here."""
        return (f"@file:{self.path}",)

    def look(self) -> tuple[Former, ...]:
        """In order of names. Raises OSError, or ValueError where its database makes no sense."""
        path = Path(self.path).expanduser()
        with path.open("rb") as file:
            stored = Bolt(file, path.stat().st_size - _SEAL).items(b"members")
            return tuple(sorted((_former(json.loads(raw)) for _, raw in stored), key=_name))


def _former(member: Mapping[str, Any]) -> Former:
    urls = [*(member.get("clientURLs") or ()), *(member.get("peerURLs") or ())]
    return Former(
        str(member.get("name", "")), tuple(sorted({urlsplit(u).hostname or "" for u in urls}))
    )


def _name(former: Former) -> str:
    return former.name


_ANSWERS = r"""
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
command -v curl >/dev/null || { echo 'no curl on this host' >&2; exit 127; }
for a in $ADDRESSES; do
  case $a in *:*) at="[$a]" ;; *) at=$a ;; esac
  for p in $PORTS; do
    env -i PATH="$PATH" curl --silent --insecure --noproxy '*' --connect-timeout 2 --max-time 4 -o /dev/null "https://$at:$p/"
    case $? in 6 | 7 | 28) ;; *) echo "$a:$p" ;; esac # not found, refused, silent: nobody is there
  done
done
true
"""


@dataclass(frozen=True, slots=True)
class Answering(Fact[tuple[str, ...]]):
    """Which of these addresses take connections on these ports, asked from this host."""

    name: ClassVar[str] = "kube.answering"
    timeout: ClassVar[float] = 120.0
    addresses: tuple[str, ...]
    ports: tuple[int, ...] = (2379, 6443)

    def about(self) -> tuple[str, ...]:
        """Other machines, which no change of a run here touches."""
        return ("@elsewhere",)

    def ask(self) -> Command:
        """curl, with short time-outs and a clean environment; any answer is one."""
        ports = " ".join(str(port) for port in self.ports)
        return sh(_ANSWERS, ADDRESSES=" ".join(self.addresses), PORTS=ports)

    def parse(self, reply: Reply) -> tuple[str, ...]:
        """`address:port` of each. Raises ValueError when nobody could ask."""
        if reply.exit != 0:
            raise ValueError(f"cannot ask whether the old hosts are gone: {reply.complaint!r}")
        return tuple(reply.text.split())


class OldGone(HostStep):
    """Prove that the hosts of a snapshot's cluster do not answer any more, where they were.

    Asked from the new hosts, on the ports of etcd and of the API servers. Addresses of the hosts of this
    step itself are left out: a new machine may have an old one's. A host that is cut off from here and
    lives on shows no sign: that it is off for good is the operator's word.
    """

    uses = "kube.old_gone"
    effect = Effect.READ
    repeat = Repeat.SAFE

    snapshot: str
    """The snapshot file on the controller, proved by etcd.snapshot.verify."""
    accept_address: Listed = ()
    """Addresses that old hosts had and that something else has now."""
    ports: Numbers = (2379, 6443)
    """Ports of etcd's clients and of the API servers."""

    def run(self, host: Host) -> None:
        """Where they were, from the file; whether they answer, from here."""
        own = {host.name, host.address, *self.accept_address}
        former = host.read(SnapshotHosts(self.snapshot))
        old = tuple(sorted({a for one in former for a in one.at} - own - {""}))
        if not old:
            host.note(f"{host.name}: {self.snapshot} does not say where its members were")
            return
        alive = host.read(Answering(old, tuple(self.ports)))
        if alive:
            raise Refused(
                f"{', '.join(alive)} answers {host.name}: the old cluster is not gone, and two of them with "
                "the same keys would both be believed",
                hint="restore-cluster restores on the old hosts; else power them off for good. Where "
                "something else has that address now, name it: -e accept_address=ADDRESS",
            )
        host.note(f"{host.name}: nobody answers at {', '.join(old)}")


FACTS: tuple[type[Fact[Any]], ...] = (SnapshotHosts, Answering)
