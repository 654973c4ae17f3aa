"""Signals, questions and consent: what a person at the terminal can do to a run."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from tests.unit.engine.conftest import compiled

from drrun.cli.aside import Aside
from drrun.cli.consent import consent
from drrun.cli.prompt import TerminalPrompt
from drrun.cli.signals import exit_code
from drrun.cli.terminal import Terminal
from drrun.cli.views import PlainView
from drrun.errors import Refused, Waiting
from drrun.journal.events import Event, UnitFinished, UnitStarted
from drrun.ports import Question
from drrun.testing.world import Answers
from drrun.values import Outcome, UnitId

WIPE = """
- id: stop
  hosts: members
  uses: world.set
  with: {key: server, to: stopped}
- id: wipe
  hosts: members
  uses: world.wipe
  with: {key: data, to: new}
"""

SENDS = """
import os, signal, threading
from drrun.cli.signals import Signals
stop = threading.Event()
with Signals(stop, "r-test") as signals:
    os.kill(os.getpid(), signal.{first})
    assert stop.is_set()
    print("once", signals.exit_code, flush=True)
    os.kill(os.getpid(), signal.{second})
print("still here")
"""


def sent(first: str, second: str) -> tuple[int, str, str]:
    """A process that signals itself twice: its exit code and what it said."""
    code = SENDS.replace("{first}", first).replace("{second}", second)
    heard = ["env", "--default-signal=INT,HUP"]  # whoever runs the tests may have put them aside
    found = subprocess.run(
        [*heard, sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    return found.returncode, found.stdout, found.stderr


def test_once_asks_to_stop_twice_leaves() -> None:
    """The first ^C sets the event and says how to resume; the second leaves with 130."""
    code, out, err = sent("SIGINT", "SIGINT")
    assert (code, out) == (130, "once 130\n")
    assert err.count("drrun resume r-test") == 2


def test_a_termination_is_143() -> None:
    """SIGTERM does the same with 143."""
    assert sent("SIGTERM", "SIGTERM")[:2] == (143, "once 143\n")
    assert exit_code(None) == 130


def test_a_lost_terminal_may_tell_twice() -> None:
    """SIGHUP stops once; a second one does not cut the stopping short."""
    assert sent("SIGHUP", "SIGHUP")[:2] == (0, "once 130\nstill here\n")


IGNORED = """
import os, signal, threading
from drrun.cli.signals import Signals
signal.signal(signal.SIGHUP, signal.SIG_IGN)
stop = threading.Event()
with Signals(stop, "r-test"):
    os.kill(os.getpid(), signal.SIGHUP)
print(stop.is_set(), signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)
"""


def test_what_was_ignored_stays_ignored() -> None:
    """Under nohup SIGHUP stops nothing, in the run and after it."""
    found = subprocess.run([sys.executable, "-c", IGNORED], capture_output=True, check=False)
    assert (found.returncode, found.stdout) == (0, b"False True\n")


class Gone(io.StringIO):
    """A terminal that was closed at its other end."""

    def write(self, text: str) -> int:
        """The kernel's answer."""
        raise OSError(5, "Input/output error")


def test_a_question_to_a_terminal_that_is_gone_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no bug of the step's: the run waits for a person, with exit 6."""
    monkeypatch.setattr(sys, "stderr", Gone())
    with pytest.raises(Waiting, match="the terminal is gone") as found:
        TerminalPrompt().ask(Question("Go on?"))
    assert found.value.exit_code == 6


class Stuck:
    """A view whose terminal takes nothing until it is let go."""

    def __init__(self) -> None:
        self.go, self.seen = threading.Event(), list[Event]()

    def __enter__(self) -> Stuck:
        return self

    def __exit__(self, *_: object) -> None: ...

    def watch(self, event: Event, when: datetime | None = None) -> None:
        """Wait for the terminal."""
        self.go.wait(10)
        self.seen.append(event)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """A question waits for its turn."""
        yield


def test_a_view_that_stands_still_holds_up_nobody() -> None:
    """Three events are taken while the terminal takes none; at the end it gets them, in order."""
    stuck = Stuck()
    events = [UnitStarted(unit=UnitId("stop@h1"), attempt=n) for n in (1, 2, 3)]
    with Aside(stuck) as aside:
        for event in events:
            aside.watch(event)
        assert stuck.seen == []
        stuck.go.set()
        with aside.paused():
            assert stuck.seen == events
        aside.watch(events[0])
    assert stuck.seen == [*events, events[0]]


def test_the_name_of_the_inventory_is_consent() -> None:
    """On a terminal the inventory's name must be typed; anything else is refused."""
    plan, screen = compiled(WIPE), Terminal(err=io.StringIO())
    prompt = Answers(["test"])
    consent(plan, prompt, screen, yes=False, confirm="")
    assert prompt.asked[0].expect == "test"
    with pytest.raises(Refused, match="nothing was started"):
        consent(plan, Answers(["prod"]), screen, yes=False, confirm="")


def test_a_plan_that_destroys_nothing_asks_nothing() -> None:
    """Consent is for steps that destroy."""
    harmless = WIPE.replace("world.wipe", "world.set")
    consent(compiled(harmless), Answers(), Terminal(), yes=False, confirm="")


def test_no_input_means_nobody_is_there() -> None:
    """--no-input makes prompts absent, terminal or not."""
    assert not TerminalPrompt(allowed=False).present


def test_a_long_step_has_a_heartbeat() -> None:
    """A unit that runs for 30 s gets a line; one that ended, or is young, gets none."""
    err = io.StringIO()
    now = datetime(2026, 11, 22, 1, 0, 0, tzinfo=UTC)
    times = iter([now, now + timedelta(seconds=45)])
    view = PlainView(Terminal(err=err), compiled(WIPE), now=lambda: next(times))
    view.watch(UnitStarted(unit=UnitId("stop@h1"), attempt=1), now)
    view.watch(UnitStarted(unit=UnitId("stop@h2"), attempt=1), now)
    view.watch(
        UnitFinished(unit=UnitId("stop@h2"), attempt=1, outcome=Outcome.CHANGED, seconds=1), now
    )
    view.beat()
    assert "step.host.running" not in err.getvalue()
    view.beat()
    lines = [line for line in err.getvalue().splitlines() if "step.host.running" in line]
    assert lines == [
        "2026-11-22T01:00:45Z step.host.running run=r-test step=stop host=h1 seconds=45"
    ]
