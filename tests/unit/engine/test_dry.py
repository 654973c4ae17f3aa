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


def test_always_steps_are_told_last_and_behind_a_refusal() -> None:
    """As a run does: they come whatever happened, and after every step that stands behind them."""
    made = Bench(
        compiled(
            """
            - {id: last, hosts: 'members[0]', uses: world.set, with: {key: k, to: v}, always: true}
            - {id: agree, hosts: members, uses: world.agree, with: {key: k}}
            - {id: never, hosts: members, uses: world.set, with: {key: l, to: v}}
            """
        )
    )
    made.world.of(HostName("h2"))["k"] = "other"
    forecast = made.forecast()
    assert [unit.unit for unit in forecast.units] == ["agree", "last@h1"]
    made.drive()
    assert made.world.effects == {("h1", "k", "v"): 1}


def test_what_does_not_wait_for_a_refused_step_is_told() -> None:
    """Nothing orders it behind the refusal: a run may well have done it by then."""
    made = Bench(
        compiled(
            """
            - {id: agree, hosts: members, uses: world.agree, with: {key: k}}
            - {id: aside, hosts: members, uses: world.set, with: {key: l, to: v}, needs: []}
            - {id: behind, hosts: members, uses: world.set, with: {key: m, to: v}, needs: [agree]}
            """
        )
    )
    made.world.of(HostName("h2"))["k"] = "other"
    assert [unit.step for unit in made.forecast().units] == ["agree", *["aside"] * 3]


def test_a_refusal_that_may_be_passed_over_is() -> None:
    """`on_failure: continue`: what asks for any outcome goes on, what asks for a good one does not."""
    made = Bench(
        compiled(
            """
            - {id: agree, hosts: members, uses: world.agree, with: {key: k}, on_failure: continue}
            - {id: behind, hosts: members, uses: world.set, with: {key: l, to: v}}
            - {id: any, hosts: members, uses: world.set, with: {key: m, to: v}, needs: [{step: agree, outcome: any}]}
            """
        )
    )
    made.world.of(HostName("h2"))["k"] = "other"
    assert [unit.step for unit in made.forecast().units] == ["agree", *["any"] * 3]
    made.drive()
    assert {key for _, key, _ in made.world.effects} == {"m"}


def test_behind_a_change_that_declares_nothing_nothing_is_known_of_its_host() -> None:
    """It may have set the very key: to tell what the next step does would be a guess."""
    steps = """
    - {id: bare, hosts: 'members[0]', uses: odd.do, with: {key: k, to: v, proved: PROVED}, on_unknown: ask}
    - {id: a, hosts: members, uses: world.set, with: {key: k, to: v}}
    """
    forecast = Bench(compiled(steps.replace("PROVED", "false"))).forecast()
    assert [u.grade for u in forecast.units] == [
        Grade.OBSERVED,
        Grade.UNKNOWN,
        *[Grade.OBSERVED] * 2,
    ]
    assert forecast.units[1].unknown == "known after bare.do"
    declared = Bench(compiled(steps.replace("PROVED", "true"))).forecast()
    assert [len(u.changes) for u in declared.units] == [1, 0, 1, 1]


def test_behind_a_unit_that_cannot_be_told_nothing_is_known_of_its_hosts() -> None:
    """What it will change is not known: neither is what a later step finds there."""
    made = Bench(
        compiled(
            """
            - {id: renew, hosts: 'members[0]', uses: odd.renew, with: {key: k, to: v}}
            - {id: branch, hosts: 'members[0]', uses: world.set, with: {key: k, to: w}}
            - {id: later, hosts: members, uses: world.set, with: {key: l, to: w}}
            """
        )
    )
    told = {str(unit.unit): unit.unknown for unit in made.forecast().units}
    assert told["branch@h1"] == "known after renew.renew"
    assert told["later@h1"] == "known after branch@h1"
    assert told["later@h2"] == ""


def test_a_step_that_needs_a_later_one_is_told_behind_it() -> None:
    """The order is that of the graph, wherever the steps stand in the runbook."""
    made = Bench(
        compiled(
            """
            - {id: second, hosts: 'members[0]', uses: world.set, with: {key: k, to: w}, needs: [first]}
            - {id: first, hosts: 'members[0]', uses: world.set, with: {key: k, to: v}, needs: []}
            """
        )
    )
    assert [c.preview for c in made.forecast().changes] == ["set k v", "set k w"]
