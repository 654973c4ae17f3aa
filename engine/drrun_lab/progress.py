"""What the lab tells the person who waits: one plain line a step, on standard error.

Rule 1: data (a path, a table) goes to standard output elsewhere; nothing here is for machines.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import TextIO


class Progress:
    """Writes `12:03:04 +  1.2s  text` lines; safe from several threads; silent if told so."""

    def __init__(self, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._stream = stream
        self._quiet = quiet
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def say(self, text: str) -> None:
        """Tell one thing that begins, ended or is awaited. Never raises on a closed terminal."""
        if self._quiet:
            return
        line = f"{time.strftime('%H:%M:%S')} +{self.elapsed():5.1f}s  {text}\n"
        with self._lock:
            stream = self._stream or sys.stderr
            try:
                stream.write(line)
                stream.flush()
            except (BrokenPipeError, ValueError):
                self._quiet = True

    def elapsed(self) -> float:
        """Seconds since this command began."""
        return time.monotonic() - self._began
