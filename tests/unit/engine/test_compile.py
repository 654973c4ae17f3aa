"""Model to plan: every mistake in one go, needs, and a plan that survives its JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable
from pathlib import Path

import pytest

from drrun.errors import AuthorError
from drrun.lang.diagnostics import Diagnostic, Source
from drrun.lang.inventory import load_inventory
from drrun.lang.load import load_runbook
from drrun.lang.tree import Node
from drrun.plan.bind import bind
from drrun.plan.early import early_mistakes
from drrun.plan.graph import step_graph, waves
from drrun.plan.plan import Plan
from drrun.values import StepId

from .conftest import HEAD, INVENTORY, REGISTRY, compiled

GRAPH = """
- {id: a, hosts: members, uses: world.set, with: {key: k, to: v}}
- {id: b, hosts: members, needs: [a], uses: world.set, with: {key: l, to: v}}
- {id: c, hosts: members, needs: [a], uses: world.set, with: {key: m, to: v}}
- {id: d, hosts: members, uses: world.agree, with: {key: k}}
- {id: e, hosts: members, needs: [{step: d}], order: serial, uses: world.set, with: {key: n, to: "{{ steps.d.outputs.value }}"}}
"""


def codes(caught: pytest.ExceptionInfo[AuthorError]) -> list[tuple[int, str]]:
    """(line, code) of each diagnostic."""
    found = [d for d in caught.value.diagnostics if isinstance(d, Diagnostic)]
    return sorted((d.line, d.code) for d in found)


def test_a_plan_is_the_same_after_its_json() -> None:
    """from_json(to_json(plan)) has the same digest, so a resume sees the plan that was sealed."""
    plan = compiled(GRAPH)
    again = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert again.digest == plan.digest
    assert again.units == plan.units


def test_a_step_without_needs_comes_after_every_earlier_one() -> None:
    """D waits for b and c, which wait for a."""
    plan = compiled(GRAPH)
    assert step_graph(plan)[StepId("d")] == ("b", "c")
    assert waves(plan) == [("a",), ("b", "c"), ("d",), ("e",)]


def test_serial_units_wait_for_each_other() -> None:
    """order: serial chains the hosts of one step."""
    units = compiled(GRAPH).units_of[StepId("e")]
    assert [[n.host for n in unit.needs if n.reason == "serial"] for unit in units] == [
        [],
        ["h1"],
        ["h2"],
    ]


def test_a_value_that_needs_a_run_stays_open_and_others_are_rendered() -> None:
    """Only fields that name another step's outputs are rendered later."""
    unit = compiled(GRAPH).units_of[StepId("e")][0]
    assert unit.params == {"key": "n"}
    assert unit.open == {"to": "{{ steps.d.outputs.value }}"}


def test_a_rendered_value_is_never_rendered_again() -> None:
    """A value that looks like a template is data: it stays in params, closed."""
    head = HEAD + "inputs: {text: {}}\n"
    step = "- {id: a, hosts: members, uses: world.set, with: {key: k, to: '{{ inputs.text }}'}}"
    unit = compiled(step, head, {"text": "{{ steps.a.outputs.was }}"}).units[0]
    assert unit.params["to"] == "{{ steps.a.outputs.was }}"
    assert not unit.open


def test_every_mistake_is_found_in_one_go() -> None:
    """Unknown step type, wrong field, missing field, bad hosts, unsafe retries: all at once."""
    with pytest.raises(AuthorError) as caught:
        compiled(
            """
            - {id: a, hosts: members, uses: world.sett, with: {key: k, to: v}}
            - {id: b, hosts: members, uses: world.set, with: {kee: k, to: v}}
            - {id: c, hosts: 'members[7]', uses: world.set, with: {key: k, to: v}}
            - {id: d, hosts: members, uses: world.set, with: {key: k, to: v}, retries: {attempts: 2}}
            """
        )
    found = {code for _, code in codes(caught)}
    assert {"unknown-step-type", "with", "hosts", "retries-unsafe"} <= found


def test_a_cycle_is_named_in_full() -> None:
    """A → b → c → a, at its place."""
    with pytest.raises(AuthorError) as caught:
        compiled(
            """
            - {id: a, hosts: members, needs: [c], uses: world.fail}
            - {id: b, hosts: members, needs: [a], uses: world.fail}
            - {id: c, hosts: members, needs: [b], uses: world.fail}
            """
        )
    text = str(caught.value.diagnostics)
    assert "wait for each other" in text
    assert all(f"{x}" in text for x in ("a →", "b →", "c →"))


def test_a_missing_role_and_a_missing_input_are_found_together() -> None:
    """Both are named, with what to do."""
    head = HEAD.replace("members: {min: 1}", "members: {min: 4}\n  extra: {}") + (
        "inputs: {snapshot: {required: true, help: A file}}\n"
    )
    text = head + "steps:\n  - {id: a, hosts: members, uses: world.fail}\n"
    loaded = load_runbook(Path("test.yaml"), text)
    inventory = load_inventory(Path("inventory.yaml"), INVENTORY)
    with pytest.raises(AuthorError) as caught:
        bind(loaded, inventory, {})
    said = str(caught.value.diagnostics)
    assert "needs at least 4 hosts, the group members has 3" in said
    assert "no group 'extra'" in said
    assert "the input snapshot is required: A file" in said


DEFAULTED = """
drrun: 1
name: test
title: A test
roles:
  members: {min: 1}
  seed: {max: 1}
  first: {max: 1, of: members, default: members & seed}
"""
FIRST = "- {id: f, hosts: first, uses: world.fail}"


def test_a_role_that_nobody_named_is_its_default() -> None:
    """An expression over the roles above it; a word on the command line counts more."""
    assert compiled(FIRST, DEFAULTED, {"role.seed": "h2"}).roles["first"] == ("h2",)
    both = {"role.seed": "h2", "role.first": "h3"}
    assert compiled(FIRST, DEFAULTED, both).roles["first"] == ("h3",)


@pytest.mark.parametrize(
    ("head", "inputs", "said"),
    [
        (DEFAULTED, {"role.members": "h1 | h2", "role.seed": "h3"}, "the group default 'members &"),
        (
            DEFAULTED,
            {"role.members": "h1 | h2", "role.seed": "h1", "role.first": "h3"},
            "the role first has hosts of members alone, and h3 is none",
        ),
        (DEFAULTED.replace("members & seed", "membres"), {"role.seed": "h1"}, "membres"),
    ],
    ids=["empty", "not-of", "misspelt"],
)
def test_a_default_or_a_choice_that_does_not_fit_is_told(
    head: str, inputs: dict[str, str], said: str
) -> None:
    """With the role's place in the file."""
    with pytest.raises(AuthorError) as caught:
        compiled(FIRST, head, inputs)
    assert said in str(caught.value.diagnostics)


def test_a_ring_through_a_step_without_needs_is_named() -> None:
    """A step without `needs` waits for all above it: one of those must not wait for it."""
    with pytest.raises(AuthorError) as caught:
        compiled(
            """
            - {id: a, hosts: members, needs: [c], uses: world.fail}
            - {id: b, hosts: members, uses: world.fail}
            - {id: c, hosts: members, uses: world.fail}
            """
        )
    (found,) = caught.value.diagnostics
    assert isinstance(found, Diagnostic)
    assert "a → c → b → a" in found.message
    assert "waits for every step above it" in found.hint


def test_a_step_may_need_a_later_one_that_waits_for_nothing() -> None:
    """The order of the text is not the order of the run."""
    plan = compiled(
        """
        - {id: a, hosts: members, needs: [b], uses: world.fail}
        - {id: b, hosts: members, needs: [], uses: world.fail}
        """
    )
    assert {unit.step: {need.step for need in unit.needs} for unit in plan.units} == {
        "a": {"b"},
        "b": set(),
    }


def test_a_file_that_is_no_runbook_yet_shows_its_plans_mistakes_as_well() -> None:
    """Unknown key, wrong type, unknown step type, unknown field and a ring: all in one go."""
    text = HEAD.replace("min: 1", "min: three") + textwrap.dedent(
        """
        rolez: {}
        steps:
          - {id: a, hosts: members, uses: world.sett, with: {key: k, to: v}}
          - {id: b, hosts: members, needs: [c], uses: world.set, with: {kee: k, to: "{{ inputs.x }}"}}
          - {id: c, hosts: members, needs: [b], uses: world.fail}
        """
    )

    def further(root: Node, source: Source) -> Iterable[Diagnostic]:
        return early_mistakes(root, source, REGISTRY)

    with pytest.raises(AuthorError) as caught:
        load_runbook(Path("test.yaml"), text, further=further)
    found = [code for _, code in codes(caught)]
    assert sorted(found) == [
        "cycle",
        "unknown-input",
        "unknown-key",
        "unknown-step-type",
        "with",
        "with",
        "wrong-type",
    ]
