"""The machine that drrun runs on, behind ports: its clock and its randomness."""

from __future__ import annotations

import secrets
import threading
import time


class SystemClock:
    """The machine's clock; a wait ends early when the run is asked to stop."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        """Give way."""
        self._stop.wait(seconds)


class SystemChance:
    """The machine's randomness."""

    def fraction(self) -> float:
        """From 0 to 1."""
        return secrets.randbelow(1 << 30) / (1 << 30)
