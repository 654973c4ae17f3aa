"""What a load balancer says of the API servers behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from drrun.spi import Command, Fact, Reply, StepFailed, sh
from drrun_steps.lb.talk import ADMITTED, DRAINED, LIST, SOCKET, TALK

BALANCER = "lb:balancer"
"""The component: what the balancer of this host was told."""


@dataclass(frozen=True, slots=True)
class Server:
    """One server behind haproxy."""

    name: str
    """BACKEND/SERVER, as haproxy calls it."""
    address: str
    state: str
    """haproxy's own word: UP, DOWN, MAINT, DRAIN, `no check`, with what follows it."""
    connections: int = 0

    @property
    def out(self) -> bool:
        """Whether it is in maintenance: no new connection is sent there."""
        return self.state.startswith("MAINT")

    @property
    def up(self) -> bool:
        """Whether clients are sent there: it is well, or nobody checks."""
        return self.state.startswith(("UP", "no check"))

    def of(self, addresses: tuple[str, ...], names: tuple[str, ...]) -> bool:
        """Whether it is one of these hosts, by address or by the name that haproxy gives it."""
        return self.address in addresses or self.name.partition("/")[2] in names


@dataclass(frozen=True, slots=True)
class _Haproxy:
    """Which servers are meant: those of a backend, or all that are served at a port."""

    port: int = 6443
    backend: str = ""
    socket: str = SOCKET

    def _sh(self, text: str, **env: object) -> Command:
        told = {"PORT": self.port, "BACKEND": self.backend, "SOCKET": self.socket, **env}
        return sh(TALK + text, **told)


@dataclass(frozen=True, slots=True)
class LbServers(_Haproxy, Fact[tuple[Server, ...]]):
    """The API servers behind the haproxy of this host; none where a command of its own is told."""

    name: ClassVar[str] = "lb.servers"

    def about(self) -> tuple[str, ...]:
        """What the balancer was told, and what it finds of the servers."""
        return (BALANCER, "@kube-apiserver")

    def ask(self) -> Command:
        """`show stat`."""
        return self._sh(LIST)

    def parse(self, reply: Reply) -> tuple[Server, ...]:
        """In haproxy's order. Raises StepFailed where there is nobody to ask, or nobody behind it."""
        lines = _lines(reply)
        return () if lines == ["own"] else _servers(lines, self)


@dataclass(frozen=True, slots=True)
class LbDrained(_Haproxy, Fact[bool]):
    """Whether every API server is out, and no connection to one is left: clients find nobody."""

    name: ClassVar[str] = "lb.drained"

    def about(self) -> tuple[str, ...]:
        """What the balancer was told."""
        return (BALANCER,)

    def ask(self) -> Command:
        """`show stat`, or the host's own command."""
        return self._sh(DRAINED)

    def parse(self, reply: Reply) -> bool:
        """Raises StepFailed where there is nobody to ask, or nobody behind it."""
        lines = _lines(reply)
        if lines in (["own 0"], ["own 1"]):
            return lines == ["own 0"]
        return all(one.out and not one.connections for one in _servers(lines, self))


@dataclass(frozen=True, slots=True)
class LbAdmitted(_Haproxy, Fact[bool]):
    """Whether these API servers take clients: let in, and found well by haproxy's own check."""

    name: ClassVar[str] = "lb.admitted"
    addresses: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    but: tuple[str, ...] = ()
    """Servers that stay out, as haproxy calls them."""

    def about(self) -> tuple[str, ...]:
        """What the balancer was told, and what it finds of the servers."""
        return (BALANCER, "@kube-apiserver")

    def ask(self) -> Command:
        """`show stat`, or the host's own command."""
        return self._sh(ADMITTED, ADDRESSES=" ".join(self.addresses))

    def parse(self, reply: Reply) -> bool:
        """Raises StepFailed where there is nobody to ask, or nobody behind it."""
        lines = _lines(reply)
        if lines in (["own 0"], ["own 1"]):
            return lines == ["own 0"]
        meant = (s for s in _servers(lines, self) if s.of(self.addresses, self.names))
        return all(one.up for one in meant if one.name not in self.but)


def _lines(reply: Reply) -> list[str]:
    if reply.exit != 0:
        raise StepFailed(
            f"the load balancer does not tell who is behind it: {reply.complaint[:300]}",
            hint="see docs/how-to/load-balancer.md; -e role.load_balancer= leaves it out",
        )
    return reply.text.split("\n")[:-1] if reply.text else []


def _servers(lines: list[str], asked: _Haproxy) -> tuple[Server, ...]:
    if not lines:
        what = f"backend {asked.backend}" if asked.backend else f"server at port {asked.port}"
        raise StepFailed(
            f"haproxy has no {what}",
            hint="name the backend of the API servers; -e role.load_balancer= leaves it out",
        )
    found = []
    for line in lines:
        name, address, connections, state = line.split("|", 3)
        found.append(Server(name, address, state, int(connections or "0")))
    return tuple(found)


FACTS: tuple[type[Fact[Any]], ...] = (LbServers, LbDrained, LbAdmitted)
