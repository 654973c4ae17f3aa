"""A controller whose clock is turned while a run goes on: nothing is decided by it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from drrun.errors import StoreError
from drrun.journal.chain import Stamp
from drrun.report import document, text
from drrun.report.outage import goals, missed
from drrun.report.story import Story
from tests.unit.engine.conftest import compiled

from .conftest import STEPS, Desk

BEGAN = datetime(2026, 11, 22, 1, 0, 0, tzinfo=UTC)
HEAD = """
drrun: 1
name: test
title: A test
objectives: {rto: 1m}
roles:
  members: {min: 1}
"""


@dataclass
class Turned:
    """`drrun.store.disk.Stamps` of one boot, whose wall clock is turned by `by` seconds at record `at`.

    Each record is a tenth of a second after the one before.
    """

    by: float
    at: int = 19
    given: int = 0

    def __call__(self) -> Stamp:
        """The next one."""
        wall = BEGAN + timedelta(
            seconds=self.given / 10 + (self.by if self.given >= self.at else 0)
        )
        found = Stamp(wall.isoformat(timespec="milliseconds"), self.given * 10**8, "boot-1")
        self.given += 1
        return found


@pytest.mark.parametrize("by", [-7200.0, 90_000.0], ids=["back", "forth"])
def test_a_turned_clock_decides_nothing(tmp_path: Path, by: float) -> None:
    """Turned in the middle of a run: it ends in order, within its objective, and says so."""
    desk = Desk(tmp_path, stamps=Turned(by), plan=compiled(STEPS, HEAD))
    assert desk.app().start(desk.plan).exit_code == 0
    desk.proved()
    stored = desk.store.load("r-test")
    story = Story.of(stored.plan, stored.records)
    assert story.seconds == pytest.approx(0.1 * (len(stored.records) - 1), abs=0.01)
    assert all(a.ended is not None and a.ended >= a.began for a in story.attempts)
    assert [goal.met for goal in goals(story)] == [True]
    assert not missed(story)
    assert f"the controller's clock was turned: {by:+.1f} s before record 19" in text.end(story)
    told = json.loads(json.dumps(document.whole(story)))["clock_jumps"]
    assert told == [{"record": 19, "seconds": pytest.approx(by, abs=0.01)}]


def test_a_run_goes_on_though_the_clock_was_turned_back_before_the_resume(tmp_path: Path) -> None:
    """The order of the journal is that of its lines, not of its times."""
    desk = Desk(tmp_path, stamps=Turned(0))
    desk.disk.at, desk.disk.error = 30, 5
    with pytest.raises(StoreError, match="cannot be written"):
        desk.app().start(desk.plan)
    desk.stamps = Turned(-86_400, at=0)
    assert desk.app().resume(None).exit_code == 0
    desk.proved()
