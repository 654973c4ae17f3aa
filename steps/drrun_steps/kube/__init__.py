"""Kubernetes: whose snapshot, readiness, decryption, proof of being down, leases, certificates."""

from typing import Any

from drrun.spi import Fact, Step
from drrun_steps.kube import certificates, facts, origin, strays
from drrun_steps.kube.announced import KubeAnnounced
from drrun_steps.kube.certificates import Prove, Renew
from drrun_steps.kube.listed import AllListed
from drrun_steps.kube.masterleases import KubeMasterLeases, PruneMasterLeases
from drrun_steps.kube.nodes import KubeNodes
from drrun_steps.kube.origin import Fits, ReadOrigin
from drrun_steps.kube.servers import EtcdServers
from drrun_steps.kube.steps import KubeProveDown, LeaseMoves, ReadSecret, ReadyStep
from drrun_steps.kube.strays import MissingNodes, Phantoms
from drrun_steps.kube.webhooks import KubeWebhooks, RestoreWebhooks, Webhooks

STEPS: tuple[type[Step], ...] = (
    ReadyStep,
    ReadSecret,
    KubeProveDown,
    LeaseMoves,
    EtcdServers,
    PruneMasterLeases,
    ReadOrigin,
    Fits,
    AllListed,
    Webhooks,
    RestoreWebhooks,
    MissingNodes,
    Phantoms,
    Renew,
    Prove,
)
FACTS: tuple[type[Fact[Any]], ...] = (
    *facts.FACTS,
    KubeNodes,
    KubeMasterLeases,
    KubeAnnounced,
    *origin.FACTS,
    *certificates.FACTS,
    KubeWebhooks,
    *strays.FACTS,
)
