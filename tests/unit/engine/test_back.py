"""The way back: its order, what it could not prove and asks again at the end, and what a failure keeps away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from drrun.journal.events import ChangeIntended, UndoStarted, UnitFinished
from drrun.spi import Reply
from drrun.testing.world import Crash, StillClock
from drrun.values import HostName

from .conftest import Bench, compiled

Make: TypeAlias = Callable[..., Bench]
EVERY = ("h1", "h2", "h3")

CLUSTER = """
- {id: server, hosts: members, uses: odd.serve, with: {server: server}}
- {id: scheduler, hosts: members, uses: odd.serve, with: {server: scheduler}}
- {id: b, hosts: 'members[1]', uses: world.fail, on_failure: undo}
"""


def serving(made: Bench, *, healed: bool = True) -> Bench:
    """Each host runs a server and a scheduler, which is not ready on any host until the server of `h1` runs again."""
    for host in EVERY:
        keys = {name: word for n in ("server", "scheduler") for name, word in _keys(n)}
        made.world.of(HostName(host)).update(keys)
    perform = made.world.perform

    def performs(host: HostName, script: bytes) -> Reply:
        reply = perform(host, script)
        if script == b"exec set server stopped\n":
            made.world.of(host)["scheduler-probe"] = "no"
        if healed and script == b"exec set server runs\n":
            made.world.of(host)["scheduler-probe"] = "yes"
        return reply

    made.world.perform = performs  # type: ignore[method-assign]
    return made


def _keys(name: str) -> list[tuple[str, str]]:
    return [(name, "runs"), (f"{name}-probe", "yes")]


def said(made: Bench, unit: str) -> list[tuple[str, str]]:
    """(outcome, why) of each end of a unit's undo."""
    ends: list[Any] = made.of(UnitFinished)
    return [(str(e.outcome), e.why) for e in ends if e.undo and e.unit == unit]


def started(made: Bench) -> list[str]:
    """The steps whose undo sent a change, in order."""
    sent: list[Any] = made.of(ChangeIntended)
    return list(dict.fromkeys(e.unit.partition("@")[0] for e in sent if e.undo))


# --- what could not be proved --------------------------------------------------------------------


@pytest.mark.field("1", "v2")
def test_what_waits_for_others_is_asked_again_when_they_are_back(bench: Make) -> None:
    """A scheduler that is not ready without its server keeps nothing away, and is proved at the end: exit 8."""
    made = serving(bench(CLUSTER))
    assert made.drive().exit_code == 8
    found = "h1: world.value(key_=scheduler-probe) is no, must be yes: scheduler was ready before"
    assert said(made, "scheduler@h1") == [
        ("undone", f"put back, to be proved: {found}"),
        ("undone", "proved"),
    ]
    assert said(made, "server@h1") == [("undone", "")]
    assert {made.world.of(HostName(h))["server"] for h in EVERY} == {"runs"}


@pytest.mark.field("1", "v2")
def test_what_is_not_back_at_the_end_is_named_and_nothing_else(bench: Make) -> None:
    """Exit 9 with each host's answer; all else is back. When it is ready, another undo ends with 8."""
    made = serving(bench(CLUSTER, clock=StillClock()), healed=False)
    began = made.clock.monotonic()
    end = made.drive()
    assert (end.status, end.exit_code) == ("undo-failed", 9)
    assert [part.partition(": ")[0] for part in end.why.split("; ")] == [
        f"scheduler@{host}" for host in EVERY
    ]
    assert "server@" not in end.why
    assert {made.world.of(HostName(h))["server"] for h in EVERY} == {"runs"}
    assert made.state.units["scheduler@h1"].hint == "look at scheduler"  # type: ignore[index]
    assert (
        made.clock.monotonic() - began < 4 * 100
    )  # each waits its own time, one worker after the other
    for host in EVERY:
        made.world.of(HostName(host))["scheduler-probe"] = "yes"
    assert made.drive().exit_code == 8


@pytest.mark.field("1")
def test_what_cannot_be_asked_is_no_reason_to_stop(bench: Make) -> None:
    """A probe that makes no sense: the rest is put back, and the probe's own words are the report."""
    numbers = CLUSTER.replace("server: scheduler", "server: scheduler, number: true")
    end = (made := serving(bench(numbers), healed=False)).drive()
    assert end.exit_code == 9
    assert "scheduler-probe) cannot be read: invalid literal" in end.why
    assert {made.world.of(HostName(h))["server"] for h in EVERY} == {"runs"}


def _touches() -> int:
    made = serving(Bench(compiled(CLUSTER)))
    made.drive()
    return made.world.touches


@pytest.mark.parametrize("fuse", range(0, _touches(), 3))
def test_killed_anywhere_on_the_way_back_it_still_asks_again(fuse: int) -> None:
    """What is owed is in the journal: the next controller asks it, and ends as a clean undo does."""
    made = serving(Bench(compiled(CLUSTER)))
    made.world.fuse = fuse
    with pytest.raises(Crash):
        made.drive()
    made.world.fuse = None
    if made.state.finished is None:
        if made.state.phase != "undo":
            made.before_attach = lambda recorder: recorder.record(UndoStarted(why="asked to"))
        assert made.drive().exit_code == 8
    for host in EVERY:
        keys = made.world.of(HostName(host))
        assert {keys[n] for n in ("server", "scheduler") if n in keys} == {"runs"}
    assert not any(record.unproved for record in made.state.units.values())


# --- the order -----------------------------------------------------------------------------------


@pytest.mark.field("v2")
def test_of_steps_side_by_side_the_one_listed_first_is_back_first(bench: Make) -> None:
    """Servers, and beside them who needs them: whichever was stopped first, servers are started first."""
    made = serving(
        bench(
            """
            - {id: server, hosts: members, uses: odd.serve, with: {server: server}}
            - {id: scheduler, hosts: members, needs: [], uses: odd.serve, with: {server: scheduler}}
            - {id: store, hosts: members, needs: [server, scheduler], uses: world.set, with: {key: k, to: new}}
            - {id: b, hosts: 'members[1]', uses: world.fail, on_failure: undo}
            """
        )
    )
    for host in EVERY:
        made.world.of(HostName(host))["k"] = "old"
    assert made.drive().exit_code == 8
    assert started(made) == ["store", "server", "scheduler"]
    assert said(made, "scheduler@h1") == [("undone", "")]


# --- what a failure keeps away -------------------------------------------------------------------


def test_a_group_that_is_not_undone_keeps_its_own_hosts_away_and_no_others(bench: Make) -> None:
    """Other hosts are put back; what was not begun is named beside the failure."""
    made = bench(
        """
        - {id: a, hosts: members, uses: world.set, with: {key: a, to: new}}
        - {id: g, hosts: 'members[1]', uses: odd.both-back, with: {key: g}}
        - {id: b, hosts: 'members[1]', uses: world.fail, on_failure: undo}
        """
    )
    for host in EVERY:
        made.world.of(HostName(host)).update(a="old", g="old")
    perform, broken = made.world.perform, [True]

    def fails(host: HostName, script: bytes) -> Reply:
        return perform(host, b"exec fail 4" if broken[0] and b"set g old" in script else script)

    made.world.perform = fails  # type: ignore[method-assign]
    end = made.drive()
    assert end.exit_code == 9
    assert end.why.startswith("g: ")
    assert end.why.endswith("; not begun because of that: a@h2")
    assert [made.world.of(HostName(h))["a"] for h in EVERY] == ["old", "new", "old"]
    broken[0] = False
    assert made.drive().exit_code == 8
    assert [made.world.of(HostName(h))["a"] for h in EVERY] == ["old", "old", "old"]
