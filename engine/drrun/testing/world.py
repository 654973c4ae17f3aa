"""A small world behind the ports: hosts that hold keys and values, and count every effect.

Commands are `exec set KEY VALUE`, `exec fail`, `exec hang` (which only its timeout ends, at once),
and questions `exec get KEY`: what a step type for tests sends through the real sessions. Hosts outlive controllers: a job once claimed stays claimed.
Rule 1: the crash points of a run are the touches of the world; `fuse` blows at one of them.
"""

from __future__ import annotations

import re
import shlex
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from drrun.errors import Fenced, Refused, Unreachable
from drrun.journal.events import Event
from drrun.model.inventory import Target
from drrun.ports import Job, JobReport, JobState, Leftover, LeftoverState, Question, Sink, Tier
from drrun.values import Digest, HostName, Reply, digest

BOOT = "boot-1"
_FRAME = re.compile(rb"\(\n(.*?)\n\)\nd=\$\?; printf '\\n%s %d\\n' (\S+) \$d;", re.DOTALL)
"""One of the questions that `drrun.execute.asking` puts into one script, and its mark."""


class Crash(BaseException):
    """The controller died here. Not an Exception: nobody may tidy up."""


@dataclass
class World:
    """Every host's state, every job, every effect; shared by all controllers of a test."""

    values: dict[HostName, dict[str, str]] = field(default_factory=dict)
    jobs: dict[tuple[HostName, str], JobReport] = field(default_factory=dict)
    effects: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(host, key, value) -> how often it was really set."""
    locks: dict[HostName, tuple[str, int]] = field(default_factory=dict)
    fences: dict[tuple[HostName, str, int], str] = field(default_factory=dict)
    """(host, run, epoch) -> who holds that epoch."""
    keys: dict[HostName, str] = field(default_factory=dict)
    """Host keys that are not the usual ones."""
    boots: dict[HostName, str] = field(default_factory=dict)
    down: set[HostName] = field(default_factory=set)
    scoped: set[HostName] = field(default_factory=set)
    """Hosts where jobs outlive the session that brought them."""
    fuse: int | None = None
    touches: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)

    def touch(self) -> None:
        """One more point at which the controller may die."""
        self.touches += 1
        if self.fuse is not None and self.touches > self.fuse:
            raise Crash

    def of(self, host: HostName) -> dict[str, str]:
        """A host's keys."""
        return self.values.setdefault(host, {})

    def boot(self, host: HostName) -> str:
        """A host's boot id."""
        return self.boots.get(host, BOOT)

    def perform(self, host: HostName, script: bytes) -> Reply:
        """Do what a script says, as the host would; one that frames several questions, in turn."""
        if framed := _FRAME.findall(script):
            replies = [(self.perform(host, one), mark) for one, mark in framed]
            out = b"".join(b"%s\n%s %d\n" % (r.stdout, mark, r.exit or 0) for r, mark in replies)
            err = b"".join(b"%s\n%s\n" % (r.stderr, mark) for r, mark in replies)
            return Reply(0, out, err)
        words = shlex.split(script.decode().removeprefix("exec "))
        match words:
            case ["set", key, value]:
                self.of(host)[key] = value
                self.effects[(host, key, value)] += 1
                return Reply(0, f"{key} is {value}\n".encode(), b"")
            case ["get", key]:
                return Reply(0, self.of(host).get(key, "").encode(), b"")
            case ["hang"]:
                return Reply(143, b"", b"it hung\n")
            case ["fail", code]:
                return Reply(int(code), b"", b"no\n")
            case ["cat", "/proc/sys/kernel/random/boot_id", *_]:
                return Reply(0, self.boot(host).encode(), b"")
            case _:
                raise AssertionError(f"the world does not know {words}")


@dataclass
class WorldLine:
    """`drrun.ports.Line` to one host of the world."""

    world: World
    host: HostName

    def _alive(self) -> None:
        if self.host in self.world.down:
            raise Unreachable(f"{self.host} cannot be reached", hint="it is down in this test")

    def ask(self, script: bytes, *, timeout: float, limit: int = 4 << 20) -> Reply:
        """Answer a question."""
        del timeout, limit
        self._alive()
        with self.world.lock:
            return self.world.perform(self.host, script)

    def launch(self, job: Job) -> JobReport:
        """Perform a job whose token is new."""
        self._alive()
        with self.world.lock:
            self.world.touch()
            known = self.world.jobs.get((self.host, job.token))
            if known is None:
                held = self.world.locks.get(self.host)
                if held is not None and held[1] > job.epoch:
                    return JobReport(JobState.FENCED, self.world.boot(self.host))
                reply = self.world.perform(self.host, job.script)
                known = JobReport(
                    JobState.EXITED,
                    self.world.boot(self.host),
                    code=reply.exit,
                    out=reply.stdout,
                    err=reply.stderr,
                    out_size=len(reply.stdout),
                    err_size=len(reply.stderr),
                    timed_out=job.timeout > 0 and job.script.startswith(b"exec hang"),
                )
                self.world.jobs[(self.host, job.token)] = known
            self.world.touch()
            return known

    def poll(
        self, run: str, token: str, *, out_from: int = 0, err_from: int = 0, wait: float = 0
    ) -> JobReport:
        """What the host knows of a token."""
        del run, wait
        self._alive()
        with self.world.lock:
            known = self.world.jobs.get((self.host, token))
            if known is None:
                return JobReport(JobState.ABSENT, self.world.boot(self.host))
            return JobReport(
                known.state,
                known.boot_id,
                code=known.code,
                out=known.out[out_from:],
                err=known.err[err_from:],
                out_size=known.out_size,
                err_size=known.err_size,
                why=known.why,
                timed_out=known.timed_out,
            )

    def abandon(self, run: str, token: str, epoch: int) -> JobReport:
        """Make a claim worthless."""
        del run, epoch
        report = JobReport(JobState.ABANDONED, self.world.boot(self.host), why="abandoned")
        self.world.jobs[(self.host, token)] = report
        return report

    def kill(self, run: str, token: str, *, grace: float = 5) -> JobReport:
        """Jobs of the world end at once."""
        del grace
        return self.poll(run, token)

    def ack(self, run: str, token: str) -> None:
        """The token stays used."""
        del run, token
        self._alive()
        self.world.touch()

    def forget(self, run: str, token: str) -> None:
        """At once."""
        self.ack(run, token)

    def fence(self, run: str, epoch: int, holder: str) -> Tier:
        """Take the host's lock."""
        self._alive()
        with self.world.lock:
            held = self.world.locks.get(self.host)
            if held is not None and held[0] != run:
                raise Refused(f"{self.host} is locked by the run {held[0]} ({holder})")
            owner = self.world.fences.setdefault((self.host, run, epoch), holder)
            if owner != holder:
                raise Fenced(f"{self.host}: epoch {epoch} belongs to {owner}")
            self.world.locks[self.host] = (run, epoch)
            return Tier.SCOPE if self.host in self.world.scoped else Tier.SESSION

    def release(self, run: str, epoch: int) -> None:
        """Give it back."""
        with self.world.lock:
            self.world.touch()
            if self.world.locks.get(self.host) == (run, epoch):
                del self.world.locks[self.host]

    def sweep(self, run: str, epoch: int, *, dry: bool) -> Leftover:
        """Forget the tokens of a run that is over. The world does not know which run claimed which."""
        del epoch
        self._alive()
        with self.world.lock:
            held = self.world.locks.get(self.host)
            if held is not None and held[0] == run:
                return Leftover(LeftoverState.LOCKED, why=f"{run} {held[1]}")
            mine = [key for key in self.world.jobs if key[0] == self.host]
            if not mine:
                return Leftover(LeftoverState.ABSENT)
            if not dry:
                for key in mine:
                    del self.world.jobs[key]
            state = LeftoverState.FOUND if dry else LeftoverState.SWEPT
            return Leftover(state, jobs=len(mine), kib=8 * len(mine))

    def strays(self, *, dry: bool) -> tuple[str, ...]:
        """The world has one version."""
        del dry
        self._alive()
        return ()

    def append(self, path: str, source: BinaryIO, *, offset: int, timeout: float) -> None:
        """The world holds no files."""
        raise NotImplementedError

    def fetch(self, path: str, sink: Sink, *, offset: int = 0, timeout: float) -> None:
        """The world holds no files."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class WorldTransport:
    """`drrun.ports.Transport` to the hosts of a world."""

    world: World

    def connect(self, target: Target) -> WorldLine:
        """A line."""
        line = WorldLine(self.world, target.name)
        line._alive()  # noqa: SLF001 - its own line
        return line

    def fingerprint(self, target: Target) -> str:
        """Made from the name, unless the world says otherwise."""
        return self.world.keys.get(target.name, f"SHA256:{digest(target.name)[:43]}")

    def sign_of_life(self, target: Target, *, timeout: float) -> str:
        """A host of the world answers unless it is down."""
        del timeout
        return "" if target.name in self.world.down else "it answers"

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class MemoryOutputs:
    """`drrun.journal.outputs.Outputs` in memory."""

    files: dict[str, bytearray] = field(default_factory=dict)

    def size(self, name: str) -> int:
        """Its size."""
        return len(self.files.get(name, b""))

    def read(self, name: str, start: int, size: int) -> bytes:
        """A range of it."""
        return bytes(self.files.get(name, b"")[start : start + size])


@dataclass
class MemoryJournal:
    """`drrun.ports.Journal` in memory; every append is a point at which the controller may die."""

    world: World
    written: list[Event] = field(default_factory=list)
    outputs: MemoryOutputs = field(default_factory=MemoryOutputs)

    @property
    def head(self) -> Digest:
        """The length stands for the chain."""
        return Digest(f"{len(self.written):064d}")

    def append(self, event: Event, *, durable: bool) -> None:
        """Keep it; may die before or after."""
        del durable
        with self.world.lock:
            self.world.touch()
            self.written.append(event)
            self.world.touch()

    def sync(self) -> None:
        """Memory has no disk to wait for."""

    def events(self) -> Sequence[Event]:
        """All so far."""
        return tuple(self.written)

    def save_output(self, name: str, content: bytes) -> None:
        """Append."""
        self.outputs.files.setdefault(name, bytearray()).extend(content)

    def sync_outputs(self, names: Sequence[str]) -> None:
        """Memory has no disk to wait for."""


@dataclass
class Answers:
    """`drrun.ports.Prompt` that says what the test says; absent when it has nothing to say."""

    says: list[str] = field(default_factory=list)
    asked: list[Question] = field(default_factory=list)

    @property
    def present(self) -> bool:
        """Whether there is a next answer."""
        return bool(self.says)

    def ask(self, question: Question) -> str:
        """The next answer."""
        self.asked.append(question)
        return self.says.pop(0)

    @property
    def who(self) -> str:
        """Who answers."""
        return "tester"


@dataclass
class StillClock:
    """`drrun.ports.Clock` that moves only when somebody waits."""

    time: float = 1_800_000_000.0

    def now(self) -> float:
        """The time."""
        return self.time

    def monotonic(self) -> float:
        """The same time."""
        return self.time

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.time += seconds


__all__ = [
    "Answers",
    "Crash",
    "MemoryJournal",
    "MemoryOutputs",
    "StillClock",
    "World",
    "WorldLine",
    "WorldTransport",
]
