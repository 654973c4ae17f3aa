"""Kubernetes: whose snapshot, keys and their copies, readiness, decryption, proof of being down, leases."""

from typing import Any

from drrun.spi import Fact, Step
from drrun_steps.kube import archive, facts, gone, keys, moved, origin
from drrun_steps.kube.fingerprints import Fingerprints
from drrun_steps.kube.gone import OldGone
from drrun_steps.kube.install_keys import InstallKeys
from drrun_steps.kube.manifest import SnapshotManifest
from drrun_steps.kube.masterleases import KubeMasterLeases, PruneMasterLeases
from drrun_steps.kube.moved import Moved
from drrun_steps.kube.origin import Fits, ReadOrigin
from drrun_steps.kube.save_keys import SaveKeys
from drrun_steps.kube.servers import EtcdServers
from drrun_steps.kube.steps import KubeProveDown, LeaseMoves, ReadSecret, ReadyStep
from drrun_steps.kube.verify_keys import VerifyArchive

STEPS: tuple[type[Step], ...] = (
    ReadyStep,
    ReadSecret,
    KubeProveDown,
    LeaseMoves,
    EtcdServers,
    PruneMasterLeases,
    ReadOrigin,
    Fits,
    Fingerprints,
    SaveKeys,
    VerifyArchive,
    OldGone,
    InstallKeys,
    Moved,
)
FACTS: tuple[type[Fact[Any]], ...] = (
    *facts.FACTS,
    KubeMasterLeases,
    *origin.FACTS,
    SnapshotManifest,
    *keys.FACTS,
    *archive.FACTS,
    *gone.FACTS,
    *moved.FACTS,
)
