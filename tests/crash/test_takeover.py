"""Two controllers, one run: a frozen one is taken over from, and wakes up to hosts that refuse it."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from drrun.errors import DrrunError
from drrun.store.folder import FolderStore
from drrun_lab.waiting import until

from .conftest import EXPECTED, ROOT, Place

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]


def intended(state: Path) -> int:
    """How many changes the run's journal announces so far."""
    store = FolderStore(state)
    try:
        runs = store.runs()
        events = store.load(runs[0]).events if runs else ()
    except DrrunError:
        return 0  # the plan is not written yet
    return sum(event.type == "change.intended" for event in events)


@pytest.mark.parametrize("after", [1, 12, 24])
def test_a_frozen_controller_is_taken_over_from_and_can_do_no_more(
    places: list[Place], tmp_path: Path, after: int
) -> None:
    """Frozen in the middle, taken over, woken up: it ends by itself, every effect happened once."""
    place, state = places[0], tmp_path / f"takeover{after}"
    words = place.words("start", state, 0, tmp_path / "old.trace")
    old = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        until(lambda: intended(state) >= after, timeout=60, awaiting=f"change {after}")
        old.send_signal(signal.SIGSTOP)
        assert place.drive("takeover", state, 0, tmp_path / "new.trace") == 0
        old.send_signal(signal.SIGCONT)
        _, told = old.communicate(timeout=60)
    finally:
        old.kill()
        old.wait()
    assert old.returncode != 0
    assert "taken over" in told
    assert place.counted(state) == EXPECTED
    events = FolderStore(state).find(None).events
    assert [e.type for e in events].count("run.finished") == 1
    assert [e.type for e in events].count("run.attached") == 2


def test_a_second_run_on_the_same_hosts_is_refused_with_the_holders_name(
    places: list[Place], tmp_path: Path
) -> None:
    """While one run holds the hosts, another ends before it changes anything."""
    place, state = places[0], tmp_path / "first"
    words = place.words("start", state, 0, tmp_path / "first.trace")
    first = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        until(lambda: intended(state) >= 1, timeout=60, awaiting="the first change")
        first.send_signal(signal.SIGSTOP)
        second = subprocess.run(
            place.words("start", tmp_path / "second", 0, tmp_path / "second.trace"),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert second.returncode != 0
        assert "is held by another run" in second.stderr
        assert FolderStore(state).runs()[0] in second.stderr
        assert intended(tmp_path / "second") == 0
        first.send_signal(signal.SIGCONT)
        assert first.wait(timeout=120) == 0
    finally:
        first.kill()
        first.wait()
    assert place.counted(state) == EXPECTED
