"""Fenced hosts (hazard H8): left out by a person's word, never because they merely do not answer."""

from __future__ import annotations

import json

import pytest

from drrun.errors import AuthorError, Refused, Unreachable, UsageError
from drrun.journal.events import HostFenced, UndoStarted, UnitFinished
from drrun.journal.state import Status
from drrun.lang.diagnostics import Diagnostic
from drrun.model.fencing import Fencing
from drrun.plan.absence import unneeded
from drrun.plan.plan import Plan
from drrun.ports import Job, JobReport
from drrun.testing.world import Answers, Crash, WorldLine
from drrun.values import HostName, StepId, UnitId

from .conftest import HEAD, Bench, compiled

H1, H2, H3 = HostName("h1"), HostName("h2"), HostName("h3")
WORD = Fencing(H3, "power", "outlet 4 is off", "ann")
FIRST = Fencing(H1, "hypervisor", "destroyed", "ann")
SKIP = f"{HEAD}on_unreachable: skip-fenced\n"

WIPE = """
- {id: stop, hosts: members, uses: world.safe-set, with: {key: server, to: stopped}}
- {id: wipe, hosts: members, uses: world.wipe, with: {key: store, to: new}}
- {id: agree, hosts: members, uses: world.agree, with: {key: store}}
- {id: start, hosts: members, uses: world.safe-set, with: {key: server, to: running}}
"""


def ends(made: Bench) -> dict[str, str]:
    """Unit -> its last outcome."""
    found = [e for e in made.of(UnitFinished) if isinstance(e, UnitFinished)]
    return {str(e.unit): str(e.outcome) for e in found}


def codes(error: AuthorError) -> list[tuple[str, str]]:
    """(code, message) of each mistake."""
    return [(d.code, d.message) for d in error.diagnostics if isinstance(d, Diagnostic)]


# --- from the beginning --------------------------------------------------------------------------


def test_a_run_goes_without_a_fenced_host() -> None:
    """No unit is on it, rules count it as stopped by the operator's word, and that is kept."""
    made = Bench(compiled(WIPE, SKIP, fenced=[WORD]))
    made.world.down.add(H3)
    assert made.drive().exit_code == 0
    assert {host for host, _, _ in made.world.effects} == {"h1", "h2"}
    assert {step.fenced for step in made.plan.steps} == {(H3,)}
    guard = made.plan.units_of[StepId("wipe")][0].guards[0]
    assert (guard.hosts, guard.fenced) == ((H1, H2), (H3,))
    assert made.of(HostFenced) == [
        HostFenced(host=H3, method="power", reason="outlet 4 is off", by="ann")
    ]


def test_the_dry_run_says_the_same_without_asking_the_fenced_host() -> None:
    """Its changes are the run's: none is on the fenced host."""
    made = Bench(compiled(WIPE, SKIP, fenced=[WORD]))
    made.world.down.add(H3)
    forecast = made.forecast()
    assert not forecast.refusals
    assert {change.host for change in forecast.changes} == {H1, H2}


def test_a_plan_keeps_who_is_fenced() -> None:
    """to_json and from_json are inverses for it too; the digest covers it."""
    plan = compiled(WIPE, SKIP, fenced=[WORD])
    again = Plan.from_json(json.loads(json.dumps(plan.to_json())))
    assert (again.fenced, again.digest, again.units) == (plan.fenced, plan.digest, plan.units)
    assert plan.digest != compiled(WIPE, SKIP).digest


def test_the_first_host_is_the_first_that_is_left() -> None:
    """`members[0]` is h2 when h1 is fenced, and `members & !members[0]` is h3."""
    steps = """
    - {id: a, hosts: "members[0]", uses: world.safe-set, with: {key: k, to: v}}
    - {id: b, hosts: "members & !members[0]", uses: world.safe-set, with: {key: k, to: v}}
    """
    plan = compiled(steps, SKIP, fenced=[FIRST])
    assert [step.hosts for step in plan.steps] == [(H2,), (H3,)]


def test_steps_of_a_role_without_the_host_are_not_touched() -> None:
    """A step that would not have acted on it needs not say anything."""
    steps = "- {id: a, hosts: 'members[0]', uses: world.safe-set, with: {key: k, to: v}}"
    plan = compiled(steps, fenced=[WORD])
    assert plan.steps[0].fenced == ()
    assert unneeded(plan) == H3  # and a host that nothing looks at is not worth the word


@pytest.mark.parametrize(
    ("head", "steps", "fenced", "words"),
    [
        (HEAD, WIPE, WORD, "acts on h3, which is fenced, and stops without it"),
        (
            SKIP,
            "- {id: a, hosts: h3, uses: world.safe-set, with: {key: k, to: v}}",
            WORD,
            "every host of `h3` is fenced",
        ),
        (
            SKIP.replace("min: 1", "min: 3"),
            WIPE,
            WORD,
            "the role members needs at least 3 hosts; without h3 it has 2",
        ),
        (
            SKIP
            + "rules:\n  - every: {uses: world.agree}\n"
            + "    needs_state: {fact: world.value, with: {key_: server}, hosts: members, is: running}\n"
            + "    because: it must serve\n",
            WIPE,
            WORD,
            "must be 'running' on h3, which is fenced: nobody can know",
        ),
    ],
)
def test_what_nobody_may_assume_is_refused_when_planned(
    head: str, steps: str, fenced: Fencing, words: str
) -> None:
    """A step that does not say so, one without any host left, a role too small, another state."""
    with pytest.raises(AuthorError) as caught:
        compiled(steps, head, fenced=[fenced])
    assert words in " ".join(message for _, message in codes(caught.value))


def test_a_fenced_host_that_an_input_leaves_out_is_told_of_that_input() -> None:
    """`etcd-member-replace --fenced cp2=power`: the way out is `-e gone=true`, and no fence."""
    head = SKIP + "inputs: {gone: {type: bool, default: 'false'}}\n"
    step = "{id: a, hosts: h3, uses: world.safe-set, with: {key: k, to: v}, when: not inputs.gone}"
    with pytest.raises(AuthorError) as caught:
        compiled(f"- {step}", head, fenced=[WORD])
    (told,) = [d for d in caught.value.diagnostics if isinstance(d, Diagnostic)]
    assert told.hint == "where `when: not inputs.gone` does not hold, no --fenced is needed"


def test_one_step_may_say_what_the_runbook_does_not() -> None:
    """`on_unreachable` of a step wins, both ways."""
    step = "{id: a, hosts: members, uses: world.safe-set, with: {key: k, to: v}, on_unreachable: "
    plan = compiled(f"- {step}skip-fenced}}", fenced=[WORD])
    assert plan.steps[0].hosts == (H1, H2)
    with pytest.raises(AuthorError):
        compiled(f"- {step}stop}}", SKIP, fenced=[WORD])


# --- alive or only silent ------------------------------------------------------------------------


def test_a_host_that_only_cannot_be_reached_is_never_passed_over() -> None:
    """skip-fenced everywhere, nobody fenced it: the run does not begin."""
    made = Bench(compiled(WIPE, SKIP))
    made.world.down.add(H3)
    with pytest.raises(Unreachable, match="h3"):
        made.drive()
    assert not made.world.effects


def test_a_host_that_goes_away_stops_the_run_until_somebody_fences_it() -> None:
    """Unreachable in the middle: failed, resumable; a resume without the word changes nothing."""
    made = Bench(compiled(WIPE, SKIP))
    _dies(made, b"server stopped")
    finish = made.drive()
    assert (finish.status, finish.exit_code) == ("waiting", 6)
    with pytest.raises(Unreachable, match="h3"):
        made.drive()
    assert not [key for _, key, _ in made.world.effects if key == "store"]


def test_a_fenced_host_that_answers_is_refused() -> None:
    """Two of it would split the cluster: nothing is journaled, nothing changed."""
    made = Bench(compiled(WIPE, SKIP, fenced=[WORD]))
    with pytest.raises(Refused, match=r"named fenced, and alive: h3 \(it answers\)"):
        made.drive()
    assert (made.journal.written, made.world.effects) == ([], {})


def test_a_fenced_host_that_comes_back_stops_the_run_before_it_destroys() -> None:
    """It was silent at the start, and answers before the wipe: refused, nothing is wiped."""
    made = Bench(compiled(WIPE, SKIP, fenced=[WORD]))
    made.world.down.add(H3)
    perform = made.world.perform

    def wakes(host: HostName, script: bytes) -> object:
        if script == b"exec set server stopped\n" and host == H2:
            made.world.down.clear()
        return perform(host, script)

    made.world.perform = wakes  # type: ignore[method-assign, assignment]
    finish = made.drive()
    assert (finish.status, finish.exit_code) == ("refused", 5)
    assert "named fenced, and alive: h3" in finish.why
    assert not [key for _, key, _ in made.world.effects if key == "store"]


# --- on a resume ---------------------------------------------------------------------------------


def _dies(made: Bench, at: bytes, *, effect: bool = True) -> None:
    """h3 goes down with the change that says `at`; its effect happened, or not."""
    launch = WorldLine.launch

    def cut(self: WorldLine, job: Job) -> JobReport:
        if self.host == H3 and at in job.script and H3 not in self.world.down:
            if effect:
                launch(self, job)
            self.world.down.add(H3)
            raise Unreachable(f"{self.host}: the line broke")
        return launch(self, job)

    patch = pytest.MonkeyPatch()
    patch.setattr(WorldLine, "launch", cut)
    _PATCHES.append(patch)


_PATCHES: list[pytest.MonkeyPatch] = []


@pytest.fixture(autouse=True)
def _healed() -> object:
    """Lines work again after each test."""
    yield
    while _PATCHES:
        _PATCHES.pop().undo()


@pytest.mark.parametrize("at", [b"server stopped", b"store new", b"server running"])
def test_a_host_that_died_in_the_run_may_be_fenced_by_a_resume(at: bytes) -> None:
    """Wherever it died: its unit is passed over, the others go on, and nothing is done twice."""
    made = Bench(compiled(WIPE, SKIP))
    _dies(made, at)
    assert made.drive().exit_code == 6
    finish = made.drive([WORD])
    assert (finish.status, finish.exit_code) == ("done", 0)
    assert "skipped" in {ends(made)[f"{step}@h3"] for step in ("stop", "wipe", "start")}
    assert set(made.world.effects.values()) == {1}
    assert made.world.of(H1) == {"server": "running", "store": "new"}


def test_who_was_fenced_stays_fenced_in_every_later_resume() -> None:
    """The word is in the journal: a resume that says nothing goes on without the host as well."""
    made = Bench(compiled(WIPE, SKIP))
    _dies(made, b"store new")
    made.drive()
    made.world.fuse, made.world.touches = 2, 0
    with pytest.raises(Crash):
        made.drive([WORD])
    made.world.fuse = None
    assert list(made.state.fenced) == [H3]
    assert made.drive().exit_code == 0
    assert len(made.of(HostFenced)) == 1


def test_who_was_fenced_and_answers_later_is_refused_then_too() -> None:
    """It was not silently dropped from the set, nor silently taken back."""
    made = Bench(compiled(WIPE, SKIP))
    _dies(made, b"store new")
    made.drive()
    made.world.fuse, made.world.touches = 2, 0
    with pytest.raises(Crash):
        made.drive([WORD])
    made.world.fuse = None
    made.world.down.clear()
    with pytest.raises(Refused, match="alive: h3"):
        made.drive()


def test_a_resume_is_refused_before_anything_when_a_step_stops_without_the_host() -> None:
    """What is still to come names itself; what is done does not matter."""
    steps = WIPE.replace("id: start,", "id: start, on_unreachable: stop,")
    made = Bench(compiled(steps, SKIP))
    _dies(made, b"store new")
    made.drive()
    before = list(made.journal.written)
    with pytest.raises(Refused, match="h3 cannot be left out of start:"):
        made.drive([WORD])
    assert made.journal.written == before


def test_a_resume_knows_its_hosts() -> None:
    """A slip of the name is no word on a host."""
    made = Bench(compiled(WIPE, SKIP))
    with pytest.raises(UsageError, match="h9: the run has no such host"):
        made.drive([Fencing(HostName("h9"), "power", "off", "ann")])


def test_a_group_that_was_cut_begins_anew_without_the_host() -> None:
    """Its change on another host, begun before, comes to its end and is not made a second time."""
    steps = "- {id: both, hosts: members, uses: odd.both, on_unknown: ask, with: {key: k}}"
    for fuse in range(12):
        made = Bench(compiled(steps, SKIP))
        made.world.fuse = fuse
        try:
            made.drive()
        except Crash:
            made.world.fuse = None
            made.world.down.add(H3)
            fenced = made.drive([WORD])
            assert (fuse, fenced.status) == (fuse, "done")
            assert made.world.effects[("h1", "k", "v")] == 1
            assert made.state.units[UnitId("both")].outputs == {"without": ["h3"]}


@pytest.mark.parametrize(
    ("says", "status", "effects"),
    [([], "waiting", 1), (["succeeded"], "done", 1), (["rerun"], "done", 2)],
)
def test_what_a_group_left_open_and_lost_is_ruled_on_before_it_is_made_again(
    says: list[str], status: str, effects: int
) -> None:
    """Its host h1 was rebooted as well: nobody there waits, a verdict counts as ever."""
    steps = "- {id: both, hosts: members, uses: odd.both, on_unknown: ask, with: {key: k}}"
    made = Bench(compiled(steps, SKIP))
    launch = WorldLine.launch

    def dies(self: WorldLine, job: Job) -> JobReport:
        launch(self, job)
        raise Crash

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WorldLine, "launch", dies)
        with pytest.raises(Crash):
            made.drive()
    made.world.jobs.clear()
    made.world.boots[H1] = "boot-2"
    made.world.down.add(H3)
    made.answers = Answers(says)
    assert made.drive([WORD]).status == status
    assert made.world.effects[("h1", "k", "v")] == effects
    assert made.drive().status == status  # and a later resume finds the same
    assert made.world.effects[("h1", "k", "v")] == effects


def test_an_undo_leaves_a_fenced_host_as_it_is() -> None:
    """The others go back; what is left is named, by itself and at the end (hazard H7)."""
    made = Bench(compiled(WIPE, SKIP))
    for host in (H1, H2, H3):
        made.world.of(host).update(server="running", store="old")
    _dies(made, b"store new")
    made.drive()
    made.before_attach = lambda recorder: recorder.record(UndoStarted(why="asked to"))
    finish = made.drive([WORD])
    assert (finish.status, finish.exit_code) == ("undone", 8)
    assert finish.why == "undone, but left as it is: wipe@h3, stop@h3"
    for host in (H1, H2):
        assert made.world.of(host) == {"server": "running", "store": "old"}
    assert made.state.units[UnitId("stop@h3")].status is Status.UNDONE
