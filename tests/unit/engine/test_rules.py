"""Ordering rules, proved on the graph: luck, `when` and tolerated failures are no proof."""

from __future__ import annotations

import pytest

from drrun.errors import AuthorError

from .conftest import compiled

STOP = "- {id: stop, hosts: members, uses: world.set, with: {key: server, to: stopped}}"
WIPE = "- {id: wipe, hosts: members, uses: world.wipe, with: {key: store, to: new}}"


def refused(steps: str) -> str:
    """The reason of the refusal."""
    with pytest.raises(AuthorError) as caught:
        compiled(steps)
    return str(caught.value.diagnostics)


def test_a_guarded_step_after_its_state_is_accepted() -> None:
    """Stop on every host, then wipe: proved."""
    assert len(compiled(f"{STOP}\n{WIPE}").units) == 6


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        pytest.param(WIPE, "no step of this runbook does it", id="dropped"),
        pytest.param(f"{WIPE}\n{STOP}", "nothing makes it come before", id="reordered"),
        pytest.param(
            STOP.replace("hosts: members", "hosts: 'members[0]'") + f"\n{WIPE}",
            "on h2",
            id="narrowed",
        ),
        pytest.param(
            f"{STOP[:-1]}, when: 'false'}}\n{WIPE}", "`when` may skip it", id="conditional"
        ),
        pytest.param(
            f"{STOP}\n{WIPE[:-1]}, needs: []}}", "nothing makes it come before", id="beside"
        ),
        pytest.param(
            f"{STOP[:-1]}, on_failure: continue}}\n"
            f"{WIPE[:-1]}, needs: [{{step: stop, outcome: any}}]}}",
            "nothing makes it come before",
            id="tolerated",
        ),
        pytest.param(
            f"{STOP}\n- {{id: up, hosts: members, uses: world.set, with: {{key: server, to: running}}}}"
            f"\n{WIPE}",
            "up may reverse it",
            id="reversed",
        ),
        pytest.param(
            f"{STOP}\n- {{id: up, hosts: members, needs: [stop], uses: world.set, "
            f"with: {{key: server, to: running}}}}\n{WIPE[:-1]}, needs: [stop]}}",
            "up may reverse it",
            id="raced",
        ),
    ],
)
def test_every_mutant_is_refused_with_its_reason(steps: str, reason: str) -> None:
    """Dropped, reordered, narrowed, skipped, reversed: each is refused before anything runs."""
    said = refused(steps)
    assert reason in said
    assert "wiping under a live server loses data" in said


def test_a_step_may_reverse_the_state_after_the_guarded_one() -> None:
    """Starting the server again after the wipe is what a restore does."""
    up = "- {id: up, hosts: members, uses: world.set, with: {key: server, to: running}}"
    assert len(compiled(f"{STOP}\n{WIPE}\n{up}").units) == 9


def test_a_state_that_is_brought_about_again_is_proved() -> None:
    """stop, start, stop, wipe: the last stop counts."""
    up = "- {id: up, hosts: members, uses: world.set, with: {key: server, to: running}}"
    again = STOP.replace("id: stop", "id: stop-again")
    assert len(compiled(f"{STOP}\n{up}\n{again}\n{WIPE}").units) == 12


def test_per_host_order_proves_nothing_about_other_hosts() -> None:
    """h1's wipe after h1's stop does not show that h2 is stopped."""
    said = refused(f"{STOP}\n{WIPE[:-1]}, needs: [{{step: stop, per: host}}]}}")
    assert "nothing makes it come before" in said


def ruled(rule: str) -> str:
    """A head of a runbook with one rule."""
    return f"""
drrun: 1
name: test
title: A test
inputs: {{what: {{type: string, default: k}}}}
roles: {{members: {{min: 1}}}}
rules:
  - {rule}
"""


SETS = """
- {id: first, hosts: members, uses: world.set, with: {key: k, to: v}}
- {id: second, hosts: members, needs: [], uses: world.set, with: {key: l, to: v}}
"""
NEEDS_L = "needs_step: {uses: world.set, with: {key: l}, hosts: members}, because: l before k}"


@pytest.mark.parametrize("key", ["k", "'{{ inputs.what }}'"])
def test_a_rule_may_be_about_steps_with_a_field(key: str) -> None:
    """Not every `world.set` needs the other first: the one about k does, and an input may say so."""
    with pytest.raises(AuthorError) as caught:
        compiled(SETS, ruled(f"{{every: {{uses: world.set, with: {{key: {key}}}}}, {NEEDS_L}"))
    said = str(caught.value.diagnostics)
    assert "l before k (rule of the runbook)" in said
    assert "first" in said
    about_l = NEEDS_L.replace("key: l", "key: k").replace("l before k", "k before l")
    text = f"{{every: {{uses: world.set, with: {{key: l}}}}, {about_l}"
    assert compiled(SETS.replace("needs: []", "needs: [first]"), ruled(text)).units


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        pytest.param(
            f"{{every: {{uses: world.set, with: {{kye: k}}}}, {NEEDS_L}",
            "world.set has no field 'kye'",
            id="misspelt",
        ),
        pytest.param(
            f"{{every: {{uses: world.set}}, {NEEDS_L.replace('key', 'kye')}",
            "world.set has no field 'kye'",
            id="misspelt-need",
        ),
        pytest.param(
            f"{{every: {{uses: world.set, with: {{key: '{{{{ steps.a.outputs.b }}}}'}}}}, {NEEDS_L}",
            "it cannot rest on what a step gives",
            id="of-the-run",
        ),
        pytest.param(
            f"{{every: {{uses: world.set, with: {{key: '{{{{ inputs.waht }}}}'}}}}, {NEEDS_L}",
            "waht",
            id="unknown-input",
        ),
        pytest.param(
            f"{{every: {{effect: change, with: {{key: k}}}}, {NEEDS_L}",
            "a rule says one thing of one kind of steps",
            id="no-type",
        ),
    ],
)
def test_a_rule_that_would_match_nothing_is_a_mistake(rule: str, said: str) -> None:
    """A guard that nobody stands under is worse than none."""
    with pytest.raises(AuthorError) as caught:
        compiled(SETS, ruled(rule))
    assert said in str(caught.value.diagnostics)


def test_the_runbooks_own_rules_are_proved_as_well() -> None:
    """`rules:` of the runbook guard every step of the named type."""
    head = """
drrun: 1
name: test
title: A test
roles: {members: {min: 1}}
rules:
  - every: {uses: world.fail}
    needs_state: {fact: world.value, with: {key_: k}, hosts: members, is: v}
    because: the author says so
"""
    with pytest.raises(AuthorError) as caught:
        compiled("- {id: f, hosts: members, uses: world.fail}", head)
    assert "the author says so (rule of the runbook)" in str(caught.value.diagnostics)
