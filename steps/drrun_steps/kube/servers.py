"""The step that tells API servers which members of etcd there are, one server at a time."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from drrun.spi import CHANGED, Done, Effect, Fact, Flag, Host, HostStep, Repeat, satisfies
from drrun_steps.fields import Listed
from drrun_steps.kube.facts import KubeReady
from drrun_steps.service.dead_end import ServiceDeadEnd
from drrun_steps.service.facts import ServiceInstance, ServiceReady, ServiceState
from drrun_steps.service.flags import ServiceFlag, put_back, set_flag
from drrun_steps.service.steps import expect_ready, restart
from drrun_steps.service.units import unit

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""How kubeadm's API servers name the member on their own host."""


class EtcdServers(HostStep):
    """Set `--etcd-servers` of this host's API server, restart it, and prove that it is ready.

    The member of the host itself comes first. Use `order: serial`, so that the load balancer
    always has somebody to send clients to. A server that knows just these members is left alone; without
    `complete` also one that knows nobody else, as its own member alone by kubeadm's loopback address.
    With `restart: false` one that is stopped is told, and starts with it later.
    """

    uses = "kube.etcd_servers"
    effect = Effect.CHANGE
    repeat = Repeat.CHECK

    endpoints: Listed
    """Client URLs of the members, from etcd.member.join or etcd.member.remove."""
    complete: Flag = True
    """Whether the server must know all of them; false where it only must not know others."""
    restart: Flag = True
    """Whether the server is restarted and proved; false for one that is stopped."""
    service: str = "kube-apiserver"
    """The API server's unit."""
    kubeconfig: str = "/etc/kubernetes/admin.conf"
    """A kubeconfig on the host; only its credentials are used."""
    within: str = "120s"
    """How long it may take until it is ready again."""

    def checkable(self) -> bool:
        """The flag, and the instance's id, say whether they were set and restarted."""
        return True

    def run(self, host: Host) -> None:
        """One flag, one restart, one proof."""
        flag = ServiceFlag(self.service, "etcd-servers")
        wanted = ",".join(
            sorted(self.endpoints, key=lambda url: urlsplit(url).hostname != host.address)
        )
        if self._fits(host.read(flag), host.address):
            whom = "these members" if self.complete else "no other member"
            host.note(f"{host.name}: the API server knows {whom} already")
            return
        host.change(
            "set", set_flag(flag, wanted, host.run), sets={flag: (wanted,)}, repeat=Repeat.SAFE
        )
        if not self.restart:
            return
        self._restart(host, "restart")
        host.require(
            KubeReady(self.kubeconfig),
            satisfies("ready", lambda now: now.ready),
            because="the next API server must not be restarted while this one serves nothing",
            hint=f"see `journalctl -u {unit(self.service)}` on {host.name}; undo puts the flag back",
            within=self.within,
        )

    def _fits(self, said: tuple[str, ...], own: str) -> bool:
        known, meant = set(said[0].split(",") if len(said) == 1 else ()), set(self.endpoints)
        if self.complete or not known or own not in {urlsplit(url).hostname for url in meant}:
            return known == meant
        return {url for url in known if urlsplit(url).hostname not in _LOOPBACK} <= meant

    def _restart(self, host: Host, name: str, *, ready: bool = True) -> None:
        up: dict[Fact[Any], Any] = {ServiceReady(self.service): True} if ready else {}
        host.change(
            name,
            restart(self.service),
            sets={
                ServiceInstance(self.service): CHANGED,
                ServiceState(self.service): "running",
                **up,
            },
            touches=(f"@{self.service}",),
            within=self.within,
            hopeless=ServiceDeadEnd(self.service),
        )

    def undo(self, host: Host, done: Done) -> None:
        """Put the old flag back, and restart if this step restarted it."""
        flag = ServiceFlag(self.service, "etcd-servers")
        if done.did("set", host.name):
            host.change("put-back", put_back(flag, host.run), sets={flag: done.before(flag)})
        if done.did("restart", host.name):
            self._restart(host, "restart-back", ready=False)
            expect_ready(host, self.service, self.within)
