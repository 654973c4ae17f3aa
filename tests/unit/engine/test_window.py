"""A critical region is admitted once, before it begins, and never stopped half-way (hazard H2)."""

from __future__ import annotations

import dataclasses
import json

import pytest

from drrun.journal.events import RunFinished
from drrun.plan.plan import Plan
from drrun.plan.window import Window, expected, refusal
from drrun.testing.world import StillClock
from drrun.values import HostName

from .conftest import Bench, compiled

HOUR = 3600.0
MIDNIGHT = 1_800_000_000.0 - 1_800_000_000.0 % 86_400
STEPS = """
- {id: stage, hosts: members, uses: world.safe-set, with: {key: spare, to: new}}
- {id: same, hosts: members, uses: world.agree, with: {key: spare}, safe_point: true}
- {id: stop, hosts: members, uses: world.safe-set, with: {key: server, to: stopped}, spread: 2h}
- id: ask
  hosts: members
  uses: world.agree
  with: {key: server}
  requires: [{fact: world.value, with: {key_: word}, hosts: h1, is: go}]
- {id: start, hosts: members, uses: world.safe-set, with: {key: server, to: running}}
"""
TAKES = {"region": 1200.0, "region_runs": 3.0, "undo": 600.0, "undo_runs": 1.0}


class _Half:
    def fraction(self) -> float:
        return 0.5


def bench(at: float, window: str = "22:00-02:00", word: str = "go") -> Bench:
    """A run at this time of the day, in hours."""
    plan = dataclasses.replace(compiled(STEPS), window=window)
    made = Bench(plan, clock=StillClock(MIDNIGHT + at * HOUR), chance=_Half())
    made.world.of(HostName("h1"))["word"] = word
    return made


def touched(made: Bench) -> set[str]:
    """The keys that were changed."""
    return {key for _, key, _ in made.world.effects}


# --- the hours ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hour", "left", "opens"),
    [(21.5, 0, 0.5), (22, 4, 0), (1.5, 0.5, 0), (2, 0, 20), (12, 0, 10)],
)
def test_a_window_may_pass_midnight(hour: float, left: float, opens: float) -> None:
    """From the minute it opens to the one it closes, in UTC."""
    window, now = Window.parse("22:00-02:00"), MIDNIGHT + hour * HOUR
    assert (window.left(now), window.opens_in(now)) == (left * HOUR, opens * HOUR)


@pytest.mark.parametrize("text", ["22-2", "24:00-01:00", "10:00-10:00", "", "9:00-10:00"])
def test_what_is_no_window_is_a_mistake(text: str) -> None:
    """Never taken for one that is always open."""
    with pytest.raises(ValueError, match=r"window|leave it out"):
        Window.parse(text)


def test_what_is_expected_is_the_95th_percentile_of_what_was_seen() -> None:
    """Of twenty the nineteenth, of few the longest; what nobody saw is not made up."""
    assert expected([float(n) for n in range(1, 21)], []) == {"region": 19.0, "region_runs": 20}
    assert expected([3.0, 1.0], [2.0])["region"] == 3.0
    assert expected([], []) == {}


def test_region_and_undo_must_fit_into_what_is_left() -> None:
    """Half an hour for 20 and 10 minutes is enough, a second less is not; what is not known is said."""
    half_past_one = MIDNIGHT + 1.5 * HOUR
    assert refusal("22:00-02:00", TAKES, half_past_one) == ""
    late = refusal("22:00-02:00", TAKES, half_past_one + 1)
    assert "closes in 29m59s, and it takes 20m00s (p95 of 3), its undo 10m00s" in late
    assert refusal("22:00-02:00", {}, half_past_one + 1) == ""
    assert "it opens in 30m00s" in refusal("22:00-02:00", {}, MIDNIGHT + 21.5 * HOUR)


# --- the run ------------------------------------------------------------------------------------


def test_outside_of_the_window_the_run_rests_before_the_region() -> None:
    """What is staged is staged; nothing behind the safe point was begun, and a resume asks again."""
    made = bench(12)
    end = made.drive()
    assert (end.status, end.exit_code) == ("resting", 5)
    assert "is closed: it opens in 10h" in end.why
    assert touched(made) == {"spare"}
    assert made.drive().exit_code == 5
    made.clock = StillClock(MIDNIGHT + 22 * HOUR)
    assert made.drive().exit_code == 0
    assert touched(made) == {"spare", "server"}


def test_inside_of_it_the_run_goes_on_without_a_rest() -> None:
    """In one go."""
    made = bench(22)
    assert made.drive().status == "done"
    assert [e.why for e in made.of(RunFinished) if isinstance(e, RunFinished)] == [""]


def test_a_region_that_overruns_goes_on_to_its_end_and_is_recorded() -> None:
    """Three hosts wait an hour each: the window closes after the first half of the first one."""
    made = bench(1.5)
    assert made.drive().status == "done"
    (end,) = (e for e in made.of(RunFinished) if isinstance(e, RunFinished))
    assert end.why == "it ended outside of its window 22:00-02:00 UTC"


def test_a_region_that_began_is_never_asked_again() -> None:
    """Stopped half-way, the cluster is down: the resume goes on whatever the hour."""
    made = bench(22, word="wait")
    assert made.drive().exit_code == 5
    assert touched(made) == {"spare", "server"}
    made.world.of(HostName("h1"))["word"] = "go"
    made.clock = StillClock(MIDNIGHT + 12 * HOUR)
    assert made.drive().status == "done"


def test_a_plan_keeps_its_window() -> None:
    """A resume in another process asks the same; one without a window has the digest it ever had."""
    plan = dataclasses.replace(compiled(STEPS), window="22:00-02:00", expected=TAKES)
    again = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert (again.window, again.expected, again.digest) == (plan.window, TAKES, plan.digest)
    assert "window" not in compiled(STEPS).to_json()
