"""Crash points for real runs: a controller that kills itself at the nth touch of the world.

Every append to the journal has a point after it, every act on a host one before and one after. A run with
no number traces them; a run with a number dies there by SIGKILL, as the power would have it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from drrun.journal.events import Event
from drrun.journal.outputs import Outputs
from drrun.model.inventory import Target
from drrun.ports import Job, JobReport, Journal, Leftover, Line, Sink, Tier, Transport
from drrun.values import Digest, HostName, Reply


@dataclass
class Points:
    """Counts the points; dies at number `at` (1 is the first). 0 only counts."""

    at: int = 0
    names: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def touch(self, name: str) -> None:
        """One more point."""
        with self._lock:
            self.names.append(name)
            if len(self.names) == self.at:
                os.kill(os.getpid(), signal.SIGKILL)


@dataclass
class CrashingJournal:
    """`drrun.ports.Journal` with a point after every append.

    The moment before an append is the moment after the act that it records: that one has a point.
    """

    inner: Journal
    points: Points

    @property
    def head(self) -> Digest:
        """The inner one's."""
        return self.inner.head

    def append(self, event: Event, *, durable: bool) -> None:
        """Write, with a point after it."""
        self.inner.append(event, durable=durable)
        self.points.touch(f"after journal {event.type}")

    def sync(self) -> None:
        """No point: a kill takes nothing from the disk that was written."""
        self.inner.sync()

    def events(self) -> Sequence[Event]:
        """The inner one's."""
        return self.inner.events()

    def save_output(self, name: str, content: bytes) -> None:
        """The inner one's."""
        self.inner.save_output(name, content)

    def sync_outputs(self, names: Sequence[str]) -> None:
        """No point: as `sync`."""
        self.inner.sync_outputs(names)

    @property
    def outputs(self) -> Outputs:
        """The inner one's."""
        return self.inner.outputs


@dataclass
class CrashingLine:
    """`drrun.ports.Line` with a point around every act that changes a host."""

    inner: Line
    points: Points

    @property
    def host(self) -> HostName:
        """The inner one's."""
        return self.inner.host

    def ask(self, script: bytes, *, timeout: float, limit: int = 4 << 20) -> Reply:
        """No point: a question leaves nothing behind."""
        return self.inner.ask(script, timeout=timeout, limit=limit)

    def launch(self, job: Job) -> JobReport:
        """Launch, with a point before and a point after."""
        self.points.touch(f"before launch on {self.host}")
        report = self.inner.launch(job)
        self.points.touch(f"after launch on {self.host}")
        return report

    def poll(
        self, run: str, token: str, *, out_from: int = 0, err_from: int = 0, wait: float = 0
    ) -> JobReport:
        """No point, as `ask`."""
        return self.inner.poll(run, token, out_from=out_from, err_from=err_from, wait=wait)

    def abandon(self, run: str, token: str, epoch: int) -> JobReport:
        """Abandon, with a point before and a point after."""
        self.points.touch(f"before abandon on {self.host}")
        report = self.inner.abandon(run, token, epoch)
        self.points.touch(f"after abandon on {self.host}")
        return report

    def kill(self, run: str, token: str, *, grace: float = 5) -> JobReport:
        """The inner one's."""
        return self.inner.kill(run, token, grace=grace)

    def ack(self, run: str, token: str) -> None:
        """Acknowledge, with a point before and a point after."""
        self.points.touch(f"before ack on {self.host}")
        self.inner.ack(run, token)
        self.points.touch(f"after ack on {self.host}")

    def forget(self, run: str, token: str) -> None:
        """As `ack`."""
        self.points.touch(f"before ack on {self.host}")
        self.inner.forget(run, token)
        self.points.touch(f"after ack on {self.host}")

    def fence(self, run: str, epoch: int, holder: str) -> Tier:
        """Fence, with a point before and a point after."""
        self.points.touch(f"before fence on {self.host}")
        tier = self.inner.fence(run, epoch, holder)
        self.points.touch(f"after fence on {self.host}")
        return tier

    def release(self, run: str, epoch: int) -> None:
        """Release, with a point before and a point after."""
        self.points.touch(f"before release on {self.host}")
        self.inner.release(run, epoch)
        self.points.touch(f"after release on {self.host}")

    def sweep(self, run: str, epoch: int, *, dry: bool) -> Leftover:
        """Sweep: after a run, no point."""
        return self.inner.sweep(run, epoch, dry=dry)

    def strays(self, *, dry: bool) -> tuple[str, ...]:
        """The inner one's."""
        return self.inner.strays(dry=dry)

    def append(self, path: str, source: BinaryIO, *, offset: int, timeout: float) -> None:
        """Upload, with a point before and a point after."""
        self.points.touch(f"before upload to {self.host}")
        self.inner.append(path, source, offset=offset, timeout=timeout)
        self.points.touch(f"after upload to {self.host}")

    def fetch(self, path: str, sink: Sink, *, offset: int = 0, timeout: float) -> None:
        """The inner one's."""
        self.inner.fetch(path, sink, offset=offset, timeout=timeout)

    def close(self) -> None:
        """The inner one's."""
        self.inner.close()


@dataclass
class CrashingTransport:
    """`drrun.ports.Transport` whose lines have points."""

    inner: Transport
    points: Points

    def connect(self, target: Target) -> CrashingLine:
        """A line with points."""
        return CrashingLine(self.inner.connect(target), self.points)

    def fingerprint(self, target: Target) -> str:
        """The inner one's."""
        return self.inner.fingerprint(target)

    def sign_of_life(self, target: Target, *, timeout: float) -> str:
        """The inner one's."""
        return self.inner.sign_of_life(target, timeout=timeout)

    def close(self) -> None:
        """The inner one's."""
        self.inner.close()
