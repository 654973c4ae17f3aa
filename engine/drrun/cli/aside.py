"""A view on a thread of its own: a terminal that stands still never holds up a run.

A stopped terminal (^S), a pager that nobody scrolls, an SSH session whose line hangs: each blocks a
write for as long as it likes. The events wait here meanwhile, in memory; the journal has them all.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from queue import SimpleQueue
from types import TracebackType
from typing import Self, TypeAlias

from drrun.cli.views import View
from drrun.journal.events import Event

Told: TypeAlias = tuple[Event, datetime]


@dataclass
class Aside:
    """`View` that hands each event to another one, in order, and does not wait for it."""

    inner: View
    _queue: SimpleQueue[Told | threading.Event] = field(default_factory=SimpleQueue)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Begin to show."""
        self.inner.__enter__()
        self._thread = threading.Thread(target=self._show, name="view", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Show what is left: by now the run has ended, and its terminal may take its time."""
        self._all_shown()
        self.inner.__exit__(kind, error, trace)

    def watch(self, event: Event, when: datetime | None = None) -> None:
        """Take the event in."""
        self._queue.put((event, when or datetime.now(UTC)))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the screen to a question, once it shows what came before."""
        self._all_shown()
        with self.inner.paused():
            yield

    def _all_shown(self) -> None:
        shown = threading.Event()
        self._queue.put(shown)
        shown.wait()

    def _show(self) -> None:
        while True:
            told = self._queue.get()
            if isinstance(told, threading.Event):
                told.set()
            else:
                self.inner.watch(*told)
