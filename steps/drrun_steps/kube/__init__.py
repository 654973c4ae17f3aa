"""Kubernetes: whose snapshot, readiness, decryption, proof of being down, leases, certificates."""

from typing import Any

from drrun.spi import Fact, Step
from drrun_steps.kube import certificates, facts, origin
from drrun_steps.kube.certificates import Prove, Renew
from drrun_steps.kube.masterleases import KubeMasterLeases, PruneMasterLeases
from drrun_steps.kube.origin import Fits, ReadOrigin
from drrun_steps.kube.servers import EtcdServers
from drrun_steps.kube.steps import KubeProveDown, LeaseMoves, ReadSecret, ReadyStep

STEPS: tuple[type[Step], ...] = (
    ReadyStep,
    ReadSecret,
    KubeProveDown,
    LeaseMoves,
    EtcdServers,
    PruneMasterLeases,
    ReadOrigin,
    Fits,
    Renew,
    Prove,
)
FACTS: tuple[type[Fact[Any]], ...] = (
    *facts.FACTS,
    KubeMasterLeases,
    *origin.FACTS,
    *certificates.FACTS,
)
