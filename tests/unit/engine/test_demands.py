"""What step types and runbooks may demand besides a state before a step, proved on the graph."""

from __future__ import annotations

import pytest

from drrun.errors import AuthorError
from tests.unit.engine import members

from .conftest import HEAD, compiled

SET = "- {{id: {0}, hosts: members, uses: world.set, with: {{key: {1}, to: {2}}}}}"
STOP, START = SET.format("stop", "server", "stopped"), SET.format("start", "server", "running")
SAVE = SET.format("save", "copy", "made")
WIPE = "- {id: wipe, hosts: members, uses: world.wipe, with: {key: store, to: new}}"


def refused(steps: str, rules: str = "", inputs: str = "") -> str:
    """What the compiler says; empty when it takes the runbook."""
    rules = "".join(f"\n  - {line}" for line in rules.strip().splitlines())
    head = HEAD + (f"{inputs}\n" if inputs else "") + (f"rules:{rules}\n" if rules else "")
    try:
        compiled(steps, head)
    except AuthorError as error:
        return str(error.diagnostics)
    return ""


def alone(step: str) -> str:
    """The same step, waiting for nothing."""
    return f"{step[:-1]}, needs: []}}"


def skippable(step: str) -> str:
    """The same step, under a condition."""
    return f"{step[:-1]}, when: 'false'}}"


# -- a step that must have been done ----------------------------------------------------------

SAVED = (
    "{every: {effect: destroy}, needs_step: {uses: world.set, with: {key: copy}}, because: save}"
)


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        pytest.param(f"{STOP}\n{SAVE}\n{WIPE}", "", id="done"),
        pytest.param(f"{STOP}\n{WIPE}\n{SAVE}", "nothing makes it come before wipe", id="after"),
        pytest.param(f"{STOP}\n{WIPE}", "no step of this runbook does it", id="missing"),
        pytest.param(f"{STOP}\n{skippable(SAVE)}\n{WIPE}", "`when` may skip it", id="skipped"),
        pytest.param(
            f"{STOP}\n{SAVE.replace('hosts: members', 'hosts: h1')}\n{WIPE}", "on h2", id="narrowed"
        ),
        pytest.param(
            f"{STOP}\n{SAVE.replace('copy', 'other')}\n{WIPE}", "no step of this", id="other-fields"
        ),
    ],
)
def test_nothing_is_destroyed_before_a_step_was_done(steps: str, why: str) -> None:
    """`every: {effect: destroy}` with `needs_step`: on every host, and never by luck."""
    said = refused(steps, SAVED)
    assert why in said
    assert bool(said) is bool(why)
    assert ("world.set (key=copy) must have been done" in said) is bool(why)


# -- what must follow -------------------------------------------------------------------------

FOLLOW = (
    "{every: {uses: world.wipe}, then_state: {fact: world.value, with: {key_: server}, "
    "is: running, anew: true}, because: it must serve again}"
)


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        pytest.param(f"{STOP}\n{WIPE}\n{START}", "", id="started"),
        pytest.param(f"{STOP}\n{WIPE}", "no step of this runbook does it", id="forgotten"),
        pytest.param(f"{STOP}\n{WIPE}\n{alone(START)}", "nothing makes it come after", id="beside"),
        pytest.param(f"{STOP}\n{WIPE}\n{skippable(START)}", "`when` may skip it", id="skipped"),
        pytest.param(
            f"{STOP}\n{WIPE}\n{START.replace('hosts: members', 'hosts: h1')}",
            "on h2",
            id="narrowed",
        ),
        pytest.param(
            f"{STOP}\n{WIPE}\n{START}\n{STOP.replace('id: stop', 'id: again')}",
            "again may reverse it",
            id="reversed",
        ),
    ],
)
def test_what_must_follow_a_step_is_proved(steps: str, why: str) -> None:
    """`then_state`: after the step, on every host, and it stays so to the end."""
    said = refused(steps, FOLLOW)
    assert why in said
    assert bool(said) is bool(why)
    assert ("it must serve again" in said) is bool(why)


def test_running_still_is_not_running_anew() -> None:
    """A start after a step that needed no stop proves nothing; a restart passes `stopped`."""
    seed = "- {id: seed, hosts: members, uses: member.seed, with: {snapshot: s}}"
    bounce = "- {id: bounce, hosts: members, uses: member.bounce}"
    assert "start finds it so: nothing makes it another before" in refused(f"{seed}\n{START}")
    assert refused(f"{seed}\n{bounce}") == ""
    assert refused(f"{STOP}\n{seed}\n{START}") == ""


def test_a_runbook_says_what_every_run_must_have_done() -> None:
    """A rule without `every`: dropped and skipped alike are refused, at the rule itself."""
    rule = "{then_step: {uses: world.set, with: {key: copy}, hosts: members}, because: a backup}"
    assert refused(f"{STOP}\n{SAVE}", rule) == ""
    assert "at its end, world.set (key=copy) must have been done" in refused(STOP, rule)
    assert "may skip it" in refused(f"{STOP}\n{skippable(SAVE)}", rule)


# -- what may stand from the beginning --------------------------------------------------------

STANDING = (
    "{every: {uses: world.fail}, needs_state: {fact: world.value, with: {key_: server}, "
    "is: running, standing: true}, because: it asks the server}"
)
FAIL = "- {id: ask, hosts: members, uses: world.fail}"


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        pytest.param(FAIL, "", id="untouched"),
        pytest.param(f"{FAIL}\n{STOP}", "", id="before-the-stop"),
        pytest.param(f"{STOP}\n{START}\n{FAIL}", "", id="after-the-start"),
        pytest.param(f"{STOP}\n{FAIL}\n{START}", "stop may reverse it before ask", id="stopped"),
        pytest.param(f"{FAIL}\n{alone(STOP)}", "stop may reverse it before ask", id="beside"),
        pytest.param(
            f"{FAIL}\n- {{id: bounce, hosts: members, uses: member.bounce, needs: []}}",
            "bounce leaves it for a while, beside ask",
            id="beside-a-restart",
        ),
    ],
)
def test_a_standing_state_is_broken_only_by_a_step(steps: str, why: str) -> None:
    """It need not be brought about; it may not be taken away before, or beside."""
    said = refused(steps, STANDING)
    assert why in said
    assert bool(said) is bool(why)


SERVICES = """
services:
  vault:
    alive: {fact: world.value, with: {key_: server}, hosts: members, is: running}
    because: it runs in the cluster that is recovered
"""
ASK = "- {id: ask, hosts: members, uses: world.fail, uses_service: [vault]}"


def test_no_step_rests_on_what_the_runbook_has_taken_down() -> None:
    """`uses_service`: names, secrets, images, stores of the cluster are not there on the way."""
    assert refused(f"{ASK}\n{STOP}\n{WIPE}\n{START}", inputs=SERVICES) == ""
    said = refused(f"{STOP}\n{ASK}\n{WIPE}\n{START}", inputs=SERVICES)
    assert "stop may reverse it before ask runs" in said
    assert "it needs vault: it runs in the cluster that is recovered" in said
    assert "there is no service" in refused(ASK.replace("vault", "vualt"), inputs=SERVICES)
    assert "did you mean `vault`" in refused(ASK.replace("vault", "vualt"), inputs=SERVICES)


# -- several steps of one kind ----------------------------------------------------------------


def test_no_two_at_the_same_time() -> None:
    """`alone`: hosts of one step and steps side by side alike must be ordered."""
    rule = "{every: {uses: world.fail}, alone: true, because: they share a disk}"
    together = "- {id: a, hosts: members, uses: world.fail}"
    one_by_one = f"{together[:-1]}, order: serial}}"
    assert "a@h1 and a@h2 may run at the same time" in refused(together, rule)
    assert refused(one_by_one, rule) == ""
    assert refused(f"{one_by_one}\n{one_by_one.replace('id: a', 'id: b')}", rule) == ""
    beside = f"{one_by_one}\n{alone(one_by_one.replace('id: a', 'id: b'))}"
    assert "may run at the same time" in refused(beside, rule)


def test_no_second_snapshot_in_one_restore() -> None:
    """Members made from different snapshots are refused; so are two templates, whatever they give."""
    seed = "- {{id: {0}, hosts: {1}, uses: member.seed, with: {{snapshot: {2}}}}}\n"
    rest = "- {id: bounce, hosts: members, uses: member.bounce}"
    same = seed.format("a", "h1", "s1") + seed.format("b", "h2|h3", "s1") + rest
    other = seed.format("a", "h1", "s1") + seed.format("b", "h2|h3", "s2") + rest
    assert refused(same) == ""
    assert f"a and b differ in snapshot', hint='{members.ONE_SOURCE}" in refused(other)
    given = "'{{{{ steps.{}.outputs.was }}}}'"
    asks = STOP + "\n" + SAVE + "\n"
    later = asks + seed.format("a", "h1", given.format("stop"))
    assert refused(later + seed.format("b", "h2|h3", given.format("stop")) + rest) == ""
    assert "differ in snapshot" in refused(
        later + seed.format("b", "h2|h3", given.format("save")) + rest
    )


# -- members of a cluster ---------------------------------------------------------------------

ADD = "- {id: add, hosts: h3, uses: member.add, with: {learner: true}}"
PROMOTE = "- {id: promote, hosts: h3, uses: member.promote}"
REMOVE = "- {id: remove, hosts: h3, uses: member.remove}"
REMOVE_DEAD = "- {id: remove, hosts: h1, uses: member.remove, with: {dead: true}}"


def test_two_members_are_never_added_or_removed_at_once() -> None:
    """Two hosts of one step, or an addition beside a removal."""
    both = ADD.replace("h3", "h2|h3")
    assert "may run at the same time" in refused(both)
    assert refused(f"{both[:-1]}, order: serial}}") == ""
    said = refused(f"{REMOVE_DEAD}\n{alone(ADD)}")
    assert members.ONE_AT_A_TIME in said


def test_a_dead_member_is_removed_before_another_is_added() -> None:
    """Adding first makes four of three with one dead."""
    assert refused(f"{REMOVE_DEAD}\n{ADD}\n{PROMOTE}") == ""
    said = refused(f"{ADD}\n{PROMOTE}\n{REMOVE_DEAD}")
    assert "before add, member.remove must have been done" in said
    assert members.REMOVE_FIRST in said


def test_a_living_member_is_removed_after_its_successor_was_promoted() -> None:
    """Learner first: nothing is taken away before what takes its place has caught up."""
    assert refused(f"{ADD}\n{PROMOTE}\n{REMOVE}") == ""
    said = refused(f"{REMOVE}\n{ADD}\n{PROMOTE}")
    assert "before remove, member.promote must have been done" in said
    assert members.LEARNER_FIRST in said


# -- rules that are none ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule",
    [
        "{every: {uses: world.fail}, because: says nothing}",
        "{every: {}, alone: true, because: of nothing}",
        "{every: {uses: world.fail, effect: read}, alone: true, because: of two kinds}",
        "{alone: true, because: of no steps}",
        "{then_step: {uses: world.set}, because: nowhere}",
        "{every: {uses: world.fail}, alone: true, needs_step: {uses: world.set}, because: two}",
    ],
)
def test_a_rule_says_one_thing_of_one_kind_of_steps(rule: str) -> None:
    """Anything else is a mistake of the runbook, with the forms that there are."""
    assert "a rule says one thing of one kind of steps" in refused(FAIL, rule)


def test_names_in_rules_are_checked() -> None:
    """Unknown step types and facts, a value that a fact never has, and what only a run knows."""
    every = "{every: {uses: world.fail}, because: b, "
    state = "needs_state: {fact: world.value, with: {key_: k}, hosts: members, is: "
    assert "did you mean `world.set`" in refused(FAIL, every + "needs_step: {uses: world.sett}}")
    assert "did you mean `world.fail`" in refused(
        FAIL, "{every: {uses: world.fial}, alone: true, because: b}"
    )
    assert "unknown-fact" in refused(FAIL, every + state.replace("world.value", "no.fact") + "v}}")
    assert "is never" in refused(FAIL, every + state + "[a]}}")
    known = f"{STOP}\n{FAIL}"
    assert "proved before the run" in refused(
        known, every + state + "'{{ steps.stop.outputs.was }}'}}"
    )
