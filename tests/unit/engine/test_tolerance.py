"""Many hosts at once: in batches, apart by chance, and without the few that cannot be reached (H15)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest

from drrun.errors import AuthorError, Unreachable
from drrun.journal.events import UnitFinished
from drrun.lang.diagnostics import Diagnostic
from drrun.plan.plan import Plan
from drrun.plan.tolerance import spare
from drrun.testing.world import StillClock
from drrun.values import HostName, StepId

from .conftest import HEAD, Bench, compiled

H2, H3 = HostName("h2"), HostName("h3")
TOUCH = "- {{id: touch, hosts: members, uses: world.safe-set, with: {{key: k, to: v}}{more}}}"
TWO_OF_THREE = TOUCH.format(more=", tolerate: '67%'")


def outcomes(made: Bench) -> dict[str, tuple[str, bool]]:
    """Unit -> how it ended, and whether for lack of a line."""
    ended = (e for e in made.of(UnitFinished) if isinstance(e, UnitFinished))
    return {str(e.unit): (str(e.outcome), e.unreached) for e in ended}


def mistake(more: str, step: str = TOUCH) -> str:
    """What the compiler says of a step with these fields."""
    with pytest.raises(AuthorError) as caught:
        compiled(step.format(more=more))
    return " ".join(d.message for d in caught.value.diagnostics if isinstance(d, Diagnostic))


# --- who may be left out ------------------------------------------------------------------------


def test_hosts_that_cannot_be_reached_are_left_out_up_to_the_share() -> None:
    """Two of three at 67 %: the third is done, the others are told as not reached."""
    made = Bench(compiled(TWO_OF_THREE))
    made.world.down |= {H2, H3}
    assert made.drive().exit_code == 0
    assert {host for host, _, _ in made.world.effects} == {"h1"}
    left = ("skipped", True)
    assert outcomes(made) == {"touch@h1": ("changed", False), "touch@h2": left, "touch@h3": left}


def test_one_more_than_tolerated_stops_before_the_first_step() -> None:
    """Nothing was begun anywhere; all that cannot be reached are named."""
    made = Bench(compiled(TOUCH.format(more=", tolerate: '34%'")))
    made.world.down |= {H2, H3}
    with pytest.raises(
        Unreachable, match="2 of 3 hosts cannot be reached, 1 may be left out: h2, h3"
    ):
        made.drive()
    assert not made.world.effects


def test_a_host_that_another_step_needs_is_never_left_out() -> None:
    """Nor one that a check of another step asks: only who is in tolerant steps alone."""
    both = TWO_OF_THREE + (
        "\n- {id: b, hosts: h2, uses: world.safe-set, with: {key: l, to: v}}"
        "\n- {id: c, hosts: h1, uses: world.safe-set, with: {key: m, to: v}, requires: "
        "[{fact: world.value, with: {key_: k}, hosts: h3, is: v}]}"
    )
    plan = compiled(both)
    assert spare(plan) == frozenset()
    made = Bench(plan)
    made.world.down.add(H2)
    with pytest.raises(Unreachable):
        made.drive()


def test_the_share_is_rounded_down_and_a_number_is_a_number() -> None:
    """10 % of three hosts is none; an input says it as well."""
    assert compiled(TOUCH.format(more=", tolerate: '10%'")).steps[0].tolerate == 0
    assert compiled(TOUCH.format(more=", tolerate: 2")).steps[0].tolerate == 2
    head = HEAD + "inputs: {share: {default: 67%}}\n"
    step = TOUCH.format(more=", tolerate: '{{ inputs.share }}'")
    assert compiled(step, head).steps[0].tolerate == 2
    assert compiled(step, head, {"share": "0"}).steps[0].tolerate == 0


def test_a_host_that_falls_silent_later_is_left_out_as_well() -> None:
    """Nothing was sent to it; one more than tolerated fails the run as ever."""
    made = Bench(compiled(TOUCH.format(more=", tolerate: 1")))
    made.before_attach = lambda _recorder: made.world.down.add(H3)
    assert made.drive().exit_code == 0
    assert outcomes(made)["touch@h3"] == ("skipped", True)
    more = Bench(compiled(TOUCH.format(more=", tolerate: 1")))
    more.before_attach = lambda _recorder: more.world.down.update({H2, H3})
    assert more.drive().exit_code == 1
    assert [how for how, _ in outcomes(more).values()] == ["changed", "skipped", "failed"]


def test_what_is_no_share_is_a_mistake_at_its_place() -> None:
    """And a step that destroys can do without nobody."""
    assert "neither a number of hosts nor a share" in mistake(", tolerate: some")
    wipe = "- {{id: w, hosts: members, uses: world.wipe, with: {{key: k, to: v}}{more}}}"
    assert "destroys nothing can do without one" in mistake(", tolerate: 1", wipe)


def test_a_dry_run_leaves_them_out_as_the_run_does() -> None:
    """And says so; nothing is predicted there."""
    made = Bench(compiled(TWO_OF_THREE))
    made.world.down.add(H3)
    forecast = made.forecast()
    assert {change.host for change in forecast.changes} == {"h1", "h2"}
    assert [u.unit for u in forecast.units if "cannot be reached" in u.skipped] == ["touch@h3"]


def test_a_host_that_is_back_at_a_resume_stays_done() -> None:
    """What was left out is over: it is told, and done by hand; the plan keeps its word in JSON."""
    plan = compiled(TWO_OF_THREE)
    again = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert (again.steps[0].tolerate, again.digest) == (2, plan.digest)


# --- batches and chance -------------------------------------------------------------------------


def test_in_batches_a_host_begins_when_one_before_it_has_ended() -> None:
    """At most two at once: the third waits for the first."""
    units = compiled(TOUCH.format(more=", batch: 2")).units_of[StepId("touch")]
    assert [[need.host for need in unit.needs] for unit in units] == [[], [], ["h1"]]


@dataclass
class _Waits(StillClock):
    """A clock that remembers what was waited for."""

    waited: list[float] = field(default_factory=list)

    def wait(self, seconds: float) -> None:
        self.waited.append(seconds)
        super().wait(seconds)


class _Half:
    def fraction(self) -> float:
        return 0.5


def test_each_host_waits_by_chance_before_it_begins() -> None:
    """Up to the spread, each of its own."""
    clock = _Waits()
    made = Bench(compiled(TOUCH.format(more=", spread: 30s")), clock=clock, chance=_Half())
    assert made.drive().exit_code == 0
    assert clock.waited.count(15.0) == 3
