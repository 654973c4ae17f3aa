"""Take the API servers out of a load balancer, and let clients in again when they were proved.

Rule 1: drained is not closed: whoever knows an API server's own address (a pod, by the Service
`kubernetes`) comes past the balancer; `kube.close` is for them (hazard H6).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from drrun.spi import (
    Command,
    Demand,
    Done,
    Duty,
    Effect,
    Fact,
    Group,
    GroupStep,
    Host,
    Outputs,
    Refused,
    Repeat,
    Rule,
    Whole,
    satisfies,
    sh,
    step_done,
)
from drrun_steps.apart import Apart
from drrun_steps.fields import Listed
from drrun_steps.kube.facts import KubeReady
from drrun_steps.lb.facts import BALANCER, LbAdmitted, LbDrained, LbServers, Server
from drrun_steps.lb.talk import ADMIT, DRAIN, SOCKET, TALK


class _Balancer(GroupStep):
    """Which API servers, behind which balancer."""

    servers: str = "control_plane"
    """The hosts of the API servers, as an expression over roles."""
    port: Whole = 6443
    """The port at which haproxy reaches them: whoever it reaches there is an API server."""
    backend: str = ""
    """haproxy's backend of the API servers, where it balances more than them at that port."""
    socket: str = SOCKET
    """haproxy's stats socket of level admin."""

    def _drained(self) -> LbDrained:
        return LbDrained(self.port, self.backend, self.socket)

    def _listed(self) -> LbServers:
        return LbServers(self.port, self.backend, self.socket)

    def _sh(self, why: str, text: str, **env: object) -> Command:
        told = {"PORT": self.port, "BACKEND": self.backend, "SOCKET": self.socket, **env}
        return sh(f"# {why}\n{TALK}{text}", **told)

    def _drain(self, host: Host, name: str) -> None:
        host.change(
            name,
            self._sh("take every API server out, end their connections", DRAIN),
            sets={self._drained(): True, self._listed(): _ALL_OUT},
            touches=(BALANCER,),
            repeat=Repeat.SAFE,
        )

    def _known(self, group: Group) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Addresses and names of the API servers' hosts."""
        hosts = group.role(self.servers)
        return tuple(host.address for host in hosts), tuple(host.name for host in hosts)


_ALL_OUT = satisfies("all in maintenance", lambda found: all(one.out for one in found))


class Drain(_Balancer):
    """Take every API server out of the load balancer, and end the connections to them.

    haproxy's servers are put into maintenance by its runtime API; any other balancer has
    `/etc/drrun/balancer` for it. An API server that is well and that nobody listed is refused, a dead
    one stays out. A reload of haproxy forgets it: what rests on it asks again. Undo lets in whom this
    step took out.
    """

    uses = "lb.drain"
    effect = Effect.CHANGE
    repeat = Repeat.SAFE
    outputs = ("out_before",)

    def transitions(self) -> Mapping[Fact[Any], Any]:
        """Clients find nobody."""
        return {self._drained(): True}

    def rules(self) -> Sequence[Demand]:
        """Whoever takes clients away lets them in again."""
        because = "clients whose load balancer stays drained find no API server"
        return [Duty(step_done("lb.admit"), "", value=True, because=because)]

    def run(self, group: Group) -> Outputs:
        """Each balancer in turn; who was out before is told, so that he stays out."""
        addresses, names = self._known(group)
        out_before: list[str] = []
        for host in group.hosts:
            found: tuple[Server, ...] = host.read(self._listed())
            _refuse_unlisted(host, found, addresses, names)
            out_before += [f"{host.name}:{one.name}" for one in found if one.out]
            if not host.read(self._drained()):
                self._drain(host, "drain")
        return {"out_before": out_before}

    def undo(self, group: Group, done: Done) -> None:
        """Let in whom this step took out, and nobody else; one balancer that fails keeps no other away."""
        apart = Apart()
        for host in group.hosts:
            if done.did("drain", host.name):
                with apart.each():
                    self._let_in(host, done)
        apart.told()

    def _let_in(self, host: Host, done: Done) -> None:
        before = done.before(self._listed(), host.name) or ()
        mine = " ".join(one.name for one in before if not one.out)
        host.change(
            "admit",
            self._sh(
                "let them in again",
                ADMIT,
                SERVERS=mine,
                ADDRESSES="",
                NAMES="",
                BUT="",
            ),
            sets={self._drained(): False},
            touches=(BALANCER,),
        )


def _refuse_unlisted(
    host: Host, found: Sequence[Server], addresses: tuple[str, ...], names: tuple[str, ...]
) -> None:
    """An API server that clients are sent to and that nobody listed would live on (hazard H3).

    One that is not checked may be a fenced host's.
    """
    strangers = [one for one in found if not one.of(addresses, names)]
    alive = [one for one in strangers if one.state.startswith("UP")]
    if alive:
        told = ", ".join(f"{one.name} ({one.address})" for one in alive)
        raise Refused(
            f"{host.name}: haproxy sends clients to {told}, which is no API server of the inventory",
            hint="add its host to the inventory, or name the backend of these API servers",
        )
    for one in strangers:
        host.note(
            f"{host.name}: {one.name} ({one.address}) is no API server of this run, and nobody knows it "
            "to be up: it stays out of the load balancer"
        )


class Admit(_Balancer):
    """Let clients in again: each API server was proved directly, the way through the balancer is now.

    Who was in maintenance before the drain stays there. Done when haproxy's own check finds every
    admitted server well, and an API server answers through the balancer's address. Undo drains again.
    """

    uses = "lb.admit"
    effect = Effect.CHANGE
    repeat = Repeat.SAFE

    but: Listed = ()
    """Servers that stay out: `out_before` of the drain."""
    vip: str = ""
    """What clients ask, as https://ADDRESS:PORT; each balancer's own address and the port when empty."""
    kubeconfig: str = "/etc/kubernetes/admin.conf"
    """A kubeconfig on the API servers' hosts; only its credentials are used."""
    tls_name: str = "kubernetes"
    """A name in the API servers' certificate."""
    within: str = "120s"
    """How long the balancer may take to find its servers well."""

    def transitions(self) -> Mapping[Fact[Any], Any]:
        """Clients find somebody."""
        return {self._drained(): False}

    def rules(self) -> Sequence[Demand]:
        """Never on the balancer's word alone (hazard H16)."""
        because = "a server that is let in before it was proved itself answers clients with errors"
        return [Rule(step_done("kube.ready"), self.servers, value=True, because=because)]

    def run(self, group: Group) -> None:
        """Let in, then ask through it from an API server's host."""
        addresses, names = self._known(group)
        for host in group.hosts:
            self._admit(host, addresses, names)
        if group.hosts:
            self._prove(group)

    def _admit(self, host: Host, addresses: tuple[str, ...], names: tuple[str, ...]) -> None:
        prefix = f"{host.name}:"
        but = tuple(one.removeprefix(prefix) for one in self.but if one.startswith(prefix))
        there = LbAdmitted(self.port, self.backend, self.socket, addresses, names, but)
        if host.read(there) is True:
            host.note(f"{host.name}: not drained any more: clients came in before they were let in")
            return
        env = {"SERVERS": "", "ADDRESSES": " ".join(addresses), "NAMES": " ".join(names)}
        host.change(
            "admit",
            self._sh("let clients in again", ADMIT, **env, BUT=" ".join(but)),
            sets={there: True, self._drained(): False},
            touches=(BALANCER,),
            repeat=Repeat.SAFE,
            within=self.within,
        )

    def _prove(self, group: Group) -> None:
        asking = group.role(self.servers)[0]
        for host in group.hosts:
            vip = self.vip or f"https://{host.address}:{self.port}"
            asking.require(
                KubeReady(self.kubeconfig, vip, self.tls_name),
                satisfies("ready", lambda said: said.ready),
                because="what clients ask is the load balancer, not the API servers",
                hint=f"look at the load balancer of {vip}; then resume",
                within=self.within,
            )

    def undo(self, group: Group, done: Done) -> None:
        """Before the API servers go back, clients must be out: of every balancer that can be told."""
        apart = Apart()
        for host in group.hosts:
            if done.did("admit", host.name):
                with apart.each():
                    self._drain(host, "drain-again")
        apart.told()
