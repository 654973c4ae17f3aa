"""Running, resuming and undoing from the command line: screens, exit codes, consent."""

from __future__ import annotations

import json
import re

from inline_snapshot import snapshot
from tests.unit.cli.conftest import Desk, still


def run_id(text: str) -> str:
    """The run that a text names first."""
    found = re.search(r"r\d{8}-\d{6}-[0-9a-f]{4}", text)
    assert found is not None, text
    return found[0]


def test_a_dry_run_says_everything_and_changes_nothing(desk: Desk) -> None:
    """The dry-run lists every step and change in order, marks what destroys, and exits 0."""
    said = desk("demo.yaml", "--dry-run")
    assert said.code == 0
    assert said.out == snapshot("""\
plan  demo · Wipe and restore
      demo.yaml @00e635e · test · h[1-3]
      6 facts read on 3 hosts, live and read-only

  #  step   on      effect
  1  stop   h[1-3]  change    undo: yes
       h[1-3]  set: set server stopped
! 2  wipe   h[1-3]  DESTROYS  undo: yes
       h[1-3]  set: set data restored
  3  start  h[1-3]  change    undo: yes
       h[1-3]  set: set server running
  4  agree  h[1-3]  read

4 steps, 3 hosts, 9 changes, 1 step that destroys.
Units predicted: 3 observed, 7 predicted.
Objectives: RTO 15m00s.
Nothing changed.
""")
    assert not desk.world.effects


def test_verbose_dry_run_names_every_fact(desk: Desk) -> None:
    """-v lists each fact that was asked, with its host."""
    said = desk("demo.yaml", "-n", "-v")
    assert "asked h3 world.value(key_=server)" in said.out


def test_offline_asks_no_host(desk: Desk) -> None:
    """--offline works with every host down, and says what it rests on."""
    desk.world.down |= set(desk.world.values)
    said = desk("demo.yaml", "--dry-run", "--offline")
    assert said.code in {0, 5}
    assert "offline: no host was asked" in said.out
    assert not desk.world.effects


def test_a_dry_run_that_cannot_connect_exits_4(desk: Desk) -> None:
    """A host that is down ends a dry-run with 4, its name and a next move."""
    desk.world.down |= {*list(desk.world.values)[:1]}
    said = desk("demo.yaml", "--dry-run")
    assert said.code == 4
    assert said.err == snapshot("""\
drrun: h1 cannot be reached
  next: it is down in this test
  next: a host that is surely off is left out by name: --fenced HOST=power --reason …
""")


def test_a_forecast_is_one_json_document(desk: Desk) -> None:
    """--output json gives the forecast as one line of JSON on standard output."""
    said = desk("demo.yaml", "--dry-run", "--output", "json")
    document = json.loads(said.out)
    assert document["type"] == "forecast"
    assert [unit["unit"] for unit in document["units"]][:2] == ["stop@h1", "stop@h2"]
    assert document["coverage"]["unknown"] == 0


def test_a_run_that_destroys_needs_a_word(desk: Desk) -> None:
    """Without a terminal and without --yes or --confirm, nothing starts: exit 5, flag named."""
    said = desk("demo.yaml")
    assert said.code == 5
    assert said.err == snapshot("""\
! wipe destroys on h[1-3]: Replace the data
drrun: this run destroys data, and nobody is here to agree
  next: --confirm test (or --yes) agrees without a terminal
""")
    assert not desk.world.effects


def test_confirm_with_another_name_is_refused(desk: Desk) -> None:
    """--confirm with the name of another inventory starts nothing."""
    assert desk("demo.yaml", "--confirm", "prod").code == 5
    assert not desk.world.effects


def test_a_run_ends_with_its_phases(desk: Desk) -> None:
    """A run's last screen: phases with outcomes and seconds, totals, objectives, the report."""
    said = desk("demo.yaml", "--confirm", "test")
    assert said.code == 0
    assert said.plain == snapshot("""\
✔ demo done in N · RUN · test

  #  step   on      outcome  seconds
✔ 1  stop   h[1-3]  changed  N
✔ 2  wipe   h[1-3]  changed  N
✔ 3  start  h[1-3]  changed  N
✔ 4  agree  h[1-3]  read     N

  4 steps, 9 changes on 3 hosts, N in all, N from the first thing taken away to the last one back (N of changes, N of proofs and waits)
  ✔ RTO N of 15m00s (from the first thing taken away to the last one back)
  report STATE/RUN/report.html
""")


def test_a_pipe_gets_plain_lines(desk: Desk) -> None:
    """Without a terminal each event of interest is one line on standard error, no control codes."""
    said = desk("demo.yaml", "--yes", "--forks", "1")
    assert "\x1b" not in said.err + said.out
    assert still("\n".join(said.err.splitlines()[:9])) == snapshot("""\
TIME run.started run=RUN runbook=demo.yaml inventory=inventory.yaml operator=root plan=DIGEST
TIME run.attached run=RUN epoch=1 operator=root
TIME step.host.started run=RUN step=stop host=h1
TIME change.sent run=RUN step=stop host=h1 change=set command="set server stopped"
TIME change.ended run=RUN step=stop host=h1 change=set rc=0 seconds=N
TIME step.host.ok run=RUN step=stop host=h1 outcome=changed seconds=N
TIME step.host.started run=RUN step=stop host=h2
TIME change.sent run=RUN step=stop host=h2 change=set command="set server stopped"
TIME change.ended run=RUN step=stop host=h2 change=set rc=0 seconds=N\
""")


def test_a_run_as_ndjson(desk: Desk) -> None:
    """--output json: a version record, each event, a result; nothing else on standard output."""
    said = desk("demo.yaml", "--yes", "--output", "json")
    records = [json.loads(line) for line in said.out.splitlines()]
    assert records[0]["type"] == "version"
    assert records[1]["type"] == "run.started"
    assert records[-1] | {"run": "", "seconds": 0, "objectives": []} == snapshot(
        {
            "type": "result",
            "run": "",
            "status": "done",
            "exit_code": 0,
            "why": "",
            "seconds": 0,
            "objectives": [],
        }
    )
    assert records[-1]["objectives"][0]["met"] is True


def test_a_failure_says_why_and_what_next(desk: Desk) -> None:
    """A failed run exits 1 with step, host, why, last words, state, and the next commands."""
    said = desk("failing.yaml", "-q")
    assert said.code == 1
    assert still(said.err) == snapshot("""\

✘ 2 fail@h2 failed: h2: fail ended with 3: no
  --> failing.yaml:11
  11 |   - id: fail
  h2 fail stderr (1 of 1):
    no
  hint  `drrun logs RUN --step fail` shows all of it
  state 1 step done; fail: h2 failed; 1 step not started
  next  drrun resume RUN        take up what is left
        drrun logs RUN          all that the commands printed
        drrun abort RUN --undo  undo stop; fail cannot be undone
        drrun report RUN        the whole record
""")


def test_resume_goes_on(desk: Desk) -> None:
    """Resume takes up the newest run; what was done stays done."""
    desk("failing.yaml")
    before = dict(desk.world.effects)
    said = desk("resume", "-q")
    assert said.code == 1
    assert dict(desk.world.effects) == before


def test_resume_of_a_finished_run_is_usage(desk: Desk) -> None:
    """A run that is done cannot be resumed: exit 2."""
    desk("demo.yaml", "--yes")
    assert desk("resume").code == 2


def test_abort_undoes_and_says_what_it_could_not(desk: Desk) -> None:
    """Abort --undo exits 8; a step type that cannot undo is shown as left, not as undone."""
    run = run_id(desk("failing.yaml").out)
    said = desk("abort", run, "--undo", "-q")
    assert said.code == 8
    assert said.plain == snapshot("""\
! failing undone, but not all of it in N · RUN · test

  #  step   on      outcome        seconds
✔ 1  stop   h[1-3]  undone         N
! 2  fail   h2      left as it is  N
  3  after  h[1-3]  not started

  3 steps, 4 changes on 3 hosts, N in all, 3 changes to undo, N from the first thing taken away to the last one back (N of changes, N of proofs and waits), taken up again 1 time
  report STATE/RUN/report.html
""")


def test_abort_without_undo_does_nothing(desk: Desk) -> None:
    """Abort without --undo is a usage error that says the command."""
    run = run_id(desk("failing.yaml").out)
    said = desk("abort", run)
    assert said.code == 2
    assert "--undo" in said.err


def test_a_missed_objective_exits_7(desk: Desk) -> None:
    """A run that is done too late exits 7 and says which objective was missed."""
    desk.write("demo.yaml", (desk.folder / "demo.yaml").read_text().replace("15m", "1ms"))
    said = desk("demo.yaml", "--yes", "-q")
    assert said.code == 7
    assert "✘ RTO" in said.out


def test_resolve_takes_exactly_one_verdict(desk: Desk) -> None:
    """Two verdicts at once are a usage error."""
    said = desk("resolve", "r", "stop", "h1", "--failed", "--rerun", "--reason", "x")
    assert said.code == 2
    assert "one of --succeeded" in said.err


def test_input_values_stay_out_of_the_journal(desk: Desk) -> None:
    """What stands after KEY= on the command line is never written down as an argument."""
    from drrun.cli.run import masked

    app = desk.make(prompt=None)  # type: ignore[arg-type]
    desk.write(
        "demo.yaml",
        (desk.folder / "demo.yaml")
        .read_text()
        .replace("roles:\n", "inputs:\n  token: {type: string, required: true}\nroles:\n", 1),
    )
    plan = app.plan(app.load("demo.yaml"), desk.folder / "inventory.yaml", {"token": "s3cret"})
    assert masked(["demo.yaml", "-e", "token=s3cret"], plan) == ["demo.yaml", "-e", "token=…"]
