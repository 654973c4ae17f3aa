"""Controllers over a world of three hosts whose journals lie in real files, on a disk that breaks."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drrun.app import App
from drrun.journal.events import ChangeFinished
from drrun.model.inventory import Target
from drrun.plan.plan import Plan
from drrun.ports import Job, JobReport, Journal, Transport
from drrun.store.disk import Stamps, stamp
from drrun.store.folder import JOURNAL, FolderStore
from drrun.testing.disk import FaultyDisk
from drrun.testing.world import Answers, World, WorldLine, WorldTransport
from drrun.values import HostName
from tests.unit.engine.conftest import REGISTRY, compiled

STEPS = """
- {id: stop, hosts: members, uses: world.set, with: {key: server, to: stopped}}
- {id: wipe, hosts: "members[0]", uses: world.wipe, with: {key: store, to: new}}
- {id: start, hosts: "members[1]", uses: world.safe-set, with: {key: server, to: running}}
"""
EFFECTS = 5
"""Three steps, on three hosts, on the first and on the second: an effect each."""


@dataclass
class WatchedLine(WorldLine):
    """A line that sees each launch, before it is made."""

    seen: Callable[[HostName, Job], None]

    def launch(self, job: Job) -> JobReport:
        """Look, then launch."""
        self.seen(self.host, job)
        return super().launch(job)


@dataclass
class WatchedTransport(WorldTransport):
    """`drrun.ports.Transport` that makes such lines."""

    seen: Callable[[HostName, Job], None]

    def connect(self, target: Target) -> WatchedLine:
        """A line."""
        return WatchedLine(self.world, target.name, self.seen)


@dataclass
class Desk:
    """A run, its hosts, and the disk under its journal."""

    root: Path
    disk: FaultyDisk = field(default_factory=FaultyDisk)
    stamps: Stamps = stamp
    world: World = field(default_factory=World)
    plan: Plan = field(default_factory=lambda: compiled(STEPS))
    says: Sequence[str] = ()
    too_early: list[str] = field(default_factory=list)
    """Launches that no record on the disk had announced."""
    wrap: Callable[[Journal], Journal] = lambda journal: journal
    through: Callable[[Transport], Transport] = lambda transport: transport

    def __post_init__(self) -> None:
        """Every host's server runs."""
        for host in ("h1", "h2", "h3"):
            self.world.of(HostName(host)).update(server="running", store="old")

    @property
    def store(self) -> FolderStore:
        """Where the run lies."""
        return FolderStore(self.root, disk=self.disk, stamps=self.stamps)

    @property
    def path(self) -> Path:
        """Its journal."""
        return self.root / "r-test" / JOURNAL

    def app(self, forks: int = 1) -> App:
        """A controller."""
        return App(
            Answers(list(self.says)),
            registry=REGISTRY,
            store=self.store,
            stop=threading.Event(),
            transport=self.through(WatchedTransport(self.world, self._launched)),
            forks=forks,
            wrap=self.wrap,
        )

    def _launched(self, host: HostName, job: Job) -> None:
        if job.token.encode() not in self.disk.safe(self.path):
            self.too_early.append(f"{host} {job.token}")

    def proved(self) -> None:
        """The run is done, every effect happened once, none unannounced, and its output is there."""
        stored = self.store.load("r-test")
        assert stored.events[-1].type == "run.finished"
        ended = [event for event in stored.events if isinstance(event, ChangeFinished)]
        assert len(ended) == EFFECTS
        for event in ended:
            printed = stored.outputs.read(f"{event.token}.out", 0, 1000)
            assert hashlib.sha256(printed).hexdigest() == event.stdout
            assert len(printed) == event.out_size > 0
        assert set(self.world.effects.values()) == {1}
        assert len(self.world.effects) == EFFECTS
        assert not self.world.locks
        assert not self.too_early


@pytest.fixture(name="desk")
def _desk(tmp_path: Path) -> Desk:
    """A desk in a folder of its own."""
    return Desk(tmp_path / "runs")
