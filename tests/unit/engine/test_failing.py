"""When steps fail: retries, timeouts, what goes on, what is undone and in which order, `always`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

import pytest

from drrun.errors import JournalDamaged, Unreachable
from drrun.execute.drive import Driver
from drrun.execute.recorder import Recorder
from drrun.journal.events import (
    ChangeIntended,
    PointOfNoReturn,
    Resolved,
    UndoStarted,
    UnitFinished,
    UnitStarted,
)
from drrun.journal.state import RunState
from drrun.plan.plan import LONGEST, Retry
from drrun.ports import Job, JobReport
from drrun.testing.world import Answers, StillClock, WorldLine
from drrun.values import HostName, Outcome, UnitId

from .conftest import Bench, compiled

Make: TypeAlias = Callable[..., Bench]

H1 = HostName("h1")


def ends(made: Bench, *, undo: bool = False) -> list[tuple[str, str]]:
    """(unit, outcome) of each end, in order."""
    found = [e for e in made.of(UnitFinished) if isinstance(e, UnitFinished)]
    return [(str(e.unit), str(e.outcome)) for e in found if e.undo == undo]


def unknown(recorder: Recorder, unit: UnitId) -> None:
    """Journal that a unit began, and that nobody can tell how it ended."""
    recorder.record(UnitStarted(unit=unit, attempt=1))
    ended = UnitFinished(unit=unit, attempt=1, outcome=Outcome.UNKNOWN, why="lost")
    recorder.record(ended)


def sent(made: Bench, *, undo: bool = False) -> list[str]:
    """The units of each intent, in order."""
    found = [e for e in made.of(ChangeIntended) if isinstance(e, ChangeIntended)]
    return [str(e.unit) for e in found if e.undo == undo]


# --- retries -------------------------------------------------------------------------------------


@dataclass
class Loaded:
    """`drrun.ports.Chance` that says what the test says."""

    says: list[float] = field(default_factory=list)

    def fraction(self) -> float:
        """The next number."""
        return self.says.pop(0)


class Watched(StillClock):
    """A clock that keeps how long it was waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, seconds: float) -> None:
        """Keep it, and go on."""
        self.waits.append(seconds)
        super().wait(seconds)


def waited(made: Bench, monkeypatch: pytest.MonkeyPatch, says: Iterable[float]) -> list[float]:
    """How long the driver waited between attempts, with these numbers from chance."""
    clock, init = Watched(), Driver.__init__

    def with_chance(self: Driver, *args: object, **more: object) -> None:
        init(self, *args, **more)  # type: ignore[arg-type]
        self.clock, self.chance = clock, Loaded(list(says))

    with monkeypatch.context() as patch:
        patch.setattr(Driver, "__init__", with_chance)
        made.drive()
    return clock.waits


def test_waits_between_attempts_grow_and_are_spread(
    bench: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """2 s doubled each time; of each, between half and all, as chance says."""
    made = bench(
        "- {id: a, hosts: 'members[0]', uses: world.fail, retries: {attempts: 4, delay: 2s}}"
    )
    assert waited(made, monkeypatch, [0.0, 0.5, 1.0]) == [1.0, 3.0, 8.0]
    assert ends(made) == [("a@h1", "failed")] * 4


def test_fixed_waits_do_not_grow(bench: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """backoff: fixed."""
    made = bench(
        "- {id: a, hosts: 'members[0]', uses: world.fail,"
        " retries: {attempts: 3, delay: 4s, backoff: fixed}}"
    )
    assert waited(made, monkeypatch, [1.0, 1.0]) == [4.0, 4.0]


def test_waits_stop_growing() -> None:
    """A hundred attempts do not end in a wait of years; a longer one that was written stays."""
    assert Retry(100, 2.0).wait(99) == LONGEST
    assert Retry(100, 600.0).wait(99) == 600.0


def test_a_retry_that_succeeds_lets_the_run_go_on(bench: Make) -> None:
    """What failed once and then did not is done; later steps follow."""
    made = bench(
        """
        - {id: a, hosts: 'members[0]', uses: world.safe-set, with: {key: k, to: v}, retries: {attempts: 2}}
        - {id: b, hosts: 'members[0]', uses: world.safe-set, with: {key: l, to: v}}
        """
    )
    perform, broken = made.world.perform, [True]

    def once(host: HostName, script: bytes) -> object:
        if broken[0] and script.startswith(b"exec set k"):
            broken[0] = False
            return perform(host, b"exec fail 3")
        return perform(host, script)

    made.world.perform = once  # type: ignore[method-assign, assignment]
    assert made.drive().exit_code == 0
    assert ends(made) == [("a@h1", "failed"), ("a@h1", "changed"), ("b@h1", "changed")]


def test_a_refusal_is_not_tried_again(bench: Make) -> None:
    """Retries are for failures: what may not be is not tried until it may."""
    made = bench(
        "- {id: a, hosts: members, uses: world.agree, with: {key: k}, retries: {attempts: 3}}"
    )
    made.world.of(H1)["k"] = "other"
    assert made.drive().exit_code == 5
    assert ends(made) == [("a", "refused")]


# --- timeouts ------------------------------------------------------------------------------------


def test_a_safe_change_that_was_killed_failed_and_is_tried_again(bench: Make) -> None:
    """A timeout that killed: safe is failed, and says so."""
    made = bench(
        "- {id: a, hosts: 'members[0]', uses: odd.hang, repeat: safe, retries: {attempts: 2}}"
    )
    finish = made.drive()
    assert (finish.status, finish.exit_code) == ("failed", 1)
    assert "ended after its timeout of 30s" in finish.why
    assert ends(made) == [("a@h1", "failed")] * 2


def test_a_change_that_may_never_be_repeated_is_unknown_when_it_was_killed(bench: Make) -> None:
    """Nobody can say how far it came: the run waits, and a resume does not send it again."""
    made = bench("- {id: a, hosts: 'members[0]', uses: odd.hang, on_unknown: ask}")
    assert made.drive().exit_code == 6
    assert made.drive().exit_code == 6
    assert (sent(made), ends(made)) == (["a@h1"], [("a@h1", "unknown")] * 2)


@pytest.mark.parametrize(("there", "code"), [("done", 0), ("", 1)])
def test_a_check_settles_what_was_killed_but_never_repeats_it(
    bench: Make, there: str, code: int
) -> None:
    """Done by then: succeeded. Not done: failed; what ran out of time would do so again."""
    made = bench(
        "- {id: a, hosts: 'members[0]', uses: odd.hang, repeat: check, with: {key: k},"
        " on_unknown: check}"
    )
    perform = made.world.perform

    def sets(host: HostName, script: bytes) -> object:
        if script.startswith(b"exec hang"):
            made.world.of(host)["k"] = there
        return perform(host, script)

    made.world.perform = sets  # type: ignore[method-assign, assignment]
    assert made.drive().exit_code == code
    assert sent(made) == ["a@h1"]


def test_the_steps_timeout_bounds_the_whole_attempt(
    bench: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its changes get what is left of it; when nothing is left, nothing more is sent."""
    made = bench(
        "- {id: a, hosts: 'members[0]', uses: odd.do, timeout: 50s,"
        " with: {key: k, to: v, first: f}, on_unknown: ask}"
    )
    clock, init, seen = StillClock(), Driver.__init__, list[float]()

    def with_clock(self: Driver, *args: object, **more: object) -> None:
        init(self, *args, **more)  # type: ignore[arg-type]
        self.clock = clock

    launch = WorldLine.launch

    def slow(self: WorldLine, job: Job) -> JobReport:
        seen.append(job.timeout)
        clock.time += 60
        return launch(self, job)

    monkeypatch.setattr(Driver, "__init__", with_clock)
    monkeypatch.setattr(WorldLine, "launch", slow)
    finish = made.drive()
    assert (seen, finish.exit_code) == ([50.0], 1)
    assert "its timeout of 50s was over before 'do' was sent" in finish.why
    assert [key for _, key, _ in made.world.effects] == ["f"]


# --- what goes on --------------------------------------------------------------------------------


def test_a_run_never_goes_on_past_what_is_not_known(bench: Make) -> None:
    """on_failure: continue is for failures; an unknown blocks what needs it, and is resumed."""
    made = bench(
        """
        - {id: a, hosts: 'members[0]', uses: odd.hang, on_unknown: ask, on_failure: continue}
        - {id: b, hosts: 'members[0]', needs: [{step: a, outcome: any}], uses: world.set, with: {key: k, to: v}}
        """
    )
    assert made.drive().exit_code == 6
    assert not made.world.effects
    made.answers = Answers(["failed"])
    assert made.drive().exit_code == 1  # a failed after all, and the run went on past it
    assert [key for _, key, _ in made.world.effects] == ["k"]


def test_nothing_turns_back_while_something_is_not_known(bench: Make) -> None:
    """A failure that asks for undo waits until the unknown beside it is settled."""
    made = bench(
        """
        - {id: a, hosts: 'members[0]', uses: world.set, with: {key: k, to: new}}
        - {id: b, hosts: 'members[0]', needs: [a], uses: odd.hang, on_unknown: ask}
        - {id: c, hosts: 'members[1]', needs: [], uses: world.fail, on_failure: undo}
        """
    )
    made.world.of(H1)["k"] = "old"
    made.journal.written.append(UnitStarted(unit=UnitId("c@h2"), attempt=1))  # cut while it ran
    made.before_attach = lambda recorder: unknown(recorder, UnitId("b@h1"))
    finish = made.drive()
    assert (finish.status, made.of(UndoStarted)) == ("waiting", [])
    assert ("c@h2", "failed") in ends(made)
    made.before_attach = lambda _: None
    made.answers = Answers(["failed"])
    assert made.drive().exit_code == 8


def test_the_point_of_no_return_is_not_crossed_while_something_is_not_known(bench: Make) -> None:
    """Its first change waits, even where its unit began before the loss was known."""
    made = bench(
        "- {id: a, hosts: 'members[0]', uses: world.set, with: {key: k, to: v}, point_of_no_return: true}\n"
        "- {id: b, hosts: 'members[1]', needs: [], uses: odd.hang, on_unknown: ask}"
    )

    def lost(recorder: Recorder) -> None:
        unknown(recorder, UnitId("b@h2"))
        recorder.record(UnitStarted(unit=UnitId("a@h1"), attempt=1))

    made.before_attach = lost
    finish = made.drive()
    assert (finish.status, finish.exit_code) == ("waiting", 6)
    assert (made.of(PointOfNoReturn), made.world.effects) == ([], {})
    assert "point of no return" in made.state.units[UnitId("a@h1")].why
    made.before_attach = lambda _: None
    made.answers = Answers(["succeeded"])
    assert made.drive().exit_code == 0
    assert len(made.of(PointOfNoReturn)) == 1


# --- undo ----------------------------------------------------------------------------------------


def test_undo_follows_what_ran_not_what_is_listed(bench: Make) -> None:
    """`b` is listed first and ran last: it is undone first."""
    made = bench(
        """
        - {id: b, hosts: 'members[0]', needs: [a], uses: world.set, with: {key: k, to: b}}
        - {id: a, hosts: 'members[0]', needs: [], uses: world.set, with: {key: k, to: a}}
        - {id: c, hosts: 'members[0]', needs: [b], uses: world.fail, on_failure: undo}
        """
    )
    made.world.of(H1)["k"] = "old"
    assert made.drive().exit_code == 8
    assert made.world.of(H1)["k"] == "old"
    assert sent(made, undo=True) == ["b@h1", "a@h1"]


def test_a_serial_step_is_undone_one_host_after_the_other(bench: Make) -> None:
    """Back to front; what was rolled out host by host is not taken back on all at once."""
    made = bench(
        """
        - {id: a, hosts: members, order: serial, uses: world.set, with: {key: k, to: new}}
        - {id: b, hosts: 'members[0]', uses: world.fail, on_failure: undo}
        """,
        forks=3,
    )
    for host in ("h1", "h2", "h3"):
        made.world.of(HostName(host))["k"] = "old"
    assert made.drive().exit_code == 8
    undone = [
        (str(e.unit), e.type)
        for e in made.journal.written
        if isinstance(e, UnitStarted | UnitFinished) and e.undo and str(e.unit).startswith("a@")
    ]
    assert undone == [
        (f"a@h{n}", word) for n in (3, 2, 1) for word in ("unit.started", "unit.finished")
    ]


def test_only_what_really_ran_is_undone(bench: Make) -> None:
    """What was there already, was skipped or never began is left alone."""
    made = bench(
        """
        - {id: a, hosts: members, uses: world.set, with: {key: k, to: new}}
        - {id: s, hosts: members, uses: world.set, with: {key: s, to: new}, when: "false"}
        - {id: b, hosts: 'members[0]', uses: world.fail, on_failure: undo}
        - {id: n, hosts: members, uses: world.set, with: {key: n, to: new}}
        """
    )
    made.world.of(H1)["k"] = "new"
    for host in ("h2", "h3"):
        made.world.of(HostName(host))["k"] = "old"
    assert made.drive().exit_code == 8
    assert [unit for unit, _ in ends(made, undo=True)] == ["b@h1", "a@h2", "a@h3"]
    assert made.world.of(H1)["k"] == "new"


def _lost_then_undone(says: tuple[str, ...] = ()) -> Bench:
    """`b` is killed and unknown behind `a`; then the run is undone."""
    made = Bench(
        compiled(
            """
            - {id: a, hosts: 'members[0]', uses: world.set, with: {key: k, to: new}}
            - {id: b, hosts: 'members[0]', uses: odd.hang, on_unknown: ask}
            """
        )
    )
    made.world.of(H1)["k"] = "old"
    assert made.drive().exit_code == 6
    made.answers = Answers(list(says))
    made.before_attach = lambda recorder: recorder.record(UndoStarted(why="asked to"))
    return made


def test_an_unknown_blocks_the_undo_until_somebody_says(bench: Make) -> None:
    """Nobody there: 6, nothing is undone before it; with a verdict the undo goes on to its end."""
    del bench
    made = _lost_then_undone()
    finish = made.drive()
    assert (finish.status, finish.exit_code) == ("waiting", 6)
    assert made.world.of(H1)["k"] == "new"
    assert made.state.lost() == {UnitId("b@h1"): False}
    made.before_attach = lambda recorder: recorder.record(
        Resolved(unit=UnitId("b@h1"), host=H1, verdict="failed", by="ann", why="seen")
    )
    finish = made.drive()
    assert (finish.status, finish.exit_code) == ("undone", 8)
    assert made.world.of(H1)["k"] == "old"


def test_a_person_who_is_there_is_asked_before_the_undo(bench: Make) -> None:
    """Succeeded or failed; to run it again is no choice any more."""
    del bench
    made = _lost_then_undone(("succeeded",))
    asked = made.answers.asked
    assert made.drive().exit_code == 8
    assert [question.choices for question in asked] == [("succeeded", "failed")]


def test_a_lost_change_of_an_undo_is_settled_like_any_other(
    bench: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its host went away: the undo waits, finds the result when it is back, and repeats nothing."""
    made = bench(
        """
        - {id: a, hosts: 'members[0]', uses: world.set, with: {key: k, to: new}}
        - {id: b, hosts: 'members[1]', uses: world.fail, on_failure: undo}
        """
    )
    made.world.of(H1)["k"] = "old"
    launch = WorldLine.launch

    def cut(self: WorldLine, job: Job) -> JobReport:
        report = launch(self, job)
        if b"old" in job.script:
            self.world.down.add(self.host)
            raise Unreachable(f"{self.host}: the line broke")
        return report

    with monkeypatch.context() as patch:
        patch.setattr(WorldLine, "launch", cut)
        finish = made.drive()
    assert (finish.status, finish.exit_code) == ("waiting", 6)
    assert made.state.lost() == {UnitId("a@h1"): True}
    made.world.down.clear()
    finish = made.drive()
    assert (finish.status, finish.exit_code) == ("undone", 8)
    assert sent(made, undo=True) == ["a@h1"]
    assert made.world.effects[("h1", "k", "old")] == 1


def test_an_undo_that_fails_ends_with_9_and_is_tried_again_by_a_resume(bench: Make) -> None:
    """Undo failed 9; when what stood in its way is gone, the next one ends with 8."""
    made = bench(
        """
        - {id: a, hosts: 'members[0]', uses: world.set, with: {key: k, to: new}}
        - {id: b, hosts: 'members[1]', uses: world.fail, on_failure: undo}
        - {id: z, hosts: 'members[2]', uses: world.safe-set, with: {key: z, to: v}, always: true}
        """
    )
    made.world.of(H1)["k"] = "old"
    perform, broken = made.world.perform, [True]

    def fails(host: HostName, script: bytes) -> object:
        if broken[0] and b"old" in script:
            return perform(host, b"exec fail 4")
        return perform(host, script)

    made.world.perform = fails  # type: ignore[method-assign, assignment]
    finish = made.drive()
    assert (finish.status, finish.exit_code) == ("undo-failed", 9)
    assert made.world.of(HostName("h3")) == {"z": "v"}  # `always` means after a failed undo too
    broken[0] = False
    assert made.drive().exit_code == 8
    assert made.world.of(H1)["k"] == "old"


@pytest.mark.field("1", "v2")
def test_an_undo_that_fails_keeps_nothing_else_away(bench: Make) -> None:
    """One service does not come back: all that was stopped before it, and beside it, is put back; the end names it."""
    made = bench(
        """
        - {id: server, hosts: members, uses: world.set, with: {key: server, to: stopped}}
        - {id: scheduler, hosts: members, uses: world.set, with: {key: scheduler, to: stopped}}
        - {id: b, hosts: 'members[1]', uses: world.fail, on_failure: undo}
        """
    )
    for host in ("h1", "h2", "h3"):
        made.world.of(HostName(host)).update(server="runs", scheduler="plans")
    perform = made.world.perform

    def fails(host: HostName, script: bytes) -> object:
        if host == "h2" and b"plans" in script:
            return perform(host, b"exec fail 4")
        return perform(host, script)

    made.world.perform = fails  # type: ignore[method-assign, assignment]
    finish = made.drive()
    assert (finish.status, finish.exit_code) == ("undo-failed", 9)
    assert finish.why.startswith("scheduler@h2: ")
    assert {made.world.of(HostName(h))["server"] for h in ("h1", "h2", "h3")} == {"runs"}
    assert [made.world.of(HostName(h))["scheduler"] for h in ("h1", "h2", "h3")] == [
        "plans",
        "stopped",
        "plans",
    ]


@pytest.mark.parametrize(
    "more", ["order: serial, ", ""], ids=["hosts that take turns", "what destroys"]
)
def test_an_undo_that_fails_halts_where_order_is_safety(bench: Make, more: str) -> None:
    """Hosts that take turns, and what destroys: there a failed undo lets no other begin."""
    uses = "world.set" if more else "world.wipe"
    made = bench(
        f"""
        - {{id: first, hosts: members, uses: world.set, with: {{key: server, to: stopped}}}}
        - {{id: then, hosts: members, {more}uses: {uses}, with: {{key: store, to: new}}}}
        - {{id: b, hosts: 'members[1]', uses: world.fail, on_failure: undo}}
        """
    )
    for host in ("h1", "h2", "h3"):
        made.world.of(HostName(host)).update(server="runs", store="old")
    perform = made.world.perform

    def fails(host: HostName, script: bytes) -> object:
        if host == "h3" and b"old" in script:
            return perform(host, b"exec fail 4")
        return perform(host, script)

    made.world.perform = fails  # type: ignore[method-assign, assignment]
    assert made.drive().exit_code == 9
    assert {made.world.of(HostName(h))["server"] for h in ("h1", "h2", "h3")} == {"stopped"}


GUARDED = """
- {id: stop, hosts: members, uses: world.safe-set, with: {key: server, to: stopped}}
- {id: wipe, hosts: members, uses: world.wipe, with: {key: store, to: new}}
- {id: start, hosts: members, uses: world.safe-set, with: {key: server, to: running}}
- {id: look, hosts: 'members[0]', uses: world.fail, on_failure: undo}
"""


def test_undoing_what_destroys_is_a_group_act(bench: Make) -> None:
    """Down on all hosts, then swapped back on all, then started: never host by host (hazard H7)."""
    made = bench(GUARDED, forks=3)
    for host in ("h1", "h2", "h3"):
        made.world.of(HostName(host)).update(server="running", store="old")
    assert made.drive().exit_code == 8
    steps = [unit.partition("@")[0] for unit in sent(made, undo=True)]
    assert steps == ["start"] * 3 + ["wipe"] * 3 + ["stop"] * 3
    for host in ("h1", "h2", "h3"):
        assert made.world.of(HostName(host)) == {"server": "running", "store": "old"}


def test_an_undo_is_bound_by_the_rules_too(bench: Make) -> None:
    """Somebody started one server meanwhile: no store is put back under it (hazards H5, H7)."""
    made = bench(GUARDED)
    for host in ("h1", "h2", "h3"):
        made.world.of(HostName(host)).update(server="running", store="old")
    perform, backwards = made.world.perform, [False]

    def meddled(host: HostName, script: bytes) -> object:
        backwards[0] = backwards[0] or script.startswith(b"exec fail")
        reply = perform(host, script)
        if backwards[0] and host == "h3" and script == b"exec set server stopped\n":
            made.world.values[HostName("h2")]["server"] = "running"
        return reply

    made.world.perform = meddled  # type: ignore[method-assign, assignment]
    finish = made.drive()
    assert (finish.status, finish.exit_code) == ("undo-failed", 9)
    assert "wiping under a live server" in finish.why
    assert {made.world.of(HostName(h))["store"] for h in ("h1", "h2", "h3")} == {"new"}


# --- always --------------------------------------------------------------------------------------

ALWAYS = """
- {id: a, hosts: 'members[0]', uses: world.safe-set, with: {key: k, to: new}}
- {id: b, hosts: 'members[0]', uses: world.fail, on_failure: stop}
- {id: c, hosts: 'members[0]', uses: world.safe-set, with: {key: c, to: v}}
- {id: y, hosts: members, uses: world.safe-set, with: {key: y, to: v}, always: true}
- {id: z, hosts: 'members[0]', uses: world.fail, always: true}
"""


def test_always_steps_run_after_a_failure_the_last_of_all(bench: Make) -> None:
    """On every host, after what failed, one failing does not stop another; none is undone."""
    made = bench(ALWAYS.replace("stop", "undo"))
    made.world.of(H1)["k"] = "old"
    finish = made.drive()
    assert (finish.status, finish.exit_code) == ("undone", 8)
    units = [str(e.unit) for e in made.journal.written if isinstance(e, UnitFinished)]
    assert units == ["a@h1", "b@h1", "b@h1", "a@h1", "y@h1", "y@h2", "y@h3", "z@h1"]
    assert made.world.of(HostName("h2")) == {"y": "v"}


def test_always_steps_run_once_more_at_the_end_of_a_resume(bench: Make) -> None:
    """They ran when the run failed; what the resume did since needs them again, at its end."""
    made = bench(ALWAYS)
    assert made.drive().exit_code == 1
    perform = made.world.perform

    def mended(host: HostName, script: bytes) -> object:
        return perform(host, b"exec set done yes" if script.startswith(b"exec fail") else script)

    made.world.perform = mended  # type: ignore[method-assign, assignment]
    made.world.of(HostName("h2"))["y"] = "somebody's"
    assert made.drive().exit_code == 0
    assert [unit for unit, _ in ends(made)] == [
        *("a@h1", "b@h1", "y@h1", "y@h2", "y@h3", "z@h1"),
        *("b@h1", "c@h1", "y@h1", "y@h2", "y@h3", "z@h1"),
    ]
    assert made.world.of(HostName("h2"))["y"] == "v"


def test_a_resume_of_always_steps_that_died_finds_the_same_state(bench: Make) -> None:
    """Killed at each point of the second round, the next resume still ends as it should."""
    whole = bench(ALWAYS)
    whole.drive()
    before = len(whole.journal.written)
    whole.drive()
    for length in range(before, len(whole.journal.written)):
        made = bench(ALWAYS)
        made.journal.written = list(whole.journal.written[:length])
        assert made.drive().exit_code == 1
        assert made.state.finished is not None


def test_always_steps_do_not_run_when_the_controller_leaves(bench: Make) -> None:
    """Leaving is no end: what comes at the end comes with it."""
    made = bench(ALWAYS)
    init, launch = Driver.__init__, WorldLine.launch
    drivers: list[Driver] = []

    def known(self: Driver, *args: object, **more: object) -> None:
        init(self, *args, **more)  # type: ignore[arg-type]
        drivers.append(self)

    def leaves(self: WorldLine, job: Job) -> JobReport:
        report = launch(self, job)
        if b"fail" in job.script:
            drivers[0].stop.set()
        return report

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Driver, "__init__", known)
        patch.setattr(WorldLine, "launch", leaves)
        assert made.drive().status == "detached"
    assert ends(made) == [("a@h1", "changed"), ("b@h1", "failed")]


def test_a_journal_in_which_a_done_unit_begins_again_is_refused(bench: Make) -> None:
    """Only `always` steps begin twice, and only after a resume."""
    made = bench("- {id: a, hosts: 'members[0]', uses: world.set, with: {key: k, to: v}}")
    made.drive()
    again = [*made.journal.written, UnitStarted(unit=UnitId("a@h1"), attempt=2)]
    with pytest.raises(JournalDamaged, match="was done and began again"):
        RunState.of(made.plan, again)
