"""What was lost: looked for again, judged by facts or a person, and never simply done twice."""

from __future__ import annotations

import pytest

from drrun.errors import Unreachable
from drrun.execute.judge import MOST
from drrun.journal.events import (
    ChangeFinished,
    ChangeIntended,
    ChangeLost,
    Noted,
    Resolved,
    UnitFinished,
)
from drrun.journal.state import Status
from drrun.ports import Job, JobReport
from drrun.testing.world import Answers, World, WorldLine
from drrun.values import HostName, UnitId

from .conftest import Bench, compiled

H1 = HostName("h1")


class Forgetful(World):
    """Loses the trace of jobs: right after each effect, as often as `losses` says, it reboots."""

    losses: int = 1
    keeps: bool = True
    """Whether what was set is still set after the reboot."""

    def reboot(self, host: HostName) -> None:
        """Another boot id, and no job is known any more."""
        for key in [key for key in self.jobs if key[0] == host]:
            del self.jobs[key]
        self.boots[host] = f"boot-{len(self.effects)}-{self.losses}"


@pytest.fixture(autouse=True)
def _loses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A launch on a forgetful host is made, but its answer is lost and the host reboots."""
    launch, poll = WorldLine.launch, WorldLine.poll

    def lost(self: WorldLine, job: Job) -> JobReport:
        world = self.world
        if isinstance(world, Forgetful) and world.losses > 0:
            world.losses -= 1
            before = dict(world.of(self.host))
            launch(self, job)
            if not world.keeps:
                world.values[self.host] = before
            world.reboot(self.host)
            return poll(self, job.run, job.token)
        return launch(self, job)

    monkeypatch.setattr(WorldLine, "launch", lost)


def lossy(step: str, says: tuple[str, ...] = (), *, losses: int = 1, keeps: bool = True) -> Bench:
    """A run of one step on h1, whose first launches are lost."""
    world = Forgetful()
    world.losses, world.keeps = losses, keeps
    plan = compiled(f"- {{id: a, hosts: 'members[0]', {step}}}")
    return Bench(plan, world, Answers(list(says)))


def verdicts(made: Bench) -> list[tuple[str, str]]:
    """(verdict, by) of each ruling."""
    return [(e.verdict, e.by) for e in made.of(Resolved) if isinstance(e, Resolved)]


def sent(made: Bench, key: str = "k") -> int:
    """How often the key was really set, whatever its value."""
    return sum(count for (_, name, _), count in made.world.effects.items() if name == key)


PROVED = "uses: odd.do, with: {key: k, to: v, proved: true}"
BARE = "uses: odd.do, with: {key: k, to: v}, on_unknown: ask"
RENEW = "uses: odd.renew, with: {key: k, to: new}"
SAFE = "uses: world.safe-set, with: {key: k, to: v}"


def test_a_fact_decides_for_what_may_never_be_repeated() -> None:
    """What it sets holds, and did not before: it was done, and is not done again."""
    made = lossy(PROVED)
    assert made.drive().exit_code == 0
    assert (verdicts(made), sent(made)) == ([("succeeded", "check")], 1)


def test_a_fact_that_held_before_proves_nothing() -> None:
    """The key had that value already: a check cannot tell, and a person is needed."""
    made = lossy(PROVED)
    made.world.of(H1)["k"] = "v"
    finish = made.drive()
    assert (finish.status, finish.exit_code) == ("waiting", 6)
    assert (verdicts(made), sent(made)) == ([], 1)


def test_a_fact_that_does_not_hold_never_repeats_by_itself() -> None:
    """`repeat: never` is asked about, even where the check says that it is not done."""
    made = lossy(PROVED, keeps=False)
    assert made.drive().exit_code == 6
    assert sent(made) == 1


def test_what_a_person_says_is_done() -> None:
    """`rerun` sends it again, once."""
    made = lossy(PROVED, ("rerun",), keeps=False)
    assert made.drive().exit_code == 0
    assert (verdicts(made), sent(made)) == ([("rerun", "tester")], 2)


@pytest.mark.parametrize(("verdict", "code"), [("succeeded", 0), ("failed", 1)])
def test_without_a_fact_a_person_decides(verdict: str, code: int) -> None:
    """on_unknown: ask; the verdict is the end of the change."""
    made = lossy(BARE, (verdict,))
    assert made.drive().exit_code == code
    assert sent(made) == 1


def test_a_change_of_value_is_judged_by_what_it_was_before() -> None:
    """A restart shows in another instance than before: it is not restarted twice."""
    made = lossy(RENEW)
    made.world.of(H1)["k"] = "old"
    assert made.drive().exit_code == 0
    assert (verdicts(made), sent(made)) == ([("succeeded", "check")], 1)


def test_a_check_that_says_not_done_repeats_what_may_be_checked() -> None:
    """repeat: check, and the fact is as it was: made again."""
    made = lossy(RENEW, keeps=False)
    made.world.of(H1)["k"] = "old"
    assert made.drive().exit_code == 0
    assert (verdicts(made), sent(made)) == ([("rerun", "check")], 2)


def test_nothing_is_made_again_and_again_by_itself() -> None:
    """A safe change whose result is lost each time is asked about after MOST times."""
    made = lossy(SAFE, losses=99, keeps=False)
    finish = made.drive()
    assert (finish.status, sent(made)) == ("waiting", MOST)
    assert len(verdicts(made)) == MOST - 1


@pytest.mark.parametrize("policy", ["ask", "check"])
def test_the_runbook_may_be_stricter_than_the_step_type(policy: str) -> None:
    """A safe step with a policy is not simply repeated: asked about, or checked first."""
    made = lossy(f"{SAFE}, on_unknown: {policy}")
    assert made.drive().exit_code == (6 if policy == "ask" else 0)
    assert sent(made) == 1


def test_the_runbooks_never_holds_for_a_safe_step() -> None:
    """`repeat: never` on a safe step type: a check may say done, nothing repeats it."""
    made = lossy(f"{SAFE}, repeat: never", keeps=False)
    assert made.drive().exit_code == 6
    assert sent(made) == 1


# --- out of reach --------------------------------------------------------------------------------


def out_of_reach(made: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The line breaks right after the effect of the first launch, and stays broken."""
    launch = WorldLine.launch

    def cut(self: WorldLine, job: Job) -> JobReport:
        launch(self, job)
        self.world.down.add(self.host)
        raise Unreachable(f"{self.host}: the line broke")

    with monkeypatch.context() as patch:
        patch.setattr(WorldLine, "launch", cut)
        finish = made.drive()
    assert (finish.status, finish.exit_code) == ("waiting", 6)
    assert "cannot be reached" in finish.why


@pytest.mark.parametrize("step", [SAFE, PROVED, BARE, RENEW])
def test_a_host_out_of_reach_is_not_judged(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its command may be running still: unknown, with no verdict, and not sent a second time.

    When the host is back, a resume finds the end there; nobody is asked.
    """
    made = Bench(compiled(f"- {{id: a, hosts: 'members[0]', {step}}}"))
    out_of_reach(made, monkeypatch)
    assert made.state.units[made.plan.units[0].id].status is Status.UNKNOWN
    assert (verdicts(made), len(made.of(ChangeLost))) == ([], 1)
    made.world.down.clear()
    assert made.drive().exit_code == 0
    assert (sent(made), len(made.of(ChangeIntended)), len(made.of(ChangeLost))) == (1, 1, 1)


def test_evidence_counts_more_than_a_wish_to_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person said `rerun` while the host was away; it comes back with the result: not rerun."""
    made = Bench(compiled(f"- {{id: a, hosts: 'members[0]', {BARE}}}"))
    out_of_reach(made, monkeypatch)
    made.before_attach = lambda recorder: recorder.record(
        Resolved(unit=UnitId("a@h1"), host=H1, verdict="rerun", by="ann", why="it is gone")
    )
    made.world.down.clear()
    assert made.drive().exit_code == 0
    assert sent(made) == 1


def test_a_persons_word_settles_a_host_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """`succeeded` is the end of the change: the host is not asked about it again."""
    made = Bench(compiled(f"- {{id: a, hosts: 'members[0]', {BARE}}}"))
    out_of_reach(made, monkeypatch)
    made.before_attach = lambda recorder: recorder.record(
        Resolved(unit=UnitId("a@h1"), host=H1, verdict="succeeded", by="ann", why="seen")
    )
    made.world.down.clear()
    made.world.jobs.clear()
    made.world.boots[H1] = "boot-2"
    assert made.drive().exit_code == 0
    assert sent(made) == 1


# --- not made again ------------------------------------------------------------------------------


def test_what_ended_well_is_not_made_again_by_a_later_attempt() -> None:
    """`first` may never be repeated and ended well; `do` failed; a resume makes only `do` again."""
    step = "uses: odd.do, with: {key: k, to: v, first: f}, on_unknown: ask"
    made = Bench(compiled(f"- {{id: a, hosts: 'members[0]', {step}}}"))
    perform, broken = made.world.perform, [True]

    def fails(host: HostName, script: bytes) -> object:
        if broken[0] and script.startswith(b"exec set k"):
            return perform(host, b"exec fail 3")
        return perform(host, script)

    made.world.perform = fails  # type: ignore[method-assign, assignment]
    assert made.drive().exit_code == 1
    assert made.drive().exit_code == 1  # the second attempt replays the first one's end as well
    broken[0] = False
    assert made.drive().exit_code == 0
    assert (sent(made, "f"), sent(made)) == (1, 1)
    notes = [e.text for e in made.of(Noted) if isinstance(e, Noted)]
    assert notes == ["first on h1 was made in attempt 1: not made again"] * 2


def test_a_line_that_breaks_while_the_effect_is_proved_repeats_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The change ended; reading its facts failed: a resume goes on with the proof alone."""
    made = Bench(compiled(f"- {{id: a, hosts: 'members[0]', on_failure: continue, {PROVED}}}"))
    forget = WorldLine.forget

    def breaks(self: WorldLine, run: str, token: str) -> None:
        forget(self, run, token)
        self.world.down.add(self.host)

    with monkeypatch.context() as patch:
        patch.setattr(WorldLine, "forget", breaks)
        finish = made.drive()
    assert (finish.status, finish.exit_code) == ("failed", 1)
    ended = [e for e in made.of(UnitFinished) if isinstance(e, UnitFinished)]
    assert ended[-1].unreached
    made.world.down.clear()
    assert made.drive().exit_code == 0
    assert (sent(made), len(made.of(ChangeFinished))) == (1, 1)


def test_a_host_that_cannot_be_reached_stops_a_run_whatever_on_failure_says() -> None:
    """`on_failure: continue` speaks of steps that failed, not of hosts that nobody reaches."""
    made = Bench(
        compiled(
            """
            - {id: a, hosts: 'members[0]', uses: world.set, with: {key: k, to: v}, on_failure: continue}
            - {id: b, hosts: 'members[1]', needs: [{step: a, outcome: any}], uses: world.set, with: {key: k, to: v}}
            """
        )
    )

    def goes_down(_: object) -> None:
        made.world.down.add(H1)

    made.before_attach = goes_down
    assert made.drive().exit_code == 4
    assert not made.world.effects
    made.before_attach = lambda _: None
    made.world.down.clear()
    assert made.drive().exit_code == 0
