"""The live view: lines that stay scroll up, what is under way is drawn in place below them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.rule import Rule
from rich.text import Text

from drrun.cli.terminal import Terminal
from drrun.errors import StoreError
from drrun.journal.chain import Record
from drrun.journal.events import Event
from drrun.journal.outputs import STREAMS, Outputs, tail
from drrun.places import state_root
from drrun.plan.plan import Plan
from drrun.report.board import Board, Lane
from drrun.report.dry import header
from drrun.report.words import at, one_line
from drrun.store.folder import FolderStore
from drrun.values import span

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


@dataclass
class LiveView:
    """Rich's Live on standard error, fed by the board."""

    screen: Terminal
    board: Board
    began: float
    stop: threading.Event
    outputs: Outputs
    console: Console
    clock: Callable[[], float] = time.monotonic
    _live: Live | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @classmethod
    def of(
        cls, screen: Terminal, plan: Plan, past: Sequence[Record], stop: threading.Event
    ) -> Self:
        """A view of a run that may have a past."""
        board, now = Board(plan), time.monotonic()
        began = now
        if past:
            began = now - _ago(at(past[0].utc))
            for record in past:
                board.take(record.event, now)
            board.lanes.clear()
        console = Console(
            file=screen.err, no_color=not screen.paints(screen.err), highlight=False, soft_wrap=True
        )
        outputs = FolderStore(state_root()).outputs(plan.run)
        return cls(screen, board, began, stop, outputs, console)

    def __enter__(self) -> Self:
        """Print the header and begin to draw."""
        for line in header(self.board.plan):
            self.screen.tell(line)
        self.screen.tell(f"run   {self.board.plan.run}\n")
        self._begin()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave only the lines that stay."""
        self._end()

    def _begin(self) -> None:
        with self._lock:
            self._live = Live(
                get_renderable=self.draw,
                console=self.console,
                refresh_per_second=5,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()

    def _end(self) -> None:
        with self._lock:
            live, self._live = self._live, None
        if live is not None:
            try:
                live.stop()
            except (OSError, ValueError):
                return

    def watch(self, event: Event, when: datetime | None = None) -> None:
        """Take an event in; print what it leaves behind. A dead terminal is no error."""
        moment = self.clock() - (0.0 if when is None else _ago(when))
        self.began = min(self.began, moment)
        with self._lock:
            left = self.board.take(event, moment)
            for line in left:
                try:
                    text = self.screen.painted(line, self.screen.err)
                    self.console.print(Text.from_ansi(text))
                except (OSError, ValueError):
                    return

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is drawn while a person is asked."""
        self._end()
        try:
            yield
        finally:
            self._begin()

    # --- drawing -----------------------------------------------------------------------------

    def draw(self) -> Group:
        """What is under way: steps, their hosts, the last words of each command."""
        now = self.clock()
        parts: list[Text | Rule] = []
        room = max(4, self.console.height - 4)
        for title, lanes, seconds in self.board.running(now):
            parts.append(self._step(title, lanes, seconds, now))
            parts += [self._saying(lane) for lane in lanes if lane.change]
        hidden = len(parts) - room
        if hidden > 0:
            parts = [*parts[:room], Text(f"  … {hidden} more", style="dim")]
        footer = self.board.footer(now - self.began, stopping=self.stop.is_set())
        return Group(*parts, Rule(Text(footer), align="left", characters="─", style="dim"))

    def _step(self, title: str, lanes: Sequence[Lane], seconds: float, now: float) -> Text:
        frame = SPINNER[int(now * 5) % len(SPINNER)]
        way = "undo " if lanes[0].undo else ""
        line = Text(f"▶ {way}{title}  ", style="cyan", no_wrap=True, overflow="ellipsis")
        line.append(f"{span(seconds)}  ", style="default")
        for lane in lanes:
            line.append(f"{lane.hosts} {frame} {span(now - lane.since)}  ", style="default")
        return line

    def _saying(self, lane: Lane) -> Text:
        words = self._last_line(lane.token)
        text = f"    {lane.change}│ {words}" if words else f"    {lane.change}"
        return Text(text, style="dim", no_wrap=True, overflow="ellipsis")

    def _last_line(self, token: str) -> str:
        """The last line that the command printed, from the run's output files."""
        for stream in STREAMS:
            try:
                found = tail(self.outputs, f"{token}.{stream}")
            except StoreError:
                continue
            if found:
                return one_line(found[-1], 200)
        return ""


def _ago(when: datetime) -> float:
    """Seconds since then, by the wall clock; none when that was turned back."""
    return max(0.0, (datetime.now(when.tzinfo) - when).total_seconds())
