"""Following one change: what a host says of a job, and what the controller does about it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from drrun.errors import Fenced
from drrun.execute.follow import Follower, Lost
from drrun.machine import SystemClock
from drrun.ports import Job, JobReport, JobState
from drrun.testing.world import World, WorldLine
from drrun.values import Digest, HostName

HOST = HostName("h1")
JOB = Job("run-1", "c-1", 1, b"exec set a 1", Digest("ab" * 32))


@dataclass
class Claiming(WorldLine):
    """A host whose launcher died after the claim. `stuck`: its disk takes no word any more."""

    stuck: bool = False
    abandoned: list[str] = field(default_factory=list)

    def launch(self, job: Job) -> JobReport:
        """Claimed, and nobody at work."""
        return self.world.jobs.setdefault(
            (self.host, job.token), JobReport(JobState.CLAIMED, self.world.boot(self.host))
        )

    def abandon(self, run: str, token: str, epoch: int) -> JobReport:
        """Noted, unless the disk is stuck."""
        self.abandoned.append(token)
        return self.poll(run, token) if self.stuck else super().abandon(run, token, epoch)


def follower(line: WorldLine) -> Follower:
    """A follower over one line."""
    stop = threading.Event()
    return Follower(HOST, lambda: line, SystemClock(stop), stop, lambda _stream, _block: None)


Begin = Callable[[Follower], JobReport]
BEGINS = pytest.mark.parametrize(
    "begin", [lambda f: f.launch(JOB), lambda f: f.attach(JOB, "boot-1")], ids=["launch", "attach"]
)


@BEGINS
def test_a_claim_that_nobody_works_on_is_abandoned(begin: Begin) -> None:
    """Sent again or found again: the host is told that it must not begin, then it surely did not."""
    line = Claiming(World(), HOST)
    line.launch(JOB)
    with pytest.raises(Lost) as lost:
        begin(follower(line))
    assert (lost.value.begun, line.abandoned) == (False, [JOB.token])


@BEGINS
def test_a_claim_that_cannot_be_abandoned_is_unknown(begin: Begin) -> None:
    """Where the host cannot note it, nobody says that the job never begins; and nobody asks on."""
    line = Claiming(World(), HOST, stuck=True)
    line.launch(JOB)
    with pytest.raises(Lost, match="cannot note") as lost:
        begin(follower(line))
    assert (lost.value.begun, line.abandoned) == (True, [JOB.token])


@pytest.mark.parametrize("state", [JobState.ABSENT, JobState.CLAIMED])
def test_after_a_reboot_a_missing_start_proves_nothing(state: JobState) -> None:
    """What was written and not forced to the disk may be lost: it may have begun."""
    line = Claiming(World(boots={HOST: "boot-2"}), HOST)
    line.world.jobs[HOST, JOB.token] = JobReport(state, "boot-2")
    with pytest.raises(Lost, match="rebooted since") as lost:
        follower(line).attach(JOB, "boot-1")
    assert lost.value.begun


def test_a_fenced_launch_tells_the_hosts_reason() -> None:
    """The host's own words reach the operator."""
    world = World()
    why = "this run does not hold the host's lock: nobody does"
    world.jobs[HOST, JOB.token] = JobReport(JobState.FENCED, "boot-1", why=why)
    with pytest.raises(Fenced, match="h1: this run does not hold"):
        follower(WorldLine(world, HOST)).launch(JOB)
