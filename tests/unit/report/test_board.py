"""What the live view leaves on the screen, and what it draws below."""

from __future__ import annotations

import io
import threading
from datetime import UTC, datetime

from inline_snapshot import snapshot
from rich.console import Console
from tests.unit.engine.conftest import compiled

from drrun.cli.live import LiveView
from drrun.cli.terminal import Terminal
from drrun.journal.events import (
    ChangeFinished,
    ChangeIntended,
    HostHeard,
    HostSilent,
    UndoStarted,
    UnitFinished,
    UnitStarted,
)
from drrun.report.board import Board
from drrun.report.lines import line
from drrun.testing.world import MemoryOutputs
from drrun.values import Digest, HostName, Outcome, UnitId

STEPS = """
- id: stop
  hosts: members
  uses: world.set
  with: {key: server, to: stopped}
- id: start
  hosts: members
  uses: world.set
  with: {key: server, to: running}
"""


def started(unit: str, attempt: int = 1) -> UnitStarted:
    """A unit begins."""
    return UnitStarted(unit=UnitId(unit), attempt=attempt)


def ended(unit: str, outcome: Outcome = Outcome.CHANGED, why: str = "") -> UnitFinished:
    """A unit ends."""
    return UnitFinished(unit=UnitId(unit), attempt=1, outcome=outcome, why=why, seconds=2.0)


def test_a_step_leaves_one_line_when_its_last_host_is_done() -> None:
    """Hosts that did the same are told together; differences are told apart."""
    board = Board(compiled(STEPS))
    for host in ("h1", "h2", "h3"):
        assert board.take(started(f"stop@{host}"), 10) == []
    assert board.take(ended("stop@h1"), 11) == []
    assert board.take(ended("stop@h2"), 12) == []
    lines = board.take(ended("stop@h3", Outcome.ALREADY), 13)
    assert lines == snapshot(["✔ 1 stop  h[1-3]  h[1-2] changed, h3 already  3.0s"])
    assert board.steps_done == 1


def test_a_silent_host_is_told_and_its_return() -> None:
    """Who watches for half a minute without a change knows why, and that drrun goes on by itself."""
    plan, host = compiled(STEPS), HostName("h2")
    silent = HostSilent(host=host, why="h2: the line broke", patience=180.0)
    heard = HostHeard(host=host, seconds=31.4)
    when = datetime(2026, 11, 22, 1, 16, 2, tzinfo=UTC)
    assert Board(plan).take(silent, 10) == snapshot(
        ["? h2 does not answer; it is asked again for 3m00s: h2: the line broke"]
    )
    assert Board(plan).take(heard, 41) == snapshot(["✔ h2 answers again, after 31s"])
    assert [line(plan, event, when) for event in (silent, heard)] == snapshot(
        [
            '2026-11-22T01:16:02Z host.silent run=r-test host=h2 why="h2: the line broke" next="it is asked again for 3m00s"',
            "2026-11-22T01:16:02Z host.heard run=r-test host=h2 seconds=31.4",
        ]
    )


def test_a_failure_is_told_at_once() -> None:
    """A bad end does not wait for the step's other hosts."""
    board = Board(compiled(STEPS))
    board.take(started("stop@h1"), 0)
    assert board.take(ended("stop@h1", Outcome.FAILED, "h1: no"), 1) == snapshot(
        ["✘ 1 stop  h1  failed  2.0s: h1: no"]
    )


def test_undoing_is_told_as_undoing() -> None:
    """After the turn each unit that was undone leaves its own line."""
    board = Board(compiled(STEPS))
    assert board.take(UndoStarted(why="asked to"), 0) == ["! undoing: asked to"]
    undone = UnitFinished(
        unit=UnitId("stop@h1"), attempt=1, outcome=Outcome.UNDONE, undo=True, seconds=1.0
    )
    assert board.take(undone, 1) == snapshot(["✔ undo 1 stop  h1  undone  1.0s"])
    assert board.footer(61, stopping=True).startswith("undoing · 1m01s")


def test_the_live_view_draws_steps_hosts_and_last_words() -> None:
    """What is under way is drawn with its hosts, their seconds, and a footer that says ^C."""
    board = Board(compiled(STEPS))
    board.take(started("stop@h1"), 0)
    board.take(started("stop@h2"), 1)
    console = Console(file=io.StringIO(), width=70, height=20)
    view = LiveView(
        Terminal(), board, 0.0, threading.Event(), MemoryOutputs(), console, clock=lambda: 4.0
    )
    with console.capture() as captured:
        console.print(view.draw())
    assert captured.get() == snapshot("""\
▶ 1 stop  4.0s  h1 ⠋ 4.0s  h2 ⠋ 3.0s  \n\
0/2 steps · 4.0s · ^C stops safely ───────────────────────────────────
""")


def test_last_words_are_drawn_and_a_cut_is_left_on_the_screen() -> None:
    """While a command runs its last line is shown, safe; what was cut of it stays when it ended."""
    board, outputs = (
        Board(compiled(STEPS)),
        MemoryOutputs({"c-1.out": bytearray(b"one\n\x1b[2Jtwo\xff")}),
    )
    where = {"unit": UnitId("stop@h1"), "attempt": 1, "ordinal": 1, "name": "set", "token": "c-1"}
    board.take(started("stop@h1"), 0)
    board.take(
        ChangeIntended(
            **where,  # type: ignore[arg-type]
            host=HostName("h1"),
            asked=Digest(""),
            epoch=1,
            boot_id="b",
            preview="x",
        ),
        0,
    )
    console = Console(file=io.StringIO(), width=70, height=20)
    view = LiveView(Terminal(), board, 0.0, threading.Event(), outputs, console, clock=lambda: 4.0)
    with console.capture() as captured:
        console.print(view.draw())
    assert "    h1 set│ \\x1b[2Jtwo\\xff" in captured.get()
    left = board.take(
        ChangeFinished(
            **where,  # type: ignore[arg-type]
            host=HostName("h1"),
            code=0,
            stdout=Digest(""),
            stderr=Digest(""),
            out_size=5,
            err_size=6,
            out_cut=True,
            err_cut=True,
        ),
        1,
    )
    assert left == ["    h1│ set was cut: stdout after 5 bytes, stderr after 6 bytes"]
