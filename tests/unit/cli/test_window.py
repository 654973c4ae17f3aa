"""`--window`: told before, kept over a resume, and measured by the runs that are kept (hazard H2)."""

from __future__ import annotations

import time

import pytest

from .conftest import Desk
from .test_stage import RUNBOOK


def hours(begin: int, end: int) -> str:
    """A window from so many hours from now to so many."""
    now = time.time()
    return "-".join(time.strftime("%H:%M", time.gmtime(now + n * 3600)) for n in (begin, end))


@pytest.fixture(name="desk")
def _desk(desk: Desk) -> Desk:
    """A desk with a runbook that has a safe point."""
    desk.write("staged.yaml", RUNBOOK)
    return desk


def test_a_window_that_is_closed_is_told_and_the_run_rests(desk: Desk) -> None:
    """Exit 5 with the hour; only what the safe point waits for was begun; a resume is no way around."""
    closed = hours(2, 4)
    said = desk("staged.yaml", "--window", closed, "--yes", "-q")
    assert said.code == 5
    assert f"the window {closed} UTC is closed" in said.err
    assert f"! the window {closed} UTC is closed" in said.out
    assert {key for _, key, _ in desk.world.effects} == {"spare"}
    assert desk("resume", "--yes", "-q").code == 5
    assert {key for _, key, _ in desk.world.effects} == {"spare"}


def test_a_runbook_without_a_safe_point_is_not_even_begun(desk: Desk) -> None:
    """There is nowhere to rest."""
    said = desk("demo.yaml", "--window", hours(2, 4), "--yes", "-q")
    assert said.code == 5
    assert "is closed: it opens in" in said.err
    assert not desk.world.effects


def test_a_window_that_is_open_lets_the_run_through(desk: Desk) -> None:
    """And the next one is told what this one took."""
    window = hours(-1, 4)
    first = desk("staged.yaml", "-n", "--window", window)
    assert f"window {window} UTC: how long it takes is not known" in first.out
    assert desk("staged.yaml", "--window", window, "--yes", "-q").code in {0, 7}
    assert (
        "(p95 of 1); its undo was never seen" in desk("staged.yaml", "-n", "--window", window).out
    )


@pytest.mark.parametrize(
    "words", [("--window", "tonight"), ("-n", "--out", "p.drrun", "--window", "22:00-02:00")]
)
def test_what_is_no_window_or_cannot_be_kept_is_usage(desk: Desk, words: tuple[str, ...]) -> None:
    """Exit 2, nothing begun."""
    assert desk("staged.yaml", *words).code == 2
    assert not desk.world.effects


def test_a_sealed_plan_rests_outside_its_window_and_is_applied_within(desk: Desk) -> None:
    """The plan says what is done; when it may begin is asked of `drrun apply`, staging left out."""
    assert desk("staged.yaml", "-n", "--out", "plan.drrun").code == 0
    closed, window = hours(2, 4), hours(-1, 4)
    told = desk("apply", "plan.drrun", "-n", "--window", window)
    assert f"window {window} UTC: how long it takes is not known" in told.out
    said = desk("apply", "plan.drrun", "--window", closed, "--yes", "-q")
    assert said.code == 5
    assert f"the window {closed} UTC is closed" in said.err
    assert {key for _, key, _ in desk.world.effects} == {"spare"}
    assert desk("resume", "--yes", "-q").code == 5
    desk.world.effects.clear()
    assert desk("staged.yaml", "-n", "--out", "other.drrun").code == 0
    assert desk("apply", "other.drrun", "--window", window, "--yes", "-q").code in {0, 7}
    assert len(desk.world.effects) > 1
