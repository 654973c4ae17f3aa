"""The one place where an event becomes part of a run: journal, state, watchers, in that order."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from drrun.journal.events import Event
from drrun.journal.state import Entry, RunState
from drrun.ports import Journal, Watcher
from drrun.values import UnitId


@dataclass(slots=True)
class Recorder:
    """Appends events from many threads, one at a time. A StoreError poisons it: see `broken`."""

    journal: Journal
    state: RunState
    watchers: tuple[Watcher, ...] = ()
    lock: threading.RLock = field(default_factory=threading.RLock)

    def record(self, event: Event, *, durable: bool = False) -> None:
        """Write, fold, show. When `durable`, the event is on disk on return."""
        with self.lock:
            self.journal.append(event, durable=False)
            self.state.apply(event)
            for watch in self.watchers:
                watch(event)
        # Without the lock: units on other threads go on meanwhile, and share one wait for the disk.
        if durable:
            self.journal.sync()

    def entries(self, unit: UnitId, attempt: int, *, undo: bool) -> Sequence[Entry]:
        """What the journal holds of one attempt."""
        with self.lock:
            return self.state.units[unit].replay(attempt, undo=undo)
