"""What the engine asks of the world: hosts, disk, time, people. Adapters implement these.

Rule 1: a port raises only errors of drrun.errors; foreign exceptions end at the adapter.
Rule 2: nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO, Protocol

from drrun.journal.events import Event
from drrun.journal.outputs import Outputs
from drrun.model.inventory import Target
from drrun.values import Digest, HostName, Reply

Sink = Callable[[bytes], None]


class JobState(StrEnum):
    """What a host says of a job. LOST, CLAIMED and ABSENT are evidence, not verdicts."""

    ABSENT = "absent"
    CLAIMED = "claimed"
    RUNNING = "running"
    ORPHAN = "orphan"
    EXITED = "exited"
    LOST = "lost"
    ABANDONED = "abandoned"
    FENCED = "fenced"
    CANNOT_CLAIM = "cannot-claim"


@dataclass(frozen=True, slots=True)
class Job:
    """A change on its way to a host.

    `token` is `c-` + 20 hex, unique per (run, unit, change, attempt): the host refuses to run
    one token twice. `script` is what /bin/sh runs. `witness` is the head of the journal's chain,
    kept by the host. `timeout` is in seconds; 0 is none. `wait`: seconds that its launch may wait
    for its end, so that a short job needs no poll. `durable` waits for the host's disk.
    """

    run: str
    token: str
    epoch: int
    script: bytes
    witness: Digest
    timeout: float = 0
    durable: bool = True
    wait: float = 0


@dataclass(frozen=True, slots=True)
class JobReport:
    """A host's answer about one job. `out` and `err` begin at the offsets that were asked for.

    `code` is set for EXITED (128 + n when a signal ended it). `why` explains LOST, ABANDONED and
    CANNOT_CLAIM. `boot_id` is the host's present one. `out_size`, `err_size` are the full sizes
    kept on the host; `out_cut`, `err_cut` say that the command printed more than that.
    """

    state: JobState
    boot_id: str
    code: int | None = None
    why: str = ""
    out: bytes = b""
    err: bytes = b""
    out_size: int = 0
    err_size: int = 0
    out_cut: bool = False
    err_cut: bool = False
    timed_out: bool = False


class Tier(StrEnum):
    """What a host's jobs outlive: the line alone, or also the session and sshd's own control group."""

    SESSION = "session"
    SCOPE = "scope"


class LeftoverState(StrEnum):
    """What a host says when it is asked to forget a run."""

    ABSENT = "absent"
    FOUND = "found"
    SWEPT = "swept"
    LOCKED = "locked"
    FENCED = "fenced"
    BUSY = "busy"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Leftover:
    """What a run left on a host: so many jobs' folders, so many KiB; or `why` they stay."""

    state: LeftoverState
    jobs: int = 0
    kib: int = 0
    why: str = ""


class Line(Protocol):
    """One open connection to one host, already acting as the user that the target asks for.

    Every method raises Unreachable when the line breaks or its deadline passes; then nothing is
    known of what was sent, and the caller must ask again on a new line.
    """

    @property
    def host(self) -> HostName:
        """The host's name in the inventory."""
        ...

    def ask(self, script: bytes, *, timeout: float, limit: int = 4 << 20) -> Reply:
        """Run a read-only script (over stdin) to its end; keep at most `limit` bytes a stream."""
        ...

    def launch(self, job: Job) -> JobReport:
        """Claim the job on the host and start it; on a token already claimed, only report it."""
        ...

    def poll(
        self, run: str, token: str, *, out_from: int = 0, err_from: int = 0, wait: float = 0
    ) -> JobReport:
        """The job's state and its new output; blocks up to `wait` seconds while it runs."""
        ...

    def abandon(self, run: str, token: str, epoch: int) -> JobReport:
        """Make sure that a job which is only claimed can never begin."""
        ...

    def kill(self, run: str, token: str, *, grace: float = 5) -> JobReport:
        """End the job's process group, on an identity match only: TERM, then KILL."""
        ...

    def ack(self, run: str, token: str) -> None:
        """Empty the job's folder but keep its claim and exit: the token stays used."""
        ...

    def forget(self, run: str, token: str) -> None:
        """As `ack`, some time before `release` ends: a job that is not emptied costs only space."""
        ...

    def fence(self, run: str, epoch: int, holder: str) -> Tier:
        """Raise the epoch and take the host's lock; returns how the host keeps jobs apart.

        Raises Fenced, Refused (lock) or StepFailed.
        """
        ...

    def release(self, run: str, epoch: int) -> None:
        """Give the host's lock back."""
        ...

    def sweep(self, run: str, epoch: int, *, dry: bool) -> Leftover:
        """Forget a run that is over: its claims, exits and chain heads. `dry` only looks."""
        ...

    def strays(self, *, dry: bool) -> tuple[str, ...]:
        """Remove, or name, what other versions left for supervisors that are no more."""
        ...

    def append(self, path: str, source: BinaryIO, *, offset: int, timeout: float) -> None:
        """Write the rest of `source` into the root-only file `path` from byte `offset` on."""
        ...

    def fetch(self, path: str, sink: Sink, *, offset: int = 0, timeout: float) -> None:
        """Stream a remote file's bytes from `offset` into `sink`."""
        ...

    def close(self) -> None:
        """Let go of the host. Jobs go on."""
        ...


class Transport(Protocol):
    """Opens lines. Safe to call from many threads."""

    def connect(self, target: Target) -> Line:
        """Open a line. Raises ConnectError's kinds, each naming the host and the next move."""
        ...

    def fingerprint(self, target: Target) -> str:
        """The host key that a connection must show (SHA256:…), without connecting."""
        ...

    def sign_of_life(self, target: Target, *, timeout: float) -> str:
        """How anything answers at the host's address, in words; empty when nothing does.

        Asks nothing and logs in nowhere. Raises ConnectError when it cannot be found out from
        here: a jump host that does not answer.
        """
        ...

    def close(self) -> None:
        """Close every line."""
        ...


class Clock(Protocol):
    """Time, and waiting for a condition."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    def wait(self, seconds: float) -> None:
        """Give way for up to `seconds`; returns early, raising Interrupted, when asked to stop."""
        ...


class Chance(Protocol):
    """Randomness: where many must not act at the same moment."""

    def fraction(self) -> float:
        """A number from 0 to 1 that nobody can foresee."""
        ...


@dataclass(frozen=True, slots=True)
class Question:
    """What a person is asked. `expect`: the exact words that mean yes, else any of `choices`."""

    text: str
    choices: tuple[str, ...] = ("yes", "no")
    expect: str = ""


class Prompt(Protocol):
    """A person, perhaps."""

    @property
    def present(self) -> bool:
        """False when nobody can answer (no terminal, --no-input)."""
        ...

    def ask(self, question: Question) -> str:
        """The person's answer: the expected words, or one of the choices."""
        ...

    @property
    def who(self) -> str:
        """Who answers: user, key or principal, for the journal."""
        ...


class Journal(Protocol):
    """One run's events: append-only, chained, on disk before the act they announce."""

    @property
    def head(self) -> Digest:
        """The chain's last digest: handed to every host that is asked to change something."""
        ...

    def append(self, event: Event, *, durable: bool) -> None:
        """Write one event. When `durable`, it is on disk on return. Raises StoreError for good."""
        ...

    def sync(self) -> None:
        """Everything that was appended so far is on disk on return. Raises StoreError for good."""
        ...

    def events(self) -> Sequence[Event]:
        """All events so far."""
        ...

    def save_output(self, name: str, content: bytes) -> None:
        """Append bytes to the run's output file `name`. Raises StoreError for good."""
        ...

    def sync_outputs(self, names: Sequence[str]) -> None:
        """All that was saved under these names is on disk on return. Raises StoreError for good."""
        ...

    @property
    def outputs(self) -> Outputs:
        """What was saved so far."""
        ...


Watcher = Callable[[Event], None]
"""Sees every event right after it is written; must never raise."""
