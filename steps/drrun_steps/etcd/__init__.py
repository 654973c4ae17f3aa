"""etcd: verdict, snapshots, restore, members, proofs."""

from typing import Any

from drrun.spi import Fact, Step
from drrun_steps.etcd import (
    config,
    corrupt,
    directories,
    disk,
    drill,
    expiry,
    image,
    live,
    membership,
    metrics,
    opened,
    place,
    program,
    retention,
    snapshot,
    tools,
)
from drrun_steps.etcd.aside import Aside
from drrun_steps.etcd.corrupt import CorruptProve
from drrun_steps.etcd.drill import Drill
from drrun_steps.etcd.gates import Consistent, Disarm, ProveDown
from drrun_steps.etcd.measure import Measure, Remeasure, Unmoved
from drrun_steps.etcd.member import Join, Members, Remove
from drrun_steps.etcd.preflight import Preflight
from drrun_steps.etcd.replay import Replay
from drrun_steps.etcd.restore import Install, Prepare, Same
from drrun_steps.etcd.retention import Retain
from drrun_steps.etcd.ruling import VerdictStep
from drrun_steps.etcd.save import Save
from drrun_steps.etcd.survivor import SurvivorSave
from drrun_steps.etcd.tell import Tell
from drrun_steps.etcd.upgrade import Upgrade
from drrun_steps.etcd.upkeep import Compact, Defrag, Rolling
from drrun_steps.etcd.verify import Verify

STEPS: tuple[type[Step], ...] = (
    Preflight,
    VerdictStep,
    Verify,
    Save,
    Replay,
    Retain,
    Drill,
    SurvivorSave,
    Measure,
    Remeasure,
    Unmoved,
    Prepare,
    Same,
    Install,
    ProveDown,
    Consistent,
    Disarm,
    CorruptProve,
    Members,
    Remove,
    Join,
    Tell,
    Aside,
    Defrag,
    Compact,
    Rolling,
    Upgrade,
)
FACTS: tuple[type[Fact[Any]], ...] = (
    *live.FACTS,
    *membership.FACTS,
    *corrupt.FACTS,
    drill.EtcdDrilled,
    *config.FACTS,
    *tools.FACTS,
    *expiry.FACTS,
    *image.FACTS,
    *directories.FACTS,
    *disk.FACTS,
    *metrics.FACTS,
    *opened.FACTS,
    *snapshot.FACTS,
    *place.FACTS,
    *program.FACTS,
    *retention.FACTS,
)
