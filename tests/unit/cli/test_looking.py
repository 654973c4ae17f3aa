"""The verbs that look at runs: runs, status, watch, logs, report."""

from __future__ import annotations

import json
from xml.etree import ElementTree as ET

import pytest
from tests.unit.cli.conftest import Desk
from tests.unit.cli.test_running import run_id

from drrun.cli.tail import Tail
from drrun.errors import JournalDamaged
from drrun.journal.chain import read
from drrun.store.folder import JOURNAL, FolderStore
from drrun.values import HostName


def test_runs_lists_the_newest_first(desk: Desk) -> None:
    """Each run is a row: id, runbook, inventory, status."""
    desk("failing.yaml")
    rows = desk("runs").out.splitlines()
    assert rows[0].split()[:4] == ["run", "runbook", "inventory", "status"]
    assert rows[1].split()[1:4] == ["failing", "test", "failed"]


def test_status_shows_the_phases_and_the_next_command(desk: Desk) -> None:
    """Status of a failed run names the failed step, why, and how to go on."""
    desk("failing.yaml")
    said = desk("status")
    assert said.code == 0
    assert "✘ 2  fail" in said.out
    assert "drrun resume" in said.out


def test_status_takes_the_beginning_of_an_id(desk: Desk) -> None:
    """A unique beginning of a run's id is enough; anything else exits 2."""
    run = run_id(desk("failing.yaml").out)
    assert desk("status", run[:-2]).code == 0
    assert desk("status", "zz").code == 2


def test_status_says_what_jobs_outlive(desk: Desk) -> None:
    """With -v, and in JSON reports: per host, whether its jobs outlive the session."""
    desk.world.scoped.update({HostName("h1"), HostName("h3")})
    desk("demo.yaml", "--yes")
    said = desk("status", "-v").out
    assert "  on h[1,3]  jobs outlive the line, and the session" in said
    assert "  on h2  jobs outlive the line, but" in said
    assert "outlive" not in desk("status").out
    told = json.loads(desk("report", "--format", "json").out)
    assert told["tiers"] == {"h1": "scope", "h2": "session", "h3": "scope"}


def test_watch_of_an_ended_run_replays_it(desk: Desk) -> None:
    """Watch prints the journal's lines with the journal's times and exits as the run did."""
    desk("failing.yaml")
    said = desk("watch")
    assert said.code == 1
    assert "step.host.failed" in said.err


def test_logs_choose_by_step_and_host(desk: Desk) -> None:
    """Logs prints what commands printed; --step and --host narrow it; a wrong name exits 2."""
    desk("failing.yaml")
    assert "stderr: no" in desk("logs", "--step", "fail").out
    assert desk("logs", "--step", "stop", "--host", "h2").out.count("── ") == 1
    assert desk("logs", "--step", "stpo").code == 2
    record = json.loads(desk("logs", "--step", "fail", "-o", "json").out)
    assert (record["code"], record["stderr"]) == (3, "no\n")


@pytest.mark.parametrize("format", ["text", "md", "json", "html", "junit"])
def test_every_report_names_the_chain(desk: Desk, format: str) -> None:  # noqa: A002
    """Each format holds the run's id and the head of its journal's chain."""
    desk("demo.yaml", "--yes")
    whole = json.loads(desk("report", "--format", "json").out)
    said = desk("report", "--format", format)
    assert whole["chain_head"] in said.out
    assert whole["run"] in said.out


def test_the_page_needs_nothing_else(desk: Desk) -> None:
    """The HTML report has no script and no outside link, and escapes what comes from elsewhere."""
    text = (desk.folder / "demo.yaml").read_text()
    desk.write("demo.yaml", text.replace("Wipe and restore", "<script>alert(1)</script> & x"))
    desk("demo.yaml", "--yes")
    page = desk("report", "--format", "html").out
    assert "<script" not in page
    assert "href" not in page
    assert "src=" not in page
    assert "&lt;script&gt;" in page
    assert "<svg" in page
    assert page.count("http") == page.count("http://www.w3.org/2000/svg") + page.count("http-equiv")


def test_junit_counts_what_was_never_started(desk: Desk) -> None:
    """JUnit: a failed unit is a failure, units that were not reached are skipped."""
    desk("failing.yaml")
    suite = ET.fromstring(desk("report", "--format", "junit").out)
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("7", "1", "3")


def test_a_report_goes_to_a_file(desk: Desk) -> None:
    """--to writes a file; one that cannot be written exits 2."""
    desk("failing.yaml")
    assert desk("report", "--format", "md", "--to", "report.md").code == 0
    assert "## Changes" in (desk.folder / "report.md").read_text()
    assert desk("report", "--to", "/nowhere/at/all").code == 2


def test_a_tail_verifies_what_it_reads(desk: Desk) -> None:
    """Following a journal gives each record once; an edited line is refused."""
    run = run_id(desk("failing.yaml").out)
    path = desk.folder / "state" / run / JOURNAL
    tail = Tail(path)
    assert len(tail.news()) > 5
    assert tail.news() == ()
    path.write_bytes(path.read_bytes().replace(b"failing", b"falling"))
    with pytest.raises(JournalDamaged):
        Tail(path).news()


def test_half_a_record_that_a_resume_trims_is_no_damage(desk: Desk) -> None:
    """Who watched saw half a line; the next controller trims it, says so, and is followed."""
    run = run_id(desk("failing.yaml").out)
    path = desk.folder / "state" / run / JOURNAL
    path.write_bytes(path.read_bytes()[:-40])
    tail = Tail(path)
    before = tail.news()
    assert "journal.trimmed" in desk("resume").err
    news = tail.news()
    assert [news[0].event.type, news[1].event.type] == ["journal.trimmed", "run.attached"]
    assert (*before, *news) == read(path.read_bytes()).records


def test_half_a_record_waits_for_its_other_half(desk: Desk) -> None:
    """A record that is being written is given when it is whole."""
    run = run_id(desk("failing.yaml").out)
    path = desk.folder / "state" / run / JOURNAL
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    tail = Tail(path)
    first = tail.news()
    path.write_bytes(whole)
    assert len(tail.news()) == 1
    assert len(first) == whole.count(b"\n") - 1


def test_logs_show_what_a_broken_step_type_left(desk: Desk) -> None:
    """A bug's hint names `drrun logs` for its traceback: there it is, of the unit that was asked for."""
    run = run_id(desk("failing.yaml").out)
    FolderStore(desk.folder / "state").outputs(run).append("fail@h2.traceback", b"Traceback \x1b\n")
    assert "fail@h2: its step type broke\nTraceback \\x1b\n" in desk("logs").out
    assert "Traceback" not in desk("logs", "--step", "stop").out
    last = desk("logs", "-o", "json").out.splitlines()[-1]
    assert json.loads(last)["text"] == "Traceback \x1b\n"
