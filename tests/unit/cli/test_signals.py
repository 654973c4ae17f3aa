"""Signals, questions and consent: what a person at the terminal can do to a run."""

from __future__ import annotations

import io
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from tests.unit.engine.conftest import compiled

from drrun.cli.consent import consent
from drrun.cli.prompt import TerminalPrompt
from drrun.cli.signals import exit_code
from drrun.cli.terminal import Terminal
from drrun.cli.views import PlainView
from drrun.errors import Refused
from drrun.journal.events import UnitFinished, UnitStarted
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
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
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
