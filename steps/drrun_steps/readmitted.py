"""The last word on a host that had been fenced: it takes part again, and nothing holds it back.

A run that ends well behind this step is what readmits a host: reports of the runs that went without
it stop asking for it. Source: hazard H8.
"""

from __future__ import annotations

from drrun.spi import Effect, Host, HostStep, Refused, Repeat
from drrun_steps.fields import Listed
from drrun_steps.service.facts import ServiceHeld, ServiceReady, ServiceState


class Readmit(HostStep):
    """Prove that a host that had been fenced takes part again: its services run, and none is held.

    Services that the host has not are passed over. A host with none of them is refused: there is
    nothing that it could take part in.
    """

    uses = "host.readmit"
    effect = Effect.READ
    repeat = Repeat.SAFE

    services: Listed = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
    """Units or static pods of a member of the control plane."""
    within: str = "60s"
    """How long it may take."""

    def run(self, host: Host) -> None:
        """Each service in turn."""
        there = [s for s in self.services if host.read(ServiceState(s)) != "missing"]
        if not there:
            raise Refused(
                f"{host.name} has none of {', '.join(self.services)}",
                hint="name the services that make it a part of the cluster",
            )
        for service in there:
            host.require(
                ServiceHeld(service),
                False,
                because="what is held stopped is down again after the next boot",
                hint=f"service.start lifts the hold of {service}",
            )
            host.require(
                ServiceReady(service),
                True,
                because="a host whose services do not run has not come back",
                hint=f"see `journalctl -u {service}` on {host.name}",
                within=self.within,
            )
