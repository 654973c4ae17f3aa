"""The loop over a world of three hosts: order, outcomes, replay, what is lost, and undo."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import pytest

from drrun.journal.events import (
    ChangeFinished,
    ChangeIntended,
    ChangeLost,
    Event,
    UndoStarted,
    UnitFinished,
)
from drrun.ports import JobReport, JobState
from drrun.testing.world import Answers, Crash, MemoryJournal, World
from drrun.values import HostName

from .conftest import Bench, compiled

Make: TypeAlias = Callable[..., Bench]

THREE = """
- {id: stop, hosts: members, uses: world.set, with: {key: server, to: stopped}}
- {id: wipe, hosts: members, uses: world.wipe, with: {key: store, to: new}}
- {id: agree, hosts: members, uses: world.agree, with: {key: store}}
- {id: start, hosts: members, uses: world.set, with: {key: server, to: "{{ steps.agree.outputs.value }}"}}
"""


def test_a_clean_run_does_each_change_once_and_ends_done(bench: Make) -> None:
    """Every unit runs in order, every effect happens exactly once, outputs reach later steps."""
    made = bench(THREE)
    assert made.drive().exit_code == 0
    assert set(made.world.effects.values()) == {1}
    assert made.world.of(HostName("h2")) == {"server": "new", "store": "new"}


def test_what_is_so_already_is_not_changed(bench: Make) -> None:
    """A step that finds its state makes no change, and its outcome says `already`."""
    made = bench("- {id: a, hosts: members, uses: world.set, with: {key: k, to: v}}")
    made.world.of(HostName("h1"))["k"] = "v"
    made.drive()
    outcomes = {e.unit: e.outcome for e in made.of(UnitFinished) if isinstance(e, UnitFinished)}
    assert outcomes == {"a@h1": "already", "a@h2": "changed", "a@h3": "changed"}


def test_the_dry_run_lists_exactly_the_changes_that_the_run_makes(bench: Make) -> None:
    """(unit, host, change, command digest) of the forecast equal those of the journal."""
    made = bench(THREE)
    made.world.of(HostName("h3"))["server"] = "stopped"
    forecast = made.forecast()
    told = [(c.unit, c.host, c.name) for c in forecast.changes]
    made.drive()
    done = [
        (e.unit, e.host, e.name) for e in made.of(ChangeIntended) if isinstance(e, ChangeIntended)
    ]
    assert told == done
    assert len(told) == 8
    assert not forecast.refusals


def test_a_dry_run_changes_nothing(bench: Make) -> None:
    """No value, no job and no lock comes to be on any host."""
    made = bench(THREE)
    made.forecast()
    assert (made.world.effects, made.world.jobs, made.world.locks) == ({}, {}, {})


def _touches() -> int:
    made = Bench(compiled(THREE))
    made.drive()
    return made.world.touches


def assert_each_output_is_kept_once(made: Bench) -> None:
    """However often its controller died, a command's output is there, each byte once."""
    sent = {e.token: e.preview for e in made.journal.written if isinstance(e, ChangeIntended)}
    for event in made.journal.written:
        if isinstance(event, ChangeFinished):
            _, key, value = sent[event.token].split()
            kept = bytes(made.journal.outputs.files[f"{event.token}.out"])
            assert kept == f"{key} is {value}\n".encode()
            assert (event.stdout, event.out_size) == (hashlib.sha256(kept).hexdigest(), len(kept))


@pytest.mark.parametrize("fuse", range(_touches()))
def test_killed_anywhere_and_resumed_it_ends_as_a_clean_run(fuse: int) -> None:
    """Killed at each append and each effect, then resumed: same end state, each effect once."""
    made = Bench(compiled(THREE))
    made.world.fuse = fuse
    with pytest.raises(Crash):
        made.drive()
    made.world.fuse = None
    if made.state.finished is None:
        assert made.drive().exit_code == 0
    assert set(made.world.effects.values()) == {1}
    assert len(made.world.effects) == 9
    assert_each_output_is_kept_once(made)
    assert not made.world.locks  # a finished run holds no host, wherever its controller died


UNDOABLE = """
- {id: stop, hosts: members, uses: world.safe-set, with: {key: server, to: stopped}}
- {id: wipe, hosts: members, uses: world.safe-set, with: {key: store, to: new}}
- {id: start, hosts: members, uses: world.safe-set, with: {key: server, to: running}}
"""


@pytest.mark.parametrize("fuse", range(_touches()))
def test_killed_anywhere_and_undone_it_ends_as_it_began(fuse: int) -> None:
    """Killed at each append and each effect, then undone: every key has its first value again."""
    made = Bench(compiled(UNDOABLE))
    for host in ("h1", "h2", "h3"):
        made.world.of(HostName(host)).update(server="running", store="old")
    made.world.fuse = fuse
    try:
        made.drive()
    except Crash:
        made.world.fuse = None
        made.before_attach = lambda recorder: recorder.record(UndoStarted(why="asked to"))
        assert made.drive().exit_code == 8
        for host in ("h1", "h2", "h3"):
            assert made.world.of(HostName(host)) == {"server": "running", "store": "old"}
    else:
        assert fuse >= made.world.touches


def test_a_live_guard_stops_a_step_whose_state_was_reversed_by_somebody_else(bench: Make) -> None:
    """A rule that the graph proves is read again on the host before the change is sent."""
    made = bench(
        """
        - {id: stop, hosts: members, uses: world.set, with: {key: server, to: stopped}}
        - {id: wipe, hosts: members, uses: world.wipe, with: {key: store, to: new}}
        """
    )
    plan = made.plan
    stop_units = {unit.id for unit in plan.units_of[plan.steps[0].id]}

    def reverse(recorder: object) -> None:
        del recorder

    made.before_attach = reverse
    original = made.world.perform

    def perform(host: HostName, script: bytes) -> object:
        reply = original(host, script)
        if script.startswith(b"exec set server") and host == "h3":
            made.world.of(host)["server"] = "stopped"
            made.world.of(HostName("h1"))["server"] = "running"
        return reply

    made.world.perform = perform  # type: ignore[method-assign, assignment]
    finish = made.drive()
    assert (finish.status, finish.exit_code) == ("refused", 5)
    assert "wiping under a live server" in finish.why
    assert not [k for k in made.world.effects if k[1] == "store"]
    assert stop_units


class _Amnesiac(World):
    """Hosts that lose the trace of one job: what a reboot at the wrong moment leaves."""

    def forget(self, host: HostName) -> None:
        """Drop its jobs and give it a new boot id."""
        for key in [key for key in self.jobs if key[0] == host]:
            del self.jobs[key]
        self.boots[host] = "boot-2"


def _lost_at_h1(uses: str, answers: Answers) -> Bench:
    """A run whose controller dies right after h1's effect, and whose h1 then reboots."""
    world = _Amnesiac()
    made = Bench(
        compiled(f"- {{id: a, hosts: 'members[0]', uses: {uses}, with: {{key: k, to: v}}}}"),
        world,
        answers,
    )
    probe = Bench(made.plan)
    probe.drive()
    for fuse in range(probe.world.touches):
        world.fuse, world.touches = fuse, 0
        try:
            made.drive()
        except Crash:
            if world.effects and made.state.units[made.plan.units[0].id].changes:
                break
        made = Bench(made.plan, _Amnesiac(), answers)
        world = made.world  # type: ignore[assignment]
    world.fuse = None
    world.forget(HostName("h1"))
    return made


def test_a_lost_change_that_may_not_be_repeated_waits_for_a_person(bench: Make) -> None:
    """With on_unknown: ask and nobody to ask, the run ends with 6 and nothing is sent again."""
    del bench
    made = _lost_at_h1("world.set, on_unknown: ask", Answers())
    finish = made.drive()
    assert (finish.status, finish.exit_code) == ("waiting", 6)
    assert "not known" in finish.why
    assert set(made.world.effects.values()) == {1}
    assert made.of(ChangeLost)


def test_a_persons_verdict_settles_a_lost_change(bench: Make) -> None:
    """`succeeded` is journaled, believed, and the facts are still proved."""
    del bench
    made = _lost_at_h1("world.set, on_unknown: ask", Answers(["succeeded"]))
    assert made.drive().exit_code == 0
    assert set(made.world.effects.values()) == {1}


def test_a_lost_change_that_is_safe_is_made_again(bench: Make) -> None:
    """With repeat: safe nobody is asked."""
    del bench
    made = _lost_at_h1("world.safe-set", Answers())
    assert made.drive().exit_code == 0


def test_an_exit_that_tells_of_a_signal_names_it(bench: Make) -> None:
    """A command that a reboot ended: who reads 143 at night need not look it up."""
    made = bench("- {id: b, hosts: 'members[1]', uses: world.fail, with: {code: '143'}}")
    assert "ended with 143 (SIGTERM): no" in made.drive().why


def test_a_failure_stops_what_comes_after_and_a_resume_tries_again(bench: Make) -> None:
    """Exit 1; later steps do not start; finished units are not run again by the resume."""
    made = bench(
        """
        - {id: a, hosts: members, uses: world.set, with: {key: k, to: v}}
        - {id: b, hosts: 'members[1]', uses: world.fail}
        - {id: c, hosts: members, uses: world.set, with: {key: l, to: v}}
        """
    )
    finish = made.drive()
    assert (finish.status, finish.exit_code) == ("failed", 1)
    assert "ended with 3: no" in finish.why
    made.drive()
    attempts = [str(e.unit) for e in made.of(UnitFinished) if isinstance(e, UnitFinished)]
    assert attempts.count("b@h2") == 2
    assert attempts.count("a@h1") == 1
    assert not [k for k in made.world.effects if k[1] == "l"]


def test_retries_are_made_where_the_step_is_safe(bench: Make) -> None:
    """attempts: 3 gives three attempts before the run fails."""
    made = bench(
        "- {id: b, hosts: 'members[0]', uses: world.fail, retries: {attempts: 3, delay: 1s}}"
    )
    assert made.drive().exit_code == 1
    assert len(made.of(UnitFinished)) == 3


def test_on_failure_continue_lets_an_outcome_any_step_follow(bench: Make) -> None:
    """A failure that may continue satisfies only needs that take any outcome."""
    made = bench(
        """
        - {id: b, hosts: 'members[0]', uses: world.fail, on_failure: continue}
        - {id: c, hosts: 'members[0]', uses: world.set, with: {key: c, to: v}, needs: [{step: b, outcome: any}]}
        - {id: d, hosts: 'members[0]', uses: world.set, with: {key: d, to: v}, needs: [b]}
        """
    )
    assert made.drive().exit_code == 1
    assert {key for _, key, _ in made.world.effects} == {"c"}


def test_undo_goes_back_to_front_and_ends_with_8(bench: Make) -> None:
    """on_failure: undo brings every key back, the last step first."""
    made = bench(
        """
        - {id: a, hosts: members, uses: world.set, with: {key: k, to: new}}
        - {id: b, hosts: members, uses: world.set, with: {key: l, to: new}}
        - {id: c, hosts: 'members[0]', uses: world.fail, on_failure: undo}
        """
    )
    for host in ("h1", "h2", "h3"):
        made.world.of(HostName(host)).update(k="old", l="old")
    finish = made.drive()
    assert (finish.status, finish.exit_code) == ("undone", 8)
    assert all(made.world.of(HostName(h)) == {"k": "old", "l": "old"} for h in ("h1", "h2", "h3"))
    undone = [e.unit for e in made.of(UnitFinished) if isinstance(e, UnitFinished) and e.undo]
    assert [u.split("@")[0] for u in undone] == ["c", "b", "b", "b", "a", "a", "a"]
    assert len(made.of(UndoStarted)) == 1


def test_behind_the_point_of_no_return_a_failure_does_not_turn_back(bench: Make) -> None:
    """The step's first change crosses the point; on_failure: undo then only fails."""
    made = bench(
        """
        - {id: a, hosts: 'members[0]', uses: world.set, with: {key: k, to: new}, point_of_no_return: true}
        - {id: c, hosts: 'members[0]', uses: world.fail, on_failure: undo}
        """
    )
    assert made.drive().exit_code == 1
    assert made.world.of(HostName("h1"))["k"] == "new"


def test_a_change_that_did_not_take_is_a_failure(bench: Make) -> None:
    """The command exits 0 but the fact does not hold: the unit fails and says so."""
    made = bench("- {id: a, hosts: 'members[0]', uses: world.set, with: {key: k, to: v}}")
    original = made.world.perform

    def forgetful(host: HostName, script: bytes) -> object:
        reply = original(host, script)
        if script.startswith(b"exec set"):
            made.world.of(host).clear()
        return reply

    made.world.perform = forgetful  # type: ignore[method-assign, assignment]
    finish = made.drive()
    assert finish.exit_code == 1
    assert "did not take" in finish.why


def test_a_token_that_was_fenced_stops_the_old_controller(bench: Make) -> None:
    """A host that was taken over refuses the old controller's next change."""
    made = bench("- {id: a, hosts: 'members[0]', uses: world.set, with: {key: k, to: v}}")

    def usurp(recorder: object) -> None:
        del recorder
        made.world.locks[HostName("h1")] = ("r-test", 99)

    made.before_attach = usurp
    finish = made.drive()
    assert finish.exit_code == 5
    assert "taken this run over" in finish.why
    assert not made.world.effects


def test_an_orphan_job_is_followed_until_it_is_lost_or_exits(bench: Make) -> None:
    """RUNNING, then EXITED: the follower keeps polling and collects the result."""
    made = bench("- {id: a, hosts: 'members[0]', uses: world.set, with: {key: k, to: v}}")
    seen: list[JobState] = []
    launch = World.perform

    def slow(self: World, host: HostName, script: bytes) -> object:
        return launch(self, host, script)

    del slow

    from drrun.testing.world import WorldLine

    real = WorldLine.launch

    def first_running(self: WorldLine, job: object) -> JobReport:
        report = real(self, job)  # type: ignore[arg-type]
        seen.append(report.state)
        return JobReport(JobState.RUNNING, report.boot_id)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WorldLine, "launch", first_running)
        assert made.drive().exit_code == 0
    assert seen == [JobState.EXITED]


@dataclass
class DiskJournal(MemoryJournal):
    """A journal whose outputs reach the disk only when they are told to."""

    synced: set[str] = field(default_factory=set)

    def sync_outputs(self, names: Sequence[str]) -> None:
        """On the disk now."""
        self.synced |= set(names)

    def append(self, event: Event, *, durable: bool) -> None:
        """A result may only be written when its output is safe: the host forgets both together."""
        if isinstance(event, ChangeFinished):
            assert f"{event.token}.out" in self.synced
        super().append(event, durable=durable)


def test_output_is_on_disk_before_the_result_is_written(bench: Make) -> None:
    """The result lets the host forget what the command printed."""
    made = bench(THREE)
    made.journal = DiskJournal(made.world)
    assert made.drive().exit_code == 0
    assert len(made.journal.synced) == len(made.of(ChangeFinished)) == 9
