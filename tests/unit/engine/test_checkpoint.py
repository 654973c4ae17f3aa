"""What a run knows of its hosts, at every point where it may die: nothing that is not so."""

from __future__ import annotations

from drrun.execute.asking import ask_facts
from drrun.execute.checkpoint import Checkpoint, checkpoint, host_drifts
from drrun.execute.hosts import Hosts
from drrun.testing.world import Crash, World, WorldTransport
from drrun.values import HostName

from .conftest import REGISTRY, Bench, compiled

STEPS = """
- {id: look, hosts: members, uses: world.agree, with: {key: mode}}
- {id: stop, hosts: members, uses: world.set, with: {key: server, to: stopped}}
- {id: wipe, hosts: members, uses: world.wipe, with: {key: data, to: new}}
- {id: note, hosts: 'members[0]', uses: world.set, with: {key: log, to: 'was {{ steps.wipe.on.h2.was }}'}}
- {id: start, hosts: members, order: serial, uses: world.set, with: {key: server, to: running}}
- {id: same, hosts: members, uses: world.agree, with: {key: data}}
"""


def made(fuse: int | None) -> Bench:
    """A run that dies at a point, over a world of its own."""
    bench = Bench(compiled(STEPS), World(fuse=fuse))
    for number, host in enumerate(("h1", "h2", "h3")):
        bench.world.of(HostName(host)).update(mode="calm", data=f"old{number}", server="running")
    return bench


def known(bench: Bench) -> Checkpoint:
    """What the journal says."""
    return checkpoint(bench.plan, bench.journal.events(), REGISTRY, bench.journal.outputs)


def test_at_every_point_of_death_what_is_known_is_so() -> None:
    """A hundred and more points: each fact that the journal vouches for is what the host says.

    Facts that a change in the air may have altered are not vouched for.
    """
    points = most = 0
    while True:
        bench = made(points)
        try:
            bench.drive()
        except Crash:
            pass
        else:
            break
        bench.world.fuse = None
        hosts = Hosts(bench.plan, WorldTransport(bench.world))
        found = known(bench)
        for fact in found.known:
            assert ask_facts(hosts.line(fact.host), [fact.fact]) == [fact.answer], points
        assert host_drifts(found, hosts) == ((), len(found.known))
        assert found.other_code == ()
        most = max(most, len(found.known))
        points += 1
    assert points > 100
    assert most >= 9


def test_a_finished_run_knows_all_that_it_read_and_set() -> None:
    """Each fact once, with the step that brought it about last; the rest was only read."""
    bench = made(None)
    bench.drive()
    found = {(k.host, k.fact.key): (k.answer, k.step) for k in known(bench).known}
    assert found[HostName("h1"), "world.value(key_=server)"] == ("running", "start")
    assert found[HostName("h3"), "world.value(key_=data)"] == ("new", "wipe")
    assert found[HostName("h1"), "world.value(key_=log)"] == ("was old1", "note")
    assert found[HostName("h2"), "world.value(key_=mode)"] == ("calm", None)
    assert len(found) == 10


def test_a_run_that_is_undone_knows_nothing() -> None:
    """Going back, a fact that differs is what is wanted."""
    plan = compiled(STEPS + "- {id: no, hosts: 'members[0]', uses: world.fail, on_failure: undo}\n")
    bench = Bench(plan)
    for host in ("h1", "h2", "h3"):
        bench.world.of(HostName(host)).update(mode="calm", data="old", server="running")
    assert bench.drive().status == "undone"
    assert known(bench).known == ()


def test_a_replay_has_no_means_to_act() -> None:
    """Looking at a checkpoint touches no host and writes nothing."""
    bench = made(40)
    try:
        bench.drive()
    except Crash:
        bench.world.fuse = None
    before = (len(bench.journal.written), bench.world.touches, dict(bench.world.effects))
    bench.world.down.update(HostName(host) for host in ("h1", "h2", "h3"))
    assert known(bench).known
    assert (len(bench.journal.written), bench.world.touches, dict(bench.world.effects)) == before
