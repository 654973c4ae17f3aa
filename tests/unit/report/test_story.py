"""What reports derive from a journal: phases, outages, objectives, lost results."""

from __future__ import annotations

from inline_snapshot import snapshot
from tests.unit.engine.conftest import HEAD, compiled
from tests.unit.report.conftest import records

from drrun.journal.events import (
    Answered,
    ChangeFinished,
    ChangeIntended,
    ChangeLost,
    Event,
    Measured,
    Noted,
    RunAttached,
    RunFinished,
    RunStarted,
    UnitFinished,
    UnitStarted,
)
from drrun.report import html, junit, markdown, text
from drrun.report.outage import away, changing, goals, missed, outage
from drrun.report.story import Story
from drrun.testing.world import MemoryOutputs
from drrun.values import Digest, HostName, Json, Outcome, RunId, UnitId

STEPS = """
- id: stop
  hosts: members[0]
  uses: world.set
  with: {key: server, to: stopped}
- id: start
  hosts: members[0]
  uses: world.set
  with: {key: server, to: running}
"""
FACT = "world.value(key_=server)"
NONE = Digest("0" * 64)


def began() -> list[tuple[float, Event]]:
    """A run's first two events."""
    return [
        (
            0,
            RunStarted(
                run=RunId("r-test"),
                plan=NONE,
                runbook="test.yaml",
                inventory="test",
                operator="ada",
                controller="bastion",
                version="0.1.0",
            ),
        ),
        (0, RunAttached(epoch=1, operator="ada", controller="bastion", pid=7, version="0.1.0")),
    ]


def change(
    at: float, unit: str, was: str, to: str, seconds: float = 1
) -> list[tuple[float, Event]]:
    """A unit that sets the server's state, from its start to its end."""
    host, name = HostName("h1"), UnitId(unit)
    token = f"c-{unit}"
    before: dict[str, Json] = {FACT: was}
    return [
        (at, UnitStarted(unit=name, attempt=1)),
        (
            at,
            ChangeIntended(
                unit=name, attempt=1, ordinal=1, name="set", host=host, asked=NONE, token=token,
                epoch=1, boot_id="b", preview=f"set server {to}", before=before,
            ),
        ),
        (
            at + seconds,
            ChangeFinished(
                unit=name, attempt=1, ordinal=1, name="set", host=host, token=token, code=0,
                stdout=NONE, stderr=NONE, out_size=0, err_size=0, seconds=seconds,
            ),
        ),
        (
            at + seconds,
            Answered(
                unit=name, attempt=1, ordinal=1, kind="verify", name="set", asked=NONE,
                answers={FACT: to},
            ),
        ),
        (at + seconds, UnitFinished(unit=name, attempt=1, outcome=Outcome.CHANGED, seconds=seconds)),
    ]  # fmt: skip


DONE = (90.0, RunFinished(status="done", exit_code=0))


def told(*events: tuple[float, Event], head: str = HEAD) -> Story:
    """The story of these events."""
    return Story.of(compiled(STEPS, head), records([*began(), *events]))


def whole(head: str = HEAD) -> Story:
    """A stop at 10 s and a start that is up at 72 s."""
    return told(
        *change(10, "stop@h1", "running", "stopped", 2),
        *change(70, "start@h1", "stopped", "running", 2),
        DONE,
        head=head,
    )


def test_an_outage_is_what_left_and_came_back() -> None:
    """From the moment the stop was sent to the moment the start was proved: 62 s."""
    story = whole()
    assert [(a.host, a.fact, a.was, a.seconds) for a in away(story)] == [
        ("h1", FACT, "running", 62.0)
    ]
    assert outage(story) == 62.0


def test_proofs_are_told_apart_from_changes() -> None:
    """Two changes of 2 s in an outage of 62 s: 4 s of changes, and what runs at once counts once."""
    assert changing(whole()) == 4.0
    stop, start = (
        change(10, "stop@h1", "running", "stopped", 3),
        change(12, "start@h1", "stopped", "running", 2),
    )
    assert changing(told(*sorted([*stop, *start], key=lambda event: event[0]), DONE)) == 4.0


def test_what_never_came_back_is_no_outage_yet() -> None:
    """A stop alone measures nothing: the outage is not over."""
    story = told(*change(10, "stop@h1", "running", "stopped"))
    assert outage(story) is None


def test_the_recovery_time_is_the_outage_else_the_whole_run() -> None:
    """RTO is judged on the outage where one was seen, else on the run, which is never shorter."""
    head = HEAD.replace("roles:", "objectives: {rto: 60s, rpo: 1h}\nroles:")
    story = whole(head)
    assert [(g.name, g.got, g.met) for g in goals(story)] == [
        ("rto", 62.0, False),
        ("rpo", None, None),
    ]
    assert [g.name for g in missed(story)] == ["rto"]
    down = told(*change(70, "start@h1", "stopped", "running"), DONE, head=head)
    assert goals(down)[0].got == 90.0


def test_a_run_that_is_not_done_meets_nothing() -> None:
    """However soon a run failed, its objectives are not judged."""
    head = HEAD.replace("roles:", "objectives: {rto: 60s}\nroles:")
    failed = RunFinished(status="failed", exit_code=1, why="no")
    assert goals(told((1, failed), head=head))[0].met is None


def test_a_step_may_measure_an_objective() -> None:
    """A figure of an objective's name, noted by a step, is what it is judged on."""
    head = HEAD.replace("roles:", "objectives: {rpo: 1h}\nroles:")
    measured = Measured(unit=UnitId("stop@h1"), name="rpo", value=1800)
    story = told((5, measured), DONE, head=head)
    assert goals(story)[0].met is True


def test_a_run_without_an_end_is_told_so_far() -> None:
    """No end, no controller: interrupted; the phase that goes on has no seconds."""
    story = told(*change(10, "stop@h1", "running", "stopped")[:2])
    assert story.status == "interrupted"
    assert story.phases[0].seconds is None
    assert "its end is not known" not in text.status(story)


def test_a_lost_result_is_shown_with_its_command() -> None:
    """An unknown result names the host, why, and the command that resolves it."""
    lost = ChangeLost(
        unit=UnitId("stop@h1"), attempt=1, ordinal=1, name="set", host=HostName("h1"),
        token="c-stop@h1", why="the host was rebooted since",
    )  # fmt: skip
    story = told(
        *change(10, "stop@h1", "running", "stopped")[:2],
        (20, lost),
        (
            20,
            UnitFinished(
                unit=UnitId("stop@h1"), attempt=1, outcome=Outcome.UNKNOWN, why="not known"
            ),
        ),
        (21, RunFinished(status="waiting", exit_code=6, why="stop@h1: not known")),
    )
    assert text.failure(story, MemoryOutputs()) == snapshot("""\
? 1 stop@h1 unknown: not known
  --> test.yaml:8
  h1 set: its end is not known: the host was rebooted since
  state stop: h1 unknown; 1 step not started
  next  drrun resolve r-test stop h1 --succeeded|--failed|--rerun --reason WHY  after a look at the host
        drrun resume r-test                                                     take up what is left
        drrun logs r-test                                                       all that the commands printed
        drrun abort r-test --undo                                               undo stop
        drrun report r-test                                                     the whole record\
""")
    assert 'errors="1"' in junit.suite(story, MemoryOutputs())


def test_a_unit_that_waits_for_a_person_is_not_called_unknown() -> None:
    """No result was lost: the screens say waiting, and offer no verdict."""
    story = told(
        (1, UnitStarted(unit=UnitId("stop@h1"), attempt=1)),
        (2, UnitFinished(unit=UnitId("stop@h1"), attempt=1, outcome=Outcome.UNKNOWN, why="asks")),
        (2, RunFinished(status="waiting", exit_code=6, why="asks")),
    )
    assert story.phases[0].outcome == "waiting"
    assert "drrun resolve" not in text.failure(story, MemoryOutputs())


def test_the_end_screen() -> None:
    """Phases with their seconds, notes, totals with the outage, and where the report is."""
    story = told(
        *change(10, "stop@h1", "running", "stopped", 2),
        (13, Noted(unit=UnitId("stop@h1"), text="held\x1b[2J")),
        *change(70, "start@h1", "stopped", "running", 2),
        DONE,
    )
    assert text.end(story, report="/x/report.html") == snapshot("""\
✔ test done in 1m30s · r-test · test

  #  step   on  outcome  seconds
✔ 1  stop   h1  changed  2.0
✔ 2  start  h1  changed  2.0

  note stop@h1: held�[2J
  2 steps, 2 changes on 1 host, 1m30s in all, 1m02s from the first thing taken away to the last one back (4.0s of changes, 58s of proofs and waits)
  report /x/report.html\
""")


def test_changes_are_told_with_before_and_after() -> None:
    """The change table has each fact's value before and as it was read again after."""
    assert f"{FACT}: running → stopped" in markdown.page(whole(), MemoryOutputs())


def test_a_page_of_a_run_that_never_began_is_a_page() -> None:
    """No event at all still makes every format."""
    story = Story.of(compiled(STEPS), ())
    assert "Nothing was started" in html.page(story, MemoryOutputs())
    assert story.status == "not started"
    junit.suite(story, MemoryOutputs())
    markdown.page(story, MemoryOutputs())
    text.status(story)
