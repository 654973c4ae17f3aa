"""The comparison finds every kind of lie: else `N of N` would say nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from tests.truth.compare import judged
from tests.truth.foretold import Foretold
from tests.truth.generate import REGISTRY as TRUTH
from tests.truth.generate import Generated
from tests.unit.engine.conftest import REGISTRY, Bench, compiled

from drrun.execute.asking import Remembering
from drrun.execute.dry import Dry, Forecast, UnitForecast
from drrun.execute.forecast import Predicted
from drrun.execute.hosts import Hosts
from drrun.testing.steps import Value
from drrun.testing.world import WorldTransport
from drrun.values import HostName, digest

STEPS = """
- {id: a, hosts: members, uses: world.set, with: {key: k, to: v}}
- {id: b, hosts: members, uses: world.set, with: {key: l, to: w}, when: "'h2' in roles.members"}
- {id: c, hosts: members, uses: world.set, with: {key: l, to: x}, when: "'h9' in roles.members"}
"""


def ran() -> tuple[Forecast, Bench]:
    """A forecast and its run, which keeps it."""
    bench = Bench(compiled(STEPS))
    forecast = bench.forecast()
    assert bench.drive().status == "done"
    return forecast, bench


def altered(
    forecast: Forecast, unit: str, alter: Callable[[UnitForecast], UnitForecast]
) -> Forecast:
    """The forecast, but for one unit."""
    units = tuple(alter(u) if u.unit == unit else u for u in forecast.units)
    return dataclasses.replace(forecast, units=units)


def but(**other: object) -> Callable[[UnitForecast], UnitForecast]:
    """The unit with its first change altered."""

    def alter(unit: UnitForecast) -> UnitForecast:
        first = dataclasses.replace(unit.changes[0], **other)  # type: ignore[arg-type]
        return dataclasses.replace(unit, changes=(first, *unit.changes[1:]))

    return alter


def test_a_forecast_that_is_kept_is_counted_in_full() -> None:
    """Six changes on three hosts, six facts, three units skipped, no lie."""
    forecast, bench = ran()
    tally = judged(forecast, bench.journal.events(), REGISTRY)
    assert (tally.kept, tally.predicted, tally.facts_kept, tally.facts) == (6, 6, 6, 6)
    assert tally.lies == []


OTHER = {"text": "", "argv": ["set", "k", "other"], "env": {}}
LIES: dict[str, tuple[Callable[[UnitForecast], UnitForecast], str]] = {
    "not made": (
        lambda u: dataclasses.replace(
            u, changes=(*u.changes, dataclasses.replace(u.changes[0], name="more"))
        ),
        "not made: a@h1: more on h1",
    ),
    "made besides": (lambda u: dataclasses.replace(u, changes=()), "made besides: a@h1: set on h1"),
    "another host": (but(host=HostName("h2")), "made besides: a@h1: set on h1"),
    "another command": (but(command=OTHER, digest=digest(OTHER)), "another command: a@h1: set"),
    "another digest": (but(digest=digest("")), "its digest is of another command: a@h1: set"),
    "another value": (
        but(sets=(("world.value(key_=k)", "w"),)),
        "world.value(key_=k) of h1 is 'v'",
    ),
    "skipped": (lambda u: dataclasses.replace(u, skipped="when"), "a@h1 was to be skipped"),
    "refused": (lambda u: dataclasses.replace(u, refused="no"), "a@h1 was to be refused (no)"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_found(lie: str) -> None:
    """One unit told otherwise: the lie is named, and the line no longer says N of N."""
    alter, words = LIES[lie]
    forecast, bench = ran()
    tally = judged(altered(forecast, "a@h1", alter), bench.journal.events(), REGISTRY)
    assert any(words in text for text in tally.lies), tally.lies


def test_a_unit_that_nobody_told_of_is_a_lie() -> None:
    """Its changes count as predicted and not kept."""
    forecast, bench = ran()
    short = dataclasses.replace(forecast, units=forecast.units[1:])
    tally = judged(short, bench.journal.events(), REGISTRY)
    assert tally.kept == tally.predicted - 1
    assert "nobody told of a@h1: set on h1" in tally.lies


EMPTIED = """
drrun: 1
name: emptied
title: A value that only a run gives, and gives as nothing
inputs: {given: {type: string, default: c}}
roles: {members: {min: 1}, pair: {min: 1}}
steps:
  - {id: bare, hosts: members, uses: truth.bare, with: {to: k2, value: a}}
  - {id: a, hosts: members, uses: world.set, with: {key: k0, to: v}}
  - id: b
    hosts: members
    uses: truth.maybe
    with: {key: k1, to: k1, is_: a, value: "{{ steps.a.on[host.name].was }}"}
"""


def test_a_slot_that_a_run_leaves_empty_was_told_and_a_value_was_not() -> None:
    """What a step gives, only a run can tell; that it gives nothing ends the step that needs it."""
    empty = {host: dict.fromkeys(("k0", "k1", "k2"), "") for host in ("h1", "h2", "h3")}
    generated = Generated(EMPTIED, "a", empty)
    plan, world = generated.plan(), generated.inhabited()
    hosts = Hosts(plan, WorldTransport(world))
    forecast = Dry(plan, TRUTH, Remembering(hosts)).forecast()
    bench = Bench(plan, world, registry=TRUTH)
    assert "renders empty" in bench.drive().why
    events = bench.journal.events()
    assert judged(forecast, events, TRUTH).lies == []
    sure = altered(forecast, "b@h1", but(command=OTHER, digest=digest(OTHER)))
    assert any("b@h1 was to be done" in lie for lie in judged(sure, events, TRUTH).lies)


def test_a_unit_that_was_to_be_done_and_was_skipped_is_a_lie() -> None:
    """Skipping is not doing, even where nothing was to be changed."""
    forecast, bench = ran()
    told = altered(forecast, "c@h1", lambda u: dataclasses.replace(u, skipped=""))
    assert (
        "c@h1 was to be done, and was skipped"
        in judged(told, bench.journal.events(), REGISTRY).lies
    )


def test_an_order_against_the_graph_is_a_lie() -> None:
    """Whatever the units themselves did."""
    forecast, bench = ran()
    events = list(reversed(bench.journal.events()))
    found = judged(forecast, events, REGISTRY).lies
    assert any("began before a@h1 had ended" in text for text in found)


def test_a_slot_fits_any_value_and_the_words_around_it_do_not() -> None:
    """`known after` stands for one value, not for another command."""
    forecast, bench = ran()
    hole = {"text": "", "argv": ["set", "k", {"known_after": "x.y"}], "env": {}}

    def told(preview: str) -> list[str]:
        alter = but(command=hole, digest=digest(hole), preview=preview)
        return judged(altered(forecast, "a@h1", alter), bench.journal.events(), REGISTRY).lies

    assert told("set k <known after x.y>") == []
    assert told("set l <known after x.y>") != []


def test_what_is_told_to_the_end_is_read_at_the_end() -> None:
    """A value that somebody changes behind the run is found."""
    bench = Bench(compiled(STEPS))
    hosts, overlay = Hosts(bench.plan, WorldTransport(bench.world)), Foretold()
    Dry(bench.plan, REGISTRY, Remembering(hosts), overlay=overlay).forecast()
    bench.drive()
    bench.world.of(HostName("h2"))["k"] = "moved"
    total, lies = overlay.against(lambda host, fact: bench.world.of(host)[fact.key_])  # type: ignore[attr-defined]
    assert total == 6
    assert lies == [f"at the end {Value('k').key} of h2 is 'moved', told was 'v'"]


def test_a_prediction_says_which_of_its_facts_are_tests() -> None:
    """`changed` is a predicate, and not a value that the fact will have."""
    bench = Bench(
        compiled("- {id: a, hosts: 'members[0]', uses: odd.renew, with: {key: k, to: v}}")
    )
    change: Predicted = bench.forecast().changes[0]
    assert change.sets == (("world.value(key_=k)", "changed"),)
    assert change.tests == ("world.value(key_=k)",)
