"""How well a member keeps up, out of its own metrics."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.steps.recorded_answers import recorded, said

from drrun_steps.etcd.metrics import EtcdPace, Pace, percentile


def test_what_a_busy_member_counted_and_timed() -> None:
    """Recorded on a member whose disk was busy with other things: 64 ms of a sync is no rarity there."""
    pace = EtcdPace().parse(recorded("metrics"))
    assert (pace.leader_changes, pace.heartbeats_failed, pace.why) == (1, 14, "")
    assert pace.seconds == pytest.approx(69.6, abs=0.1)
    assert pace.fsync == pytest.approx(110.1, abs=0.1)
    assert pace.commit == pytest.approx(212.5, abs=0.1)
    assert pace.round_trip == pytest.approx(96.3, abs=0.1)


def test_what_cannot_be_read_says_why() -> None:
    """No tool, no answer, a script that broke off: never a zero that looks like a fast disk."""
    assert EtcdPace().parse(said("", code=7, err="refused")) == Pace(why="refused")
    assert EtcdPace().parse(said("etcd_server_leader_changes_seen_total 1")).why


@given(st.lists(st.floats(0.0001, 8), min_size=1, max_size=60))
def test_a_percentile_lies_in_the_bucket_of_what_was_timed(times: list[float]) -> None:
    """As Prometheus reckons: not below the bound under the value, not above the one over it."""
    bounds = [0.001 * 2**n for n in range(14)] + [math.inf]
    buckets = {bound: float(sum(t <= bound for t in times)) for bound in bounds}
    value = sorted(times)[math.ceil(0.99 * len(times)) - 1]
    over = next(bound for bound in bounds if value <= bound)
    under = max([0.0, *(bound for bound in bounds if bound < over)])
    assert under * 1000 <= percentile(buckets) <= over * 1000


def test_above_the_last_bound_nothing_more_is_known() -> None:
    """What took longer than the last bucket has took at least that."""
    assert percentile({0.001: 0.0, 0.008: 0.0, math.inf: 5.0}) == 8.0
    assert percentile({}) == 0.0
