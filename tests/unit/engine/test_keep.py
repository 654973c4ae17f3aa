"""`keep`: no turn begins that would leave too few healthy, however many run side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from drrun.errors import AuthorError
from drrun.execute.keep import measure
from drrun.journal.events import ChangeIntended, Noted, UndoStarted
from drrun.model.rule import FactRef
from drrun.plan.plan import Keep, Plan
from drrun.testing.world import Crash, World
from drrun.values import HostName, NotKnown

from .conftest import Bench, compiled

KEEP = "keep: {role: members, fact: world.value, with: {key_: healthy}, is: 'yes'"
TURN = "- {id: turn, hosts: members, uses: member.turn, order: serial, " + KEEP + "}}"
SIDE_BY_SIDE = TURN.replace("order: serial, ", "")
HOSTS = [HostName(f"h{n}") for n in (1, 2, 3)]


def bench(steps: str, *down: str, forks: int = 1) -> Bench:
    """Three members, some of them down."""
    made = Bench(compiled(steps), forks=forks)
    for host in HOSTS:
        made.world.of(host)["healthy"] = "no" if host in down else "yes"
    return made


def sent(made: Bench) -> list[str]:
    """The units whose changes were sent."""
    return [e.unit for e in made.of(ChangeIntended) if isinstance(e, ChangeIntended)]


def test_all_healthy_each_has_its_turn_and_each_is_measured() -> None:
    """Three of three: two stay; the journal holds what was counted before each turn."""
    made = bench(TURN)
    assert made.drive().exit_code == 0
    notes = [e.text for e in made.of(Noted) if isinstance(e, Noted)]
    counted = "its turn: 3 of 3 are healthy (world.value(key_=healthy)), 2 must stay so"
    assert notes == [counted] * 3


def test_with_one_down_nobody_else_has_a_turn() -> None:
    """Refused before the first change; the dry-run says the same."""
    made = bench(TURN, "h3")
    why = "while h1 has its turn 1 would be healthy: 2 of 3 are healthy"
    assert why in made.forecast().refusals[0].refused
    finish = made.drive()
    assert (finish.status, finish.exit_code) == ("refused", 5)
    assert why in finish.why
    assert "not healthy: h3" in finish.why
    assert sent(made) == []


def test_one_that_goes_down_meanwhile_stops_the_next_turn() -> None:
    """Measured before each turn: h1 does not come back, h2 has none."""
    made = bench(TURN)
    real = made.world.perform

    def perform(host: HostName, script: bytes) -> object:
        reply = real(host, script)
        if (host, script) == ("h3", b"exec get healthy\n") and sent(made) == ["turn@h1"] * 2:
            made.world.of(HOSTS[0])["healthy"] = "no"
        return reply

    made.world.perform = perform  # type: ignore[method-assign, assignment]
    finish = made.drive()
    assert finish.exit_code == 5
    assert "while h2 has its turn 1 would be healthy" in finish.why
    assert set(sent(made)) == {"turn@h1"}


def test_the_one_that_is_down_may_have_its_turn() -> None:
    """Nothing is taken from the others: that is how it comes back."""
    made = bench(TURN.replace("hosts: members", "hosts: h3"), "h3")
    assert made.drive().exit_code == 0
    assert made.world.of(HOSTS[2])["healthy"] == "yes"


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param(SIDE_BY_SIDE, id="hosts-of-one-step"),
        pytest.param(
            SIDE_BY_SIDE.replace("hosts: members", "hosts: h1")
            + "\n"
            + SIDE_BY_SIDE.replace("hosts: members", "hosts: h2|h3")
            .replace("id: turn", "id: other")
            .replace("uses:", "needs: [], uses:"),
            id="two-branches",
        ),
    ],
)
def test_side_by_side_one_waits_for_the_other(steps: str) -> None:
    """Without any order, with a thread each: never two away, and all have had their turn."""
    made = bench(steps, forks=8)
    most = most_away(made.world)
    assert made.drive().exit_code == 0
    assert most() == 1
    assert len(sent(made)) == 6


def test_without_keep_side_by_side_loses_the_quorum() -> None:
    """The same step without it: what the tests above would show if `keep` did nothing."""
    made = bench(SIDE_BY_SIDE.partition(", keep:")[0] + "}", forks=8)
    most = most_away(made.world)
    assert made.drive().exit_code == 0
    assert most() > 1


def most_away(world: World) -> Callable[[], int]:
    """Watch the world: how many were away at the same time, at most.

    Whoever leaves gives the others half a second to leave as well.
    """
    real, counts, together = world.perform, [0], threading.Barrier(2)

    def perform(host: HostName, script: bytes) -> object:
        reply = real(host, script)
        counts.append(sum(world.of(h)["healthy"] == "no" for h in HOSTS))
        if script == b"exec set healthy no\n":
            world.lock.release()
            with suppress(threading.BrokenBarrierError):
                together.wait(timeout=0.5)
            world.lock.acquire()
        return reply

    world.perform = perform  # type: ignore[method-assign, assignment]
    return lambda: max(counts)


def test_what_is_lost_already_is_said_and_stops() -> None:
    """Two of three down: nothing is kept by going on, so that has to be asked for by name."""
    made = bench(TURN, "h2", "h3")
    assert "it is lost already" in made.forecast().refusals[0].refused
    finish = made.drive()
    assert finish.exit_code == 5
    assert "it is lost already: 1 of 3 are healthy" in finish.why
    assert sent(made) == []


def test_if_lost_proceed_goes_on_and_says_so() -> None:
    """As when members are started again; once a quorum is back, it is kept again."""
    made = bench(TURN.replace("is: 'yes'", "is: 'yes', if_lost: proceed"), "h2", "h3")
    assert made.forecast().refusals == ()
    assert made.drive().exit_code == 0
    notes = [e.text.partition(":")[0] for e in made.of(Noted) if isinstance(e, Noted)]
    assert notes == ["lost already, and goes on as told"] * 2 + ["its turn"]


def test_a_host_that_cannot_be_asked_is_not_healthy() -> None:
    """It is counted as down, and stops the others' turns."""
    made = bench(TURN.replace("hosts: members", "hosts: h1"))
    real = made.world.perform

    def perform(host: HostName, script: bytes) -> object:
        if (host, script) == ("h3", b"exec get healthy\n"):
            made.world.down.add(host)
        return real(host, script)

    made.world.perform = perform  # type: ignore[method-assign, assignment]
    made.world.of(HOSTS[1])["healthy"] = "no"
    finish = made.drive()
    assert finish.exit_code == 5
    assert sent(made) == []


@pytest.mark.parametrize("fuse", range(4, 60, 3))
def test_a_turn_that_began_is_ended_by_a_resume_whatever_happened(fuse: int) -> None:
    """The controller dies in it, another member goes down: what was sent is followed to its end."""
    made = bench(TURN.replace("hosts: members", "hosts: h1"))
    made.world.fuse = fuse
    try:
        made.drive()
    except Crash:
        made.world.fuse = None
        made.world.of(HOSTS[1])["healthy"] = "no"
        begun = bool(sent(made))
        finish = made.drive()
        assert finish.exit_code == (0 if begun else 5), finish
        assert made.world.of(HOSTS[0])["healthy"] == "yes"


def test_an_undo_is_not_refused() -> None:
    """It goes back whatever is healthy: to stay half-way is worse."""
    made = bench(TURN)
    assert made.drive().exit_code == 0
    made.world.of(HOSTS[1])["healthy"] = made.world.of(HOSTS[2])["healthy"] = "no"
    made.before_attach = lambda recorder: recorder.record(UndoStarted(why="asked to"))
    assert made.drive().exit_code == 8
    assert [u.status for u in made.state.units.values()] == ["undone"] * 3


def test_a_dry_run_leaves_to_the_run_what_earlier_turns_change() -> None:
    """`touches` without a value: later turns are checked at run, not guessed."""
    keep = Keep(FactRef("f"), True, tuple(HOSTS), 2, "stop", 60.0)
    answers = {HOSTS[0]: True, HOSTS[1]: True, HOSTS[2]: NotKnown("turn")}
    found = measure(keep, [HOSTS[0]], (), answers)
    assert (found.left, found.perhaps) == (1, 1)
    assert measure(keep, [HOSTS[0]], [HOSTS[1]], answers).left == 0


@pytest.mark.parametrize(
    ("text", "least"), [("quorum", 2), ("1", 1), ("50%", 2), ("34%", 2), ("33%", 1)]
)
def test_at_least_is_a_number_a_share_or_a_quorum(text: str, least: int) -> None:
    """Of three; a share is rounded up. The plan keeps it through its JSON."""
    plan = compiled(TURN.replace("is: 'yes'", f"is: 'yes', at_least: {text}"))
    again = Plan.from_json(plan.to_json())
    assert again.steps[0].keep is not None
    assert again.steps[0].keep == plan.steps[0].keep
    assert again.steps[0].keep.least == least


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("is: 'yes', at_least: 3", "nobody could have a turn"),
        ("is: 'yes', at_least: 100%", "nobody could have a turn"),
        ("is: 'yes', at_least: most", "at_least"),
        ("is: [no]", "is never"),
        ("is: '{{ steps.turn.outputs.x }}'", "proved before the run"),
    ],
)
def test_a_keep_that_makes_no_sense_is_a_mistake(text: str, why: str) -> None:
    """Found by lint, at its place."""
    with pytest.raises(AuthorError) as caught:
        compiled(TURN.replace("is: 'yes'", text))
    assert why in str(caught.value.diagnostics)
