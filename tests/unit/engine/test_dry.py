"""The forecast: holes, grades, refusals, conditional changes, and what a run will check."""

from __future__ import annotations

from drrun.execute.dry import Dry
from drrun.values import Grade, HostName

from .conftest import REGISTRY, Bench, compiled


def test_a_fact_that_a_change_set_is_predicted_and_one_that_was_read_is_observed() -> None:
    """The first unit rests on the hosts, the second on the overlay."""
    made = Bench(
        compiled(
            """
            - {id: a, hosts: 'members[0]', uses: world.set, with: {key: k, to: v}}
            - {id: b, hosts: 'members[0]', uses: world.set, with: {key: k, to: v}}
            """
        )
    )
    forecast = made.forecast()
    assert [unit.grade for unit in forecast.units] == [Grade.OBSERVED, Grade.PREDICTED]
    assert [len(unit.changes) for unit in forecast.units] == [1, 0]


def test_a_guard_that_does_not_hold_now_but_will_is_believed() -> None:
    """The overlay says that the server will be stopped when the wipe comes."""
    made = Bench(
        compiled(
            """
            - {id: stop, hosts: members, uses: world.set, with: {key: server, to: stopped}}
            - {id: wipe, hosts: members, uses: world.wipe, with: {key: store, to: new}}
            """
        )
    )
    forecast = made.forecast()
    assert not forecast.refusals
    assert len(forecast.changes) == 6


def test_a_refusal_ends_the_forecast_with_5() -> None:
    """Hosts that do not agree are refused now as they would be in the run."""
    made = Bench(
        compiled(
            """
            - {id: agree, hosts: members, uses: world.agree, with: {key: k}}
            - {id: a, hosts: members, uses: world.set, with: {key: k, to: v}}
            """
        )
    )
    made.world.of(HostName("h2"))["k"] = "other"
    forecast = made.forecast()
    assert forecast.exit_code == 5
    assert "they must agree" in forecast.refusals[0].refused
    assert not forecast.changes


def test_offline_asks_nobody_and_says_so() -> None:
    """Without hosts every branch on a fact ends its unit's prediction as unknown."""
    plan = compiled("- {id: a, hosts: members, uses: world.set, with: {key: k, to: v}}")
    forecast = Dry(plan, REGISTRY, lambda _host, _facts: None, offline=True).forecast()
    assert {unit.grade for unit in forecast.units} == {Grade.UNKNOWN}
    assert "known after asking the host (offline)" in forecast.units[0].unknown


def test_a_destroying_step_of_grade_unknown_is_refused() -> None:
    """What cannot be told is not destroyed, unless accepted by name."""
    stop = "- {id: stop, hosts: members, uses: world.set, with: {key: server, to: stopped}}\n"
    wipe = "- {id: wipe, hosts: members, uses: world.wipe, with: {key: store, to: new}"
    plan = compiled(f"{stop}{wipe}}}")
    forecast = Dry(plan, REGISTRY, lambda _host, _facts: None).forecast()
    assert "destroys, and what it will do cannot be told" in forecast.refusals[0].refused
    plan = compiled(f"{stop}{wipe}, accept_unknown: true}}")
    assert not Dry(plan, REGISTRY, lambda _h, _f: None).forecast().refusals


def test_offline_a_destroying_step_is_unknown_but_not_refused() -> None:
    """Nobody was asked: that the prediction ends there says nothing against the run."""
    stop = "- {id: stop, hosts: members, uses: world.set, with: {key: server, to: stopped}}\n"
    wipe = "- {id: wipe, hosts: members, uses: world.wipe, with: {key: store, to: new}}"
    plan = compiled(stop + wipe)
    forecast = Dry(plan, REGISTRY, lambda _h, _f: None, offline=True).forecast()
    assert forecast.exit_code == 0
    assert {unit.grade for unit in forecast.units} == {Grade.UNKNOWN}


def test_what_an_unknown_step_would_give_is_a_hole() -> None:
    """The step behind it is unknown as well: it is not refused for a name that nobody defined."""
    plan = compiled(
        """
        - {id: a, hosts: members, uses: world.set, with: {key: k, to: v}}
        - {id: b, hosts: members, uses: world.set, with: {key: l, to: "{{ steps.a.outputs.was }}"}}
        """
    )
    forecast = Dry(plan, REGISTRY, lambda _host, _facts: None, offline=True).forecast()
    assert not forecast.refusals
    assert {unit.grade for unit in forecast.units} == {Grade.UNKNOWN}


def test_outputs_travel_as_holes() -> None:
    """A value that a later step takes from a touched fact is known after that step."""
    made = Bench(
        compiled(
            """
            - {id: a, hosts: members, uses: world.set, with: {key: k, to: v}}
            - {id: agree, hosts: members, uses: world.agree, with: {key: k}}
            - {id: b, hosts: members, uses: world.set, with: {key: l, to: "{{ steps.agree.outputs.value }}"}}
            """
        )
    )
    assert [c.preview for c in made.forecast().changes][-1] == "set l v"
