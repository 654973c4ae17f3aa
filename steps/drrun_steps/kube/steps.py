"""Proofs about the Kubernetes control plane. All of them only read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from drrun.spi import (
    Demand,
    Effect,
    FactRef,
    Flag,
    Host,
    HostStep,
    NotKnown,
    Outputs,
    Question,
    Repeat,
    Rule,
    Where,
    satisfies,
)
from drrun_steps.fields import Listed, Numbers
from drrun_steps.host import NOTHING, HostBusy, HostOutsiders
from drrun_steps.kube.ability import can_ask
from drrun_steps.kube.api import ApiStep
from drrun_steps.kube.facts import KubeLease, KubeReady, KubeSecrets
from drrun_steps.service.facts import ServiceHeld, ServiceReady, ServiceState


class _Api(ApiStep):
    """What is waited for."""

    within: str = "120s"
    """How long it may take."""


class ReadyStep(_Api):
    """Prove that this host's own API server is ready, its connection to etcd included."""

    uses = "kube.ready"
    effect = Effect.READ
    repeat = Repeat.SAFE

    def questions(self, at: Where) -> Sequence[Question]:
        """Whether it can be asked at all, and says now, where it works, what will be waited for."""
        del at
        return [
            can_ask(self.kubeconfig),
            Question(
                "ready:kube.ready",
                KubeReady(self.kubeconfig, self.server, self.tls_name),
                must=satisfies("ready", lambda said: said.ready),
                because="the API server works, and is not found ready as it will be asked in the outage",
                hint="see its /readyz?verbose, its port and the kubeconfig",
                up=[
                    (ServiceReady(self.service), True),
                    (FactRef("etcd.healthy"), True),
                ],
            ),
        ]

    def run(self, host: Host) -> None:
        """One read, waited for."""
        host.require(
            KubeReady(self.kubeconfig, self.server, self.tls_name),
            satisfies("ready", lambda said: said.ready),
            because="an API server that cannot reach etcd serves nothing",
            hint=f"see `journalctl -u kube-apiserver` on {host.name}",
            within=self.within,
        )


class ReadSecret(_Api):
    """List all Secrets and read one: proves that the encryption keys are the snapshot's.

    Their data never leaves the host: only counts are printed and journaled.
    """

    uses = "kube.read_secret"
    effect = Effect.READ
    repeat = Repeat.SAFE
    outputs = ("secrets",)

    allow_none: Flag = True
    """Whether a cluster without any Secret passes: since 1.24 there may be none."""

    def questions(self, at: Where) -> Sequence[Question]:
        """Whether kubectl and the kubeconfig are there."""
        del at
        return [can_ask(self.kubeconfig)]

    def run(self, host: Host) -> Outputs:
        """One read, waited for."""
        said: Any = host.require(
            KubeSecrets(self.kubeconfig, self.server, self.tls_name),
            satisfies(
                "readable",
                lambda s: not s.why and (s.read or (self.allow_none and s.listed == 0)),
            ),
            because="Secrets that cannot be decrypted mean that the encryption keys on the hosts "
            "are not those of the snapshot",
            hint="put the encryption configuration of the time of the snapshot back on every "
            "host, then restart this API server",
            within=self.within,
        )
        if not isinstance(said, NotKnown) and said.listed == 0:
            host.note("there is no Secret: that the encryption keys fit is not proved")
        return {"secrets": said.listed}


class KubeProveDown(HostStep):
    """Prove that programs are down on this host, and that nobody talks to etcd here.

    No process of that name, no listener on their ports, no established connection to etcd's
    client port but etcd's own, and their units held. Retries, then fails with pid, port or peer:
    an API server that nobody knew of shows up here (hazard H3).
    """

    uses = "kube.prove_down"
    effect = Effect.READ
    repeat = Repeat.SAFE

    services: Listed = ("kube-apiserver",)
    """Programs, and units of the same names, that must be down."""
    ports: Numbers = (6443,)
    """Ports that nobody may listen on."""
    clients_of: Numbers = (2379,)
    """Ports that nobody but etcd may be connected to."""
    held: Flag = True
    """Whether the units must be held stopped as well."""
    within: str = "45s"
    """How long to wait for it."""

    def rules(self) -> Sequence[Demand]:
        """After the stops that hold them, where they must be held: before, it proves nothing."""
        because = "what is proved to be down before it is stopped was down by luck"
        states = [ServiceState(service).ref for service in self.services if self.held]
        return [Rule(state, "", "stopped", because, live=False) for state in states]

    def questions(self, at: Where) -> Sequence[Question]:
        """Whether anybody stands in the way who is not stopped: another client of etcd, a balancer on the port."""
        if not self.clients_of:  # a second proof of what the first one asked about
            return []
        return [
            Question(
                "outsiders",
                HostOutsiders(self.services, self.ports, self.clients_of),
                must=NOTHING,
                because="the proof that nothing of the control plane runs would fail in the outage",
                hint=f"a client of etcd on {at.name}: stop it, or name its unit with -e writers=UNIT; a balancer: "
                "name the API server's own port in `ports` of the steps kube.prove_down",
                mended=True,
            )
        ]

    def run(self, host: Host) -> None:
        """State, hold, then processes and sockets."""
        because = "an API server that lives on during a restore writes back what it has cached"
        for service in self.services:
            state = host.read(ServiceState(service))
            if state == "missing":
                continue
            host.require(ServiceState(service), "stopped", because=because, within=self.within)
            if self.held:
                host.require(
                    ServiceHeld(service),
                    True,
                    because="a reboot or a colleague would start it in the middle of the restore",
                    hint="stop it with service.stop, which holds it",
                )
        host.require(
            HostBusy(self.services, self.ports, self.clients_of),
            NOTHING,
            because=because,
            hint="stop what is named; an address that is not in the inventory is a client or an "
            "API server that nobody listed: add its host, or cut it off from etcd",
            within=self.within,
        )


class LeaseMoves(_Api):
    """Prove that a component works: its lease is renewed between two readings.

    After a restore the old holder's lease must expire first: allow 15 s and more.
    """

    uses = "kube.lease_moves"
    effect = Effect.READ
    repeat = Repeat.SAFE

    components: Listed = ("kube-controller-manager", "kube-scheduler")
    """Names of Leases in kube-system."""

    def questions(self, at: Where) -> Sequence[Question]:
        """Whether kubectl and the kubeconfig are there."""
        del at
        return [can_ask(self.kubeconfig)]

    def run(self, host: Host) -> None:
        """Read it, then wait for another answer."""
        for component in self.components:
            fact = KubeLease(component, self.kubeconfig, self.server, self.tls_name)
            before = host.read(fact)
            host.require(
                fact,
                satisfies("renewed", lambda now, before=before: bool(now) and now != before),  # type: ignore[misc]
                because=f"{component} is up, but does nothing: nobody renews its lease",
                hint=f"see `journalctl -u {component}` on the control-plane hosts",
                within=self.within,
            )
