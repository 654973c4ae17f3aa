"""A world of hosts behind the ports, and a way to compile and drive runbooks over it."""

from __future__ import annotations

import textwrap
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from drrun.execute.absence import added, reach, record_fenced
from drrun.execute.asking import ask_facts
from drrun.execute.decide import Finish
from drrun.execute.drive import Driver
from drrun.execute.dry import Dry, Forecast
from drrun.execute.hosts import Hosts
from drrun.execute.recorder import Recorder
from drrun.journal.events import Event, RunAttached
from drrun.journal.state import RunState
from drrun.lang.inventory import load_inventory
from drrun.lang.load import load_runbook
from drrun.model.fencing import Fencing, names
from drrun.plan.bind import bind
from drrun.plan.compile import compile_plan
from drrun.plan.plan import Plan
from drrun.ports import Chance, Clock
from drrun.registry import GROUP, Registry
from drrun.testing.world import Answers, MemoryJournal, StillClock, World, WorldTransport
from drrun.values import HostName, RunId

INVENTORY = """
drrun_inventory: 1
name: test
hosts:
  h[1-3]:
groups:
  members: [h1, h2, h3]
"""

HEAD = """
drrun: 1
name: test
title: A test
roles:
  members: {min: 1}
"""

REGISTRY = Registry(
    [
        EntryPoint("world", "drrun.testing.steps", GROUP),
        EntryPoint("member", "tests.unit.engine.members", GROUP),
        EntryPoint("odd", "tests.unit.engine.odd_steps", GROUP),
    ]
)


def compiled(
    steps: str,
    head: str = HEAD,
    inputs: Mapping[str, str] | None = None,
    limit: frozenset[HostName] | None = None,
    fenced: Sequence[Fencing] = (),
) -> Plan:
    """The plan of a runbook's steps over three hosts."""
    text = head + "steps:\n" + textwrap.indent(textwrap.dedent(steps).strip("\n"), "  ") + "\n"
    loaded = load_runbook(Path("test.yaml"), text)
    inventory = load_inventory(Path("inventory.yaml"), INVENTORY)
    binding = bind(loaded, inventory, inputs or {}, limit=limit, fenced=fenced)
    return compile_plan(loaded, inventory, binding, REGISTRY, run=RunId("r-test"), versions={}).plan


@dataclass
class Bench:
    """A plan, a world and a journal, with any number of controllers one after the other."""

    plan: Plan
    world: World = field(default_factory=World)
    answers: Answers = field(default_factory=Answers)
    journal: MemoryJournal = field(init=False)
    forks: int = 1
    clock: Clock = field(default_factory=StillClock)
    before_attach: Callable[[Recorder], None] = lambda _recorder: None
    registry: Registry = REGISTRY
    chance: Chance | None = None

    def __post_init__(self) -> None:
        """The journal dies with the world's fuse."""
        self.journal = MemoryJournal(self.world)

    def drive(self, fenced: Sequence[Fencing] = ()) -> Finish:
        """One controller, from where the journal stands; hosts may be fenced from now on."""
        state = RunState.of(self.plan, self.journal.events())
        recorder = Recorder(self.journal, state)
        hosts = Hosts(self.plan, WorldTransport(self.world))
        new = added(state, fenced)
        reach(hosts, {*state.fenced, *names(new)})
        record_fenced(recorder, new if state.epoch else (*self.plan.fenced, *new))
        epoch = state.epoch + 1
        hosts.fence(epoch, "tester")
        recorder.record(RunAttached(epoch=epoch, operator="t", controller="t", pid=1, version="0"))
        self.before_attach(recorder)
        driver = Driver(
            recorder,
            hosts,
            self.registry,
            self.clock,
            self.answers,
            self.forks,
            threading.Event(),
            chance=self.chance,
        )
        return driver.drive()

    def forecast(self) -> Forecast:
        """The dry-run over the world as it is."""
        hosts = Hosts(self.plan, WorldTransport(self.world))
        reach(hosts, names(self.plan.fenced))
        return Dry(
            self.plan,
            self.registry,
            lambda host, facts: ask_facts(hosts.line(host), facts),
            unreached=hosts.unreached,
        ).forecast()

    def of(self, kind: type[Event]) -> list[Event]:
        """The journal's events of one kind."""
        return [event for event in self.journal.written if isinstance(event, kind)]

    @property
    def state(self) -> RunState:
        """Where the run stands."""
        return RunState.of(self.plan, self.journal.events())


@pytest.fixture(name="bench")
def _bench() -> Callable[..., Bench]:
    """Make a bench from a runbook's steps."""

    def make(steps: str, **more: object) -> Bench:
        return Bench(compiled(steps), **more)  # type: ignore[arg-type]

    return make
