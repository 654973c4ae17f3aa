"""What a start, or a restart, will wait for: the service's readiness, asked while it still runs.

A readiness that is asked in a way that cannot succeed (a probe whose port has a name, a certificate
without the address that is asked) is false on a sound cluster, too; in the outage it is waited for in vain.
Rule: a service that is rightly not ready is no fault here. Each has another source that says that it is
well, and is asked only then: a member without a quorum, or a scheduler without an API server, is down.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from drrun.spi import FactRef, Question, Where, satisfies
from drrun_steps.service.certificates import ServiceExpired
from drrun_steps.service.facts import ServiceReady, ServiceState
from drrun_steps.service.units import unit

_SERVED = FactRef("kube.serves")
_SOURCES: Mapping[str, tuple[FactRef, ...]] = {
    "kube-apiserver": (_SERVED,),
    "kube-controller-manager": (_SERVED,),
    "kube-scheduler": (_SERVED,),
}
"""Service -> what says, beside its own probe, that it has all that it needs."""
WAIT_FOR_OTHERS = frozenset({"kube-controller-manager", "kube-scheduler"})
"""Services that are not ready before an API server is (kubeadm since 1.32 probes a scheduler so)."""


def readiness(service: str, at: Where) -> Sequence[Question]:
    """Whether the readiness that will be waited for holds now, where another source says that it must."""
    sources = _SOURCES.get(service) or ((_healthy(service, at),) if service == "etcd" else ())
    if not sources:
        return ()
    return [
        _valid(service, at),
        Question(
            f"ready:{service}",
            ServiceReady(service),
            must=True,
            because=f"{service} works, and its readiness says that it does not: a start of it would be waited for "
            "in vain",
            hint=f"see how {unit(service)} is probed on {at.name}: the readiness or liveness probe of its manifest, or "
            "the Type of its unit",
            up=[(ServiceState(service), "running"), *((source, True) for source in sources)],
        ),
    ]


def _valid(service: str, at: Where) -> Question:
    """A process that lives on works with what it has read; the next one reads its files, and dies of them.

    Source: kops#12620: an API server whose client certificate for etcd had expired ran until it was restarted.
    """
    return Question(
        f"certificates:{service}",
        ServiceExpired(service),
        must=satisfies("none", lambda found: not found),
        because=f"{service} would be started with a certificate that has expired",
        hint=f"renew the certificates of {service} on {at.name}, with kube-certs-renew or by hand",
        mended=True,
    )


def _healthy(service: str, at: Where) -> FactRef:
    """A linearizable read, with what the inventory says of how etcd is reached."""
    names = {"endpoint": "endpoint", "cacert": "cacert", "cert": "cert", "key": "key_file"}
    said = {to: str(at.vars.get(f"etcd_{name}", "")) for name, to in names.items()}
    return FactRef("etcd.healthy", {"service": service} | {k: v for k, v in said.items() if v})
