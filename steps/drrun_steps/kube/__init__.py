"""Kubernetes: whose snapshot, keys and their copies, readiness, decryption, certificates, proof of being down."""

from typing import Any

from drrun.spi import Fact, Step
from drrun_steps.kube import (
    ability,
    archive,
    archived,
    certificates,
    facts,
    gone,
    holds,
    keys,
    machine,
    mark_nodes,
    origin,
    quarantine,
    strays,
    workloads,
)
from drrun_steps.kube.aggregated import KubeAggregatedLost
from drrun_steps.kube.announced import KubeAnnounced
from drrun_steps.kube.certificates import Prove, Renew
from drrun_steps.kube.fingerprints import Fingerprints
from drrun_steps.kube.gone import OldGone
from drrun_steps.kube.holds import Holds
from drrun_steps.kube.install_keys import InstallKeys
from drrun_steps.kube.lay_pods import LayPods
from drrun_steps.kube.listed import AllListed
from drrun_steps.kube.manifest import SnapshotManifest
from drrun_steps.kube.mark_nodes import MarkNodes
from drrun_steps.kube.masterleases import KubeMasterLeases, PruneMasterLeases
from drrun_steps.kube.moved import Moved
from drrun_steps.kube.nodes import KubeNodes
from drrun_steps.kube.origin import Fits, ReadOrigin
from drrun_steps.kube.orphans import KubeOrphans
from drrun_steps.kube.outlook import Outlook
from drrun_steps.kube.pausing import PauseWorkloads, ResumeWorkloads
from drrun_steps.kube.plan_pods import PlanPods
from drrun_steps.kube.quarantine import Close, Open
from drrun_steps.kube.save_keys import SaveKeys
from drrun_steps.kube.servers import EtcdServers
from drrun_steps.kube.steps import KubeProveDown, LeaseMoves, ReadSecret, ReadyStep
from drrun_steps.kube.strays import MissingNodes, Phantoms
from drrun_steps.kube.verify_keys import VerifyArchive
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
    Holds,
    AllListed,
    Outlook,
    Webhooks,
    RestoreWebhooks,
    Close,
    Open,
    PauseWorkloads,
    ResumeWorkloads,
    MissingNodes,
    Phantoms,
    Renew,
    Prove,
    Fingerprints,
    SaveKeys,
    VerifyArchive,
    OldGone,
    PlanPods,
    LayPods,
    InstallKeys,
    MarkNodes,
    Moved,
)
FACTS: tuple[type[Fact[Any]], ...] = (
    *ability.FACTS,
    *facts.FACTS,
    KubeNodes,
    KubeMasterLeases,
    KubeAnnounced,
    *origin.FACTS,
    *certificates.FACTS,
    KubeWebhooks,
    KubeAggregatedLost,
    KubeOrphans,
    *strays.FACTS,
    SnapshotManifest,
    *keys.FACTS,
    *archive.FACTS,
    *archived.FACTS,
    *machine.FACTS,
    *mark_nodes.FACTS,
    *gone.FACTS,
    *quarantine.FACTS,
    *holds.FACTS,
    *workloads.FACTS,
)
