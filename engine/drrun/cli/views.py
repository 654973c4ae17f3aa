"""What a person or a program sees while a run goes on: live, plain lines, or JSON."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Protocol, Self

from drrun.cli.terminal import Terminal
from drrun.journal.chain import Record
from drrun.journal.events import Event, UnitFinished, UnitStarted
from drrun.plan.plan import Plan
from drrun.report import lines, stream
from drrun.values import UnitId

HEARTBEAT = 30.0
"""Seconds of silence after which a plain log says what still runs."""


class View(Protocol):
    """Sees every event of a run; shows it; never raises from `watch`."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def watch(self, event: Event, when: datetime | None = None) -> None:
        """Show one event."""
        ...

    def paused(self) -> AbstractContextManager[None]:
        """Leave the screen to a question for a while."""
        ...


def view(screen: Terminal, plan: Plan, past: Sequence[Record], stop: threading.Event) -> View:
    """The view that fits this terminal."""
    if screen.json:
        return JsonView(screen, plan)
    if screen.animated and not screen.quiet:
        from drrun.cli.live import LiveView

        return LiveView.of(screen, plan, past, stop)
    return PlainView(screen, plan)


@dataclass
class PlainView:
    """One line an event, and a heartbeat when a unit takes long."""

    screen: Terminal
    plan: Plan
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _running: dict[UnitId, datetime] = field(default_factory=dict)
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Start the heart."""
        self._thread = threading.Thread(target=self._pulse, name="heartbeat", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it."""
        self._ended.set()

    def _pulse(self) -> None:
        while not self._ended.wait(HEARTBEAT):
            self.beat()

    def beat(self) -> None:
        """A line for each unit that has run for longer than a heartbeat."""
        now = self.now()
        for unit, since in list(self._running.items()):
            seconds = (now - since).total_seconds()
            if seconds >= HEARTBEAT:
                self.screen.tell(lines.heartbeat(self.plan, unit, seconds, now))

    def watch(self, event: Event, when: datetime | None = None) -> None:
        """Print the event's line."""
        when = when or self.now()
        if isinstance(event, UnitStarted):
            self._running[event.unit] = when
        elif isinstance(event, UnitFinished):
            self._running.pop(event.unit, None)
        text = lines.line(self.plan, event, when, verbose=self.screen.verbose > 0)
        if text:
            self.screen.tell(text)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Lines and a question get along."""
        yield


@dataclass
class JsonView:
    """NDJSON on standard output."""

    screen: Terminal
    plan: Plan

    def __enter__(self) -> Self:
        """Say the version first."""
        self.screen.give(stream.version())
        return self

    def __exit__(self, *_: object) -> None:
        """The result is the verb's to give."""

    def watch(self, event: Event, when: datetime | None = None) -> None:
        """Print the event."""
        self.screen.give(stream.record(self.plan.run, event, when or datetime.now(UTC)))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """A program is never asked."""
        yield
