"""Hosts that fall silent in the middle of a run: asked again for a while, and told about.

Rule 1: only what may be done twice is done again: questions, and copies, which go on by offset. A
change has a way of its own (follow.py), where its token makes a second sending harmless.
Rule 2: a host that cannot be reached at first is not waited for: who starts a run is told at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import BinaryIO, TypeVar

from drrun.errors import ConnectError, HostKeyError
from drrun.execute.follow import UNREACHED, Detached
from drrun.journal.events import HostHeard, HostSilent
from drrun.ports import Clock, Job, JobReport, Leftover, Line, Sink, Tier
from drrun.values import HostName, Reply

T = TypeVar("T")


class Patience:
    """Who is silent now, and since when. Safe from many threads."""

    def __init__(
        self,
        clock: Clock,
        stop: threading.Event,
        record: Callable[[HostSilent | HostHeard], None],
        seconds: float = UNREACHED,
    ) -> None:
        self._clock = clock
        self._stop = stop
        self._record = record
        self._seconds = seconds
        self._since: dict[HostName, float] = {}
        self._lock = threading.Lock()

    def ask(self, host: HostName, act: Callable[[], T]) -> T:
        """Do it, again after each break, for `seconds`. Raises the last error, HostKeyError at once.

        Raises Detached when the controller is asked to leave meanwhile.
        """
        began, delay = self._clock.monotonic(), 0.2
        while True:
            try:
                with self.watch(host):
                    return act()
            except HostKeyError:
                raise  # another machine answers under this name: never go on by itself
            except ConnectError as error:
                if self._stop.is_set():
                    raise Detached from error
                if self._clock.monotonic() - began > self._seconds:
                    raise
            self._clock.wait(delay)
            delay = min(delay * 2, 5.0)

    @contextmanager
    def watch(self, host: HostName) -> Iterator[None]:
        """Tell when what is done breaks the silence of a host, or shows it."""
        try:
            yield
        except ConnectError as error:
            self._silent(host, error.message)
            raise
        self._heard(host)

    def _silent(self, host: HostName, why: str) -> None:
        with self._lock:
            told = host in self._since
            self._since.setdefault(host, self._clock.monotonic())
        if not told:
            self._record(HostSilent(host=host, why=why, patience=self._seconds))

    def _heard(self, host: HostName) -> None:
        if host not in self._since:
            return
        with self._lock:
            since = self._since.pop(host, None)
        if since is not None:
            took = round(self._clock.monotonic() - since, 1)
            self._record(HostHeard(host=host, seconds=took))


class PatientLine:
    """A line that asks again when it broke under a question; its silence is told whatever broke."""

    def __init__(self, line: Line, patience: Patience) -> None:
        self._line = line
        self._patience = patience

    @property
    def host(self) -> HostName:
        """The host's name in the inventory."""
        return self._line.host

    def ask(self, script: bytes, *, timeout: float, limit: int = 4 << 20) -> Reply:
        """As Line.ask, patiently."""
        return self._patience.ask(
            self.host, lambda: self._line.ask(script, timeout=timeout, limit=limit)
        )

    def launch(self, job: Job) -> JobReport:
        """As Line.launch."""
        with self._watch():
            return self._line.launch(job)

    def poll(
        self, run: str, token: str, *, out_from: int = 0, err_from: int = 0, wait: float = 0
    ) -> JobReport:
        """As Line.poll."""
        with self._watch():
            return self._line.poll(run, token, out_from=out_from, err_from=err_from, wait=wait)

    def abandon(self, run: str, token: str, epoch: int) -> JobReport:
        """As Line.abandon."""
        with self._watch():
            return self._line.abandon(run, token, epoch)

    def kill(self, run: str, token: str, *, grace: float = 5) -> JobReport:
        """As Line.kill."""
        with self._watch():
            return self._line.kill(run, token, grace=grace)

    def ack(self, run: str, token: str) -> None:
        """As Line.ack."""
        with self._watch():
            self._line.ack(run, token)

    def forget(self, run: str, token: str) -> None:
        """As Line.forget, which mostly asks nobody: it tells nothing."""
        self._line.forget(run, token)

    def fence(self, run: str, epoch: int, holder: str) -> Tier:
        """As Line.fence."""
        with self._watch():
            return self._line.fence(run, epoch, holder)

    def release(self, run: str, epoch: int) -> None:
        """As Line.release."""
        with self._watch():
            self._line.release(run, epoch)

    def sweep(self, run: str, epoch: int, *, dry: bool) -> Leftover:
        """As Line.sweep."""
        with self._watch():
            return self._line.sweep(run, epoch, dry=dry)

    def strays(self, *, dry: bool) -> tuple[str, ...]:
        """As Line.strays."""
        with self._watch():
            return self._line.strays(dry=dry)

    def append(self, path: str, source: BinaryIO, *, offset: int, timeout: float) -> None:
        """As Line.append."""
        with self._watch():
            self._line.append(path, source, offset=offset, timeout=timeout)

    def fetch(self, path: str, sink: Sink, *, offset: int = 0, timeout: float) -> None:
        """As Line.fetch."""
        with self._watch():
            self._line.fetch(path, sink, offset=offset, timeout=timeout)

    def close(self) -> None:
        """As Line.close."""
        self._line.close()

    def _watch(self) -> AbstractContextManager[None]:
        return self._patience.watch(self.host)
