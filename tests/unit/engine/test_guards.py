"""No way around a guard: what the graph proved is read live before each change (hazard H5).

Most plans here are such as the proof refuses, made by hand, so that only the guard is in the way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from drrun.errors import AuthorError, UsageError
from drrun.execute.decide import Finish
from drrun.journal.events import Resolved, UnitFinished
from drrun.lang.inventory import load_inventory
from drrun.lang.load import load_runbook
from drrun.plan.bind import bind
from drrun.plan.plan import Plan, Unit
from drrun.plan.select import starting_at
from drrun.testing.world import Answers, Crash, World
from drrun.values import HostName, Outcome, UnitId

from .conftest import HEAD, INVENTORY, Bench, compiled

Change: TypeAlias = Callable[[Plan], Plan]

RULES = """
rules:
  - every: {uses: world.wipe}
    needs_step: {uses: world.agree}
    because: nobody compared the members
"""
STEPS = """
- {id: stop, hosts: members, uses: world.set, with: {key: server, to: stopped}}
- {id: compare, hosts: members, uses: world.agree, with: {key: kind}}
- {id: wipe, hosts: members, uses: world.wipe, with: {key: store, to: new}}
"""
STATE = "world.value(key_=server) is running, must be stopped: wiping under a live server loses"
UNDONE = "world.agree was not done on h1 in this run: nobody compared the members"


def whole() -> Plan:
    """Stop, compare, wipe: the wipe needs a state and a step."""
    return compiled(STEPS, HEAD + RULES)


def with_step(plan: Plan, step: str, **fields: Any) -> Plan:
    """The plan with other fields of one step."""
    steps = tuple(replace(s, **fields) if s.id == step else s for s in plan.steps)
    return replace(plan, steps=steps)


def with_units(plan: Plan, change: Callable[[Unit], Unit | None]) -> Plan:
    """The plan with its units changed, or left out."""
    found = (change(unit) for unit in plan.units)
    return replace(plan, units=tuple(unit for unit in found if unit is not None))


def let_go_on(plan: Plan) -> Plan:
    """Nobody minds how the comparison ends."""
    return with_units(
        with_step(plan, "compare", on_failure="continue"),
        lambda unit: replace(unit, needs=tuple(replace(n, outcome="any") for n in unit.needs)),
    )


def running(plan: Plan) -> Bench:
    """Hosts on which the server runs."""
    bench = Bench(plan)
    for host in plan.targets:
        bench.world.of(host)["server"] = "running"
    return bench


def wiped(world: World) -> list[tuple[str, str, str]]:
    """What was destroyed."""
    return [effect for effect in world.effects if effect[1] == "store"]


WAYS: dict[str, tuple[Change, str]] = {
    "limited": (lambda p: with_units(p, lambda u: None if u.id == "stop@h2" else u), "h2: "),
    "skipped": (lambda p: with_step(p, "stop", when="false"), f"h1: {STATE}"),
    "skipped-proof": (lambda p: with_step(p, "compare", when="false"), UNDONE),
    "begun-later": (lambda p: starting_at(p, "wipe"), f"h1: {STATE}"),
    "begun-after-the-stop": (
        lambda p: starting_at(p, "compare"),
        f"h1: {STATE}",
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_run_is_refused_before_the_guarded_change(way: str) -> None:
    """By the guard, with the rule's reason; the dry-run says the same."""
    change, why = WAYS[way]
    bench = running(change(whole()))
    if way == "limited":  # nobody waits for the unit that --limit took out
        bench.plan = with_units(
            bench.plan, lambda u: replace(u, needs=() if u.step == "compare" else u.needs)
        )
    assert why in bench.forecast().refusals[0].refused
    finish = bench.drive()
    assert (finish.status, finish.exit_code) == ("refused", 5)
    assert why in finish.why
    assert wiped(bench.world) == []


def test_what_failed_and_was_let_go_on_was_not_done() -> None:
    """`on_failure: continue` on a proof, and a guarded step that does not mind: the guard does."""
    bench = running(let_go_on(whole()))
    bench.world.of(HostName("h2"))["kind"] = "another"
    forecast = bench.forecast()
    assert UNDONE in [unit.refused for unit in forecast.refusals]
    bench.drive()
    ended = {e.unit: e for e in bench.of(UnitFinished) if isinstance(e, UnitFinished)}
    assert ended[UnitId("compare")].outcome is Outcome.REFUSED
    assert ended[UnitId("wipe@h1")].why == UNDONE
    assert wiped(bench.world) == []


def test_limit_cannot_narrow_a_guard() -> None:
    """The stop narrowed by --limit does not prove the rule, which speaks of the whole role."""
    loaded = load_runbook(Path("test.yaml"), HEAD + "steps:" + STEPS)
    inventory = load_inventory(Path("inventory.yaml"), INVENTORY)
    binding = bind(loaded, inventory, {}, limit=frozenset({HostName("h1")}))
    assert binding.roles["members"] == ("h1",)
    with pytest.raises(AuthorError) as caught:
        compiled(STEPS, limit=frozenset({HostName("h1")}))
    assert "must be 'stopped' on h2" in str(caught.value.diagnostics)


def test_from_does_not_prove_what_it_leaves_out() -> None:
    """Where the state holds, the run may begin later; a step that was left out was not done."""
    stopped = running(starting_at(whole(), "compare"))
    for host in stopped.plan.targets:
        stopped.world.of(host)["server"] = "stopped"
    assert stopped.drive().exit_code == 0
    assert len(wiped(stopped.world)) == 3
    later = running(starting_at(whole(), "wipe"))
    for host in later.plan.targets:
        later.world.of(host)["server"] = "stopped"
    finish = later.drive()
    assert (finish.exit_code, finish.why) == (5, f"wipe@h1: {UNDONE}")
    assert wiped(later.world) == []


def test_from_refuses_a_step_that_needs_what_was_left_out() -> None:
    """By both names, and with the nearest step when there is no such one."""
    plan = compiled(
        STEPS + "- {id: tell, hosts: members, uses: world.set, "
        "with: {key: told, to: '{{ steps.compare.outputs.value }}'}}"
    )
    assert starting_at(plan, "compare").units[0].needs == ()
    with pytest.raises(UsageError, match="tell needs what compare gives"):
        starting_at(plan, "wipe")
    with pytest.raises(UsageError) as caught:
        starting_at(plan, "wip")
    assert "wipe" in caught.value.hint


def lost_stop(said: str) -> tuple[Bench, Finish]:
    """The stop of h1 is lost, and its host comes back running; a person says what became of it."""
    bench = running(whole())
    for fuse in range(200):
        bench = running(bench.plan)
        bench.world.fuse = fuse
        try:
            bench.drive()
        except Crash:
            if bench.world.effects and bench.state.units[UnitId("stop@h1")].changes:
                break
    bench.world.fuse = None
    for key in [key for key in bench.world.jobs if key[0] == "h1"]:
        del bench.world.jobs[key]
    bench.world.boots[HostName("h1")] = "boot-2"
    bench.world.of(HostName("h1"))["server"] = "running"
    bench.answers = Answers([said])
    return bench, bench.drive()


def test_a_persons_verdict_does_not_stand_in_for_the_state() -> None:
    """`succeeded` is recorded; what it should have brought about is read, and it does not hold."""
    bench, finish = lost_stop("succeeded")
    assert [e.verdict for e in bench.of(Resolved) if isinstance(e, Resolved)] == ["succeeded"]
    assert finish.exit_code == 1
    assert "the change did not take" in finish.why
    assert wiped(bench.world) == []


def test_a_guard_is_read_once_more_right_before_the_change() -> None:
    """A server that comes back after the unit looked is found: nothing is sent."""
    bench = running(whole())
    real, seen = bench.world.perform, []

    def perform(host: HostName, script: bytes) -> object:
        reply = real(host, script)
        if script == b"exec get server\n" and bench.world.effects[("h3", "server", "stopped")]:
            seen.append(host)
            if len(seen) == 4:  # the stop of h3 was proved, and the guard looked at each host
                bench.world.of(HostName("h2"))["server"] = "running"
        return reply

    bench.world.perform = perform  # type: ignore[method-assign, assignment]
    finish = bench.drive()
    assert finish.exit_code == 5
    assert STATE in finish.why
    assert wiped(bench.world) == []
