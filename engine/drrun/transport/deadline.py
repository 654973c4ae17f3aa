"""Points in time by which something must have happened, and the watchdog for calls without one.

Rule 1: every wait of a transport has a deadline; nothing here or above waits for ever.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment of the monotonic clock."""

    at: float
    total: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The moment `seconds` from now."""
        return cls(time.monotonic() + seconds, seconds)

    @property
    def left(self) -> float:
        """Seconds to go, never below zero."""
        return max(0.0, self.at - time.monotonic())

    def need(self) -> float:
        """Seconds to go. Raises TimeoutError when there are none."""
        left = self.left
        if not left:
            raise TimeoutError(f"no answer within {self.total:g} s")
        return left


class Watchdog:
    """Cuts what has no timeout of its own: paramiko's channel requests wait without one.

    One daemon thread serves every line. What it is given to call must not block.
    """

    def __init__(self) -> None:
        self._cuts: dict[int, tuple[float, Callable[[], None]]] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._next = 0

    @contextmanager
    def watch(self, deadline: Deadline, cut: Callable[[], None]) -> Iterator[None]:
        """Call `cut` if the block is still running at the deadline."""
        with self._changed:
            self._next += 1
            name = self._next
            # The thread sleeps until the earliest cut it knows of: wake it only for an earlier.
            wake = all(deadline.at < at for at, _ in self._cuts.values())
            self._cuts[name] = (deadline.at, cut)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name="drrun-watchdog", daemon=True
                )
                self._thread.start()
            elif wake:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._cuts.pop(name, None)

    def _run(self) -> None:
        while True:
            with self._changed:
                now = time.monotonic()
                due = [name for name, (at, _) in self._cuts.items() if at <= now]
                cuts = [self._cuts.pop(name)[1] for name in due]
                if not cuts:
                    earliest = min((at for at, _ in self._cuts.values()), default=now + 3600)
                    self._changed.wait(earliest - now)
            for cut in cuts:
                cut()
