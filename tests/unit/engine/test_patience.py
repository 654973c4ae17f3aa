"""A host that falls silent in the middle of a run is asked again for a while, and told about."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from drrun.errors import HostKeyError, Unreachable
from drrun.execute.follow import UNREACHED, Detached
from drrun.execute.hosts import Hosts
from drrun.execute.patience import Patience, PatientLine
from drrun.journal.events import Event, HostHeard, HostSilent, UnitFinished
from drrun.ports import Line
from drrun.testing.world import StillClock, World, WorldLine, WorldTransport
from drrun.values import HostName, Outcome, Reply

from .conftest import Bench

HOST = HostName("h1")
GET = b"exec get server"


@dataclass
class Failing(WorldLine):
    """A host that raises these errors first, then answers."""

    errors: list[Exception] = field(default_factory=list)
    asked: int = 0

    def ask(self, script: bytes, *, timeout: float, limit: int = 4 << 20) -> Reply:
        """The next error, or the answer."""
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        return super().ask(script, timeout=timeout, limit=limit)


@dataclass
class Told:
    """A patience with a clock that moves when it waits, and what it told."""

    clock: StillClock = field(default_factory=StillClock)
    stop: threading.Event = field(default_factory=threading.Event)
    events: list[Event] = field(default_factory=list)

    @property
    def patience(self) -> Patience:
        """The patience."""
        return Patience(self.clock, self.stop, self.events.append)


def broken(times: int) -> list[Exception]:
    """A line that breaks so often."""
    return [Unreachable("h1: the line broke", hint="whatever") for _ in range(times)]


def test_a_question_is_asked_again_until_it_is_answered() -> None:
    """The answer comes as if nothing had been; silence and return are told once each."""
    told, world = Told(), World(values={HOST: {"server": "stopped"}})
    host = Failing(world, HOST, errors=broken(4))
    line = PatientLine(host, told.patience)
    assert line.ask(GET, timeout=5).text == "stopped"
    assert host.asked == 5
    silent, heard = told.events
    assert silent == HostSilent(host=HOST, why="h1: the line broke", patience=UNREACHED)
    assert isinstance(heard, HostHeard)
    assert heard.seconds == pytest.approx(0.2 + 0.4 + 0.8 + 1.6)


def test_patience_ends() -> None:
    """After three minutes the error is what it was; nobody is told that the host is back."""
    told = Told()
    line = PatientLine(Failing(World(), HOST, errors=broken(1000)), told.patience)
    began = told.clock.time
    with pytest.raises(Unreachable, match="the line broke"):
        line.ask(GET, timeout=5)
    assert UNREACHED < told.clock.time - began < UNREACHED + 6
    assert [type(event) for event in told.events] == [HostSilent]


def test_another_machine_is_not_asked_twice() -> None:
    """A changed host key ends it at once: whoever answers there is somebody else."""
    told = Told()
    host = Failing(World(), HOST, errors=[HostKeyError("h1: its host key changed")])
    with pytest.raises(HostKeyError):
        PatientLine(host, told.patience).ask(GET, timeout=5)
    assert host.asked == 1


def test_whoever_is_asked_to_leave_does_not_wait() -> None:
    """^C while a host is silent: the run detaches."""
    told = Told()
    told.stop.set()
    with pytest.raises(Detached):
        PatientLine(Failing(World(), HOST, errors=broken(9)), told.patience).ask(GET, timeout=5)


def test_silence_is_told_whatever_breaks_and_once_for_all_who_notice() -> None:
    """A poll is not repeated here, since its follower does that; the screen hears of it all the same."""
    told, world = Told(), World(down={HOST})
    patience = told.patience
    line = PatientLine(WorldLine(world, HOST), patience)
    for _ in range(3):
        with pytest.raises(Unreachable):
            line.poll("run-1", "c-1")
    world.down.clear()
    line.poll("run-1", "c-1")
    line.poll("run-1", "c-1")
    assert [type(event) for event in told.events] == [HostSilent, HostHeard]


def test_a_copy_goes_on_after_a_break(bench: Callable[..., Bench]) -> None:
    """It is begun anew, and asks the host how far it had come; a dry-run does everything once."""
    made = bench("- {id: one, hosts: members, uses: world.set, with: {key: k, to: v}}")
    hosts, told, breaks = Hosts(made.plan, WorldTransport(made.world)), Told(), broken(2)

    def copy(line: Line) -> str:
        if breaks:
            raise breaks.pop()
        return f"copied to {line.host}"

    with pytest.raises(Unreachable):
        hosts.patiently(HOST, copy)
    hosts.patience = told.patience
    assert hosts.patiently(HOST, copy) == "copied to h1"
    assert [type(event) for event in told.events] == [HostSilent, HostHeard]


def test_a_run_rides_a_silence_out(bench: Callable[..., Bench]) -> None:
    """A host goes away between two steps and comes back: done, and the journal tells of it."""

    @dataclass
    class Returning(StillClock):
        """The host is back after a while."""

        world: World = field(default_factory=World)

        def wait(self, seconds: float) -> None:
            super().wait(seconds)
            if self.time > 1_800_000_030:
                self.world.down.clear()

    made = bench(
        """
        - id: one
          hosts: members
          uses: world.set
          with: {key: server, to: stopped}
        """
    )
    made.clock = Returning(world=made.world)
    made.before_attach = lambda recorder: made.world.down.add(HostName("h2"))
    assert made.drive().status == "done"
    assert [type(e) for e in made.of(HostSilent) + made.of(HostHeard)] == [HostSilent, HostHeard]
    ended = [e.outcome for e in made.of(UnitFinished) if isinstance(e, UnitFinished)]
    assert ended == [Outcome.CHANGED] * 3
