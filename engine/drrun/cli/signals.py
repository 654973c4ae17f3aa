"""Signals during a run: once stops safely, twice leaves at once; commands on hosts go on either way.

Rule 1: a handler sets the event and writes with os.write alone: it may interrupt any other write,
and it never waits for a terminal that stands still.
Rule 2: what was ignored stays ignored: under nohup a lost terminal stops nothing.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from dataclasses import dataclass, field
from types import FrameType
from typing import Self

CAUGHT = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SHOW_CURSOR = "\x1b[?25h"


@dataclass
class Signals:
    """Catches SIGINT, SIGTERM and SIGHUP while it is entered (in the main thread)."""

    stop: threading.Event
    run: str
    first: int | None = None
    _before: dict[int, object] = field(default_factory=dict)

    def __enter__(self) -> Self:
        """Take the signals over."""
        if threading.current_thread() is threading.main_thread():
            for number in CAUGHT:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._caught)
        return self

    def __exit__(self, *_: object) -> None:
        """Give them back."""
        for number, before in self._before.items():
            signal.signal(number, before)  # type: ignore[arg-type]

    @property
    def exit_code(self) -> int:
        """130, or 143 after SIGTERM."""
        return exit_code(self.first)

    def _caught(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self.first is None:
            self.first = number
            self.stop.set()
            _write(
                f"\nstopping: nothing new is started, commands on hosts go on "
                f"(again: leave now). Then: drrun resume {self.run}\n"
            )
            return
        if number == signal.SIGHUP:
            return  # a lost terminal may tell twice
        _write(
            f"{_SHOW_CURSOR if os.isatty(2) else ''}\n"
            f"left at once; commands on hosts go on. Then: drrun resume {self.run}\n"
        )
        os._exit(exit_code(number))


def exit_code(number: int | None) -> int:
    """A signal's exit code in design §9."""
    return 143 if number == signal.SIGTERM else 130


def _write(text: str) -> None:
    try:
        if select.select([], [2], [], 0)[1]:
            os.write(2, text.encode())
    except (OSError, ValueError):
        return
