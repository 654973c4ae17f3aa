"""Fenced hosts on the command line: the word, the screens, and every report."""

from __future__ import annotations

import json
import threading

import pytest
from tests.unit.cli.conftest import RUNBOOK, Desk

from drrun.machine import SystemClock
from drrun.values import HostName

H3 = HostName("h3")
WORD = ("--fenced", "h3=power", "--reason", "outlet 4 is off")


@pytest.fixture(name="dark")
def _dark(desk: Desk) -> Desk:
    """h3 is off, and the runbook may go on without it."""
    desk.write("demo.yaml", RUNBOOK.replace("roles:", "on_unreachable: skip-fenced\nroles:"))
    desk.world.down.add(H3)
    return desk


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--fenced", "h3", "--reason", "x"), "takes HOST=METHOD"),
        (("--fenced", "h3=magic", "--reason", "x"), "power: powered off or unplugged"),
        (("--fenced", "h3=power"), "needs a --reason"),
        (("--fenced", "h3=power", "--reason", "  "), "needs a --reason"),
        (("--fenced", "h4=power", "--reason", "x"), "has no such host"),
        (("--fenced", "controller=power", "--reason", "x"), "cannot be fenced"),
    ],
)
def test_a_word_that_says_too_little_is_refused(
    dark: Desk, words: tuple[str, ...], said: str
) -> None:
    """Which host, how, and what shows it: all three, or nothing is started."""
    found = dark("demo.yaml", "--yes", *words)
    assert found.code == 2
    assert said in found.err
    assert not dark.world.effects


def test_the_plan_says_who_is_missing(dark: Desk) -> None:
    """The dry-run's head: how, the evidence, by whom, and how many steps go on without it."""
    found = dark("demo.yaml", "--dry-run", *WORD)
    assert found.code == 0
    assert "h[1-2]" in found.out
    assert "! h3  fenced, powered off or unplugged (outlet 4 is off; " in found.out
    assert "4 steps go on without it" in found.out
    document = json.loads(dark("demo.yaml", "--dry-run", "--output", "json", *WORD).out)
    assert [one["host"] for one in document["fenced"]] == ["h3"]


def test_without_the_word_nothing_begins(dark: Desk) -> None:
    """The same runbook, nobody says anything: unreachable, exit 4, and no run is left behind."""
    found = dark("demo.yaml", "--yes")
    assert found.code == 4
    assert "h3" in found.err
    assert "--fenced HOST=power --reason" in found.err
    assert not dark.world.effects


def test_alive_is_refused_by_run_and_dry_run(dark: Desk) -> None:
    """Exit 5, and nothing is changed."""
    dark.world.down.clear()
    for words in (("--yes",), ("--dry-run",)):
        found = dark("demo.yaml", *words, *WORD)
        assert found.code == 5
        assert "named fenced, and alive: h3" in found.err
    assert not dark.world.effects


def test_the_end_is_not_all_clear(dark: Desk) -> None:
    """Done, but for h3: the end screen, the state and every report list it as to be readmitted."""
    found = dark("demo.yaml", "--yes", *WORD)
    assert found.code == 0
    first = found.out.splitlines()[0]
    assert first.startswith("! demo done, but for h3")
    run = next(word for word in first.split() if word.startswith("r2"))
    for text in (found.out, dark("status", run).out):
        assert "! h3 is fenced since" in text
        assert "to be readmitted" in text
        assert "`drrun readmit HOST`" in text
    for kind in ("md", "html", "junit"):
        shown = dark("report", run, "--format", kind).out
        assert "h3" in shown
        assert "readmitted" in shown, kind
    whole = json.loads(dark("report", run, "--format", "json").out)
    assert [(one["host"], one["method"]) for one in whole["fenced"]] == [("h3", "power")]
    assert "host.fenced" in found.err or "h3 is fenced, and left out" in found.err


class Hasty(SystemClock):
    """A clock whose waits are over at once: a host that died is not asked for three minutes."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__(stop)
        self._ahead = 0.0

    def monotonic(self) -> float:
        """Seconds, those among them that nobody waited."""
        return super().monotonic() + self._ahead

    def wait(self, seconds: float) -> None:
        """No time passes, and it has passed."""
        self._ahead += seconds


def test_a_resume_may_be_told_who_died_since(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """`drrun resume RUN --fenced …`: the unit on the host is passed over, the rest goes on."""
    monkeypatch.setattr("drrun.app.SystemClock", Hasty)
    desk.write("demo.yaml", RUNBOOK.replace("roles:", "on_unreachable: skip-fenced\nroles:"))
    perform = desk.world.perform

    def dies(host: HostName, script: bytes) -> object:
        if host == H3 and script.startswith(b"exec get data"):
            desk.world.down.add(H3)
        return perform(host, script)

    desk.world.perform = dies  # type: ignore[method-assign, assignment]
    assert desk("demo.yaml", "--yes").code == 1
    refused = desk("resume")
    assert refused.code == 4
    found = desk("resume", *WORD)
    assert found.code == 0, found.err
    assert "done, but for h3" in found.out
    assert desk.world.of(HostName("h1")) == {"server": "running", "data": "restored"}
    assert desk.world.of(H3)["data"] == "old"
