"""Roles that may be empty, and hosts on which no step runs: they are left out, and nothing loses its order."""

from __future__ import annotations

import json

import pytest

from drrun.errors import AuthorError, Unreachable
from drrun.plan.plan import Plan
from drrun.report.dry import header
from drrun.values import HostName

from .conftest import HEAD, Bench, compiled

OPTIONAL = f"{HEAD}  workers: {{min: 0}}\n"
STEPS = """
- {id: first, hosts: members, uses: world.safe-set, with: {key: k, to: v}}
- {id: between, hosts: workers, needs: [first], uses: world.safe-set, with: {key: l, to: v}}
- {id: beside, hosts: members, needs: [], uses: world.safe-set, with: {key: n, to: v}}
- {id: last, hosts: members, needs: [between], uses: world.safe-set, with: {key: m, to: v}}
"""


def test_without_a_host_the_steps_are_left_out_and_the_order_stays() -> None:
    """What waits for a step that is left out waits for what that one would have waited for."""
    plan = compiled(STEPS, OPTIONAL)
    assert [step.id for step in plan.steps] == ["first", "beside", "last"]
    assert {need.step for unit in plan.units_of[plan.steps[2].id] for need in unit.needs} == {
        "first"
    }
    assert "! workers  no host has this role: its steps are left out" in "\n".join(header(plan))
    assert Bench(plan).drive().exit_code == 0


def test_a_step_left_out_that_waits_for_all_above_it_passes_that_on() -> None:
    """No `needs` of its own: all earlier steps."""
    plan = compiled(STEPS.replace("needs: [first], ", ""), OPTIONAL)
    assert {n.step for u in plan.units_of[plan.steps[2].id] for n in u.needs} == {"first"}


def test_with_a_host_the_steps_are_there() -> None:
    """Named on the command line, or by a group of the inventory; an empty word means nobody."""
    plan = compiled(STEPS, OPTIONAL, {"role.workers": "h2"})
    assert [step.hosts for step in plan.steps if step.id == "between"] == [("h2",)]
    assert header(plan) == header(compiled(STEPS, OPTIONAL, {"role.workers": "h2"}))
    assert "no host has this role" not in "\n".join(header(plan))
    assert len(compiled(STEPS, OPTIONAL, {"role.workers": ""}).steps) == 3


def test_a_group_that_is_asked_for_by_name_must_be_there() -> None:
    """A misspelt group is no empty role."""
    with pytest.raises(AuthorError) as caught:
        compiled(STEPS, OPTIONAL, {"role.workers": "wrokers"})
    assert "has no group 'wrokers'" in str(caught.value.diagnostics)


def test_a_step_needs_nothing_that_one_gives_which_is_left_out() -> None:
    """Its outputs would never be there."""
    steps = """
    - {id: a, hosts: workers, uses: world.agree, with: {key: k}}
    - {id: b, hosts: members, uses: world.set, with: {key: n, to: "{{ steps.a.outputs.value }}"}}
    """
    with pytest.raises(AuthorError) as caught:
        compiled(steps, OPTIONAL)
    assert "b needs what a gives, and its role is empty" in str(caught.value.diagnostics)


def test_a_role_that_may_not_be_empty_is_still_demanded() -> None:
    """Only `min: 0` says that nobody is enough."""
    with pytest.raises(AuthorError) as caught:
        compiled(STEPS, OPTIONAL.replace("min: 0", "min: 1"))
    assert "has no group 'workers'" in str(caught.value.diagnostics)


def test_a_rule_over_an_empty_role_asks_nobody() -> None:
    """And over its steps, which are not there."""
    rules = (
        "rules:\n  - every: {uses: world.wipe}\n    needs_step: {uses: world.agree, hosts: workers}\n"
        "    because: they must agree\n"
    )
    steps = """
    - {id: stop, hosts: members, uses: world.safe-set, with: {key: server, to: stopped}}
    - {id: agree, hosts: workers, uses: world.agree, with: {key: server}}
    - {id: wipe, hosts: members, uses: world.wipe, with: {key: store, to: new}}
    - {id: again, hosts: members, uses: world.agree, with: {key: store}}
    - {id: start, hosts: members, uses: world.safe-set, with: {key: server, to: running}}
    """
    assert len(compiled(steps, OPTIONAL + rules).steps) == 4


# --- hosts that nobody speaks to ----------------------------------------------------------------

GONE = HEAD + "inputs: {gone: {type: bool, default: 'false'}}\n"
ASIDE = """
- {id: aside, hosts: h3, uses: world.safe-set, with: {key: k, to: v}, when: not inputs.gone}
- {id: others, hosts: h1 | h2, uses: world.safe-set, with: {key: k, to: v}}
"""


def test_a_host_on_which_no_step_runs_is_not_connected_to() -> None:
    """`when` does not hold on any of its steps: it may be off, and is neither asked nor locked."""
    plan = compiled(ASIDE, GONE, {"gone": "true"})
    assert plan.unasked == ("h3",)
    assert "h3" not in plan.changed_hosts
    assert "! h3  is not connected to: no step that acts on it runs" in "\n".join(header(plan))
    made = Bench(plan)
    made.world.down.add(HostName("h3"))
    assert not made.forecast().refusals
    assert made.drive().exit_code == 0
    assert {host for host, _, _ in made.world.effects} == {"h1", "h2"}
    assert HostName("h3") not in {host for host, _, _ in made.world.fences}
    again = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert (again.unasked, again.digest) == (("h3",), plan.digest)


def test_a_host_on_which_a_step_may_run_is_connected_to() -> None:
    """By default, and where another step asks it something."""
    assert compiled(ASIDE, GONE).unasked == ()
    asked = ASIDE + (
        "- {id: c, hosts: h1, uses: world.safe-set, with: {key: m, to: v}, requires: "
        "[{fact: world.value, with: {key_: k}, hosts: h3, is: v}]}"
    )
    plan = compiled(asked, GONE, {"gone": "true"})
    assert plan.unasked == ()
    made = Bench(plan)
    made.world.down.add(HostName("h3"))
    with pytest.raises(Unreachable):
        made.drive()


def test_a_host_that_is_only_asked_is_one_of_the_plan() -> None:
    """A check of another step is enough to be connected to."""
    plan = compiled(
        "- {id: c, hosts: h1, uses: world.safe-set, with: {key: m, to: v}, requires: "
        "[{fact: world.value, with: {key_: k}, hosts: h3, is: v}]}"
    )
    assert "h3" in plan.targets
    made = Bench(plan)
    made.world.of(HostName("h3"))["k"] = "v"
    assert made.drive().exit_code == 0
