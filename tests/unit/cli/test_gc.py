"""`drrun gc`: what is over is forgotten, what is not is refused, and nobody is surprised."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
import time_machine
from tests.unit.cli.conftest import Desk
from tests.unit.cli.test_running import run_id

from drrun.testing.world import Answers
from drrun.values import HostName

HOSTS = [HostName("h1"), HostName("h2"), HostName("h3")]


@pytest.fixture
def done(desk: Desk) -> str:
    """A run that is done."""
    return run_id(desk("demo.yaml", "--yes").out)


def held(desk: Desk) -> list[HostName]:
    """The hosts that still know a token."""
    return sorted({host for host, _ in desk.world.jobs})


def folder(desk: Desk, run: str) -> Path:
    """Where the run lies."""
    return desk.folder / "state" / run


def test_a_young_run_is_kept(desk: Desk, done: str) -> None:
    """Without a name only what ended thirty days ago is meant."""
    said = desk("gc", "--yes")
    assert (said.code, said.out) == (0, "")
    assert "nothing to remove" in said.err
    assert held(desk) == HOSTS
    with time_machine.travel(timedelta(days=31)):
        assert desk("gc", "--yes").code == 0
    assert held(desk) == []
    assert folder(desk, done).exists()


def test_it_only_looks_unless_somebody_agrees(desk: Desk, done: str) -> None:
    """Without --yes and without a person it lists each host, and removes nothing."""
    said = desk("gc", done)
    assert said.code == 0
    assert "--yes removes" in said.err
    rows = [row.split() for row in said.out.splitlines()]
    assert rows[0] == ["run", "host", "what"]
    assert [row[:4] for row in rows[1:]] == [[done, host, "3", "jobs,"] for host in HOSTS]
    assert held(desk) == HOSTS


def test_it_forgets_what_is_named(desk: Desk, done: str) -> None:
    """Hosts forget the run; its journal stays here, and a second time there is nothing."""
    said = desk("gc", done[:-2], "--yes")
    assert (said.code, held(desk)) == (0, [])
    assert "forgot 9 jobs" in said.err
    assert (folder(desk, done) / "journal.jsonl").exists()
    assert "nothing to remove" in desk("gc", done, "--yes").err


def test_with_journals_the_run_itself_goes(desk: Desk, done: str) -> None:
    """Its folder is listed before, and is gone after; other runs stay."""
    other = run_id(desk("failing.yaml").out)
    looked = desk("gc", done, "--journals")
    assert any(row.split()[:2] == [done, "here"] for row in looked.out.splitlines())
    assert folder(desk, done).exists()
    assert desk("gc", done, "--journals", "--yes").code == 0
    assert not folder(desk, done).exists()
    assert folder(desk, other).exists()


def test_a_run_that_is_not_over_is_refused(desk: Desk, done: str) -> None:
    """A failed run can be resumed: its claims are what keeps it from doing a thing twice."""
    failed = run_id(desk("failing.yaml").out)
    said = desk("gc", done, failed, "--yes")
    assert said.code == 5
    assert f"{failed} is not over: failed" in said.err
    assert f"drrun resume {failed}" in said.err
    assert held(desk) == HOSTS
    with time_machine.travel(timedelta(days=31)):
        assert desk("gc", "--journals", "--yes").code == 0
    assert folder(desk, failed).exists()
    assert not folder(desk, done).exists()


def test_a_host_that_is_away_keeps_the_runs_folder(desk: Desk, done: str) -> None:
    """Only the plan says which hosts to ask: while one could not be asked, it stays. Exit 1, or 4."""
    desk.world.down.add(HOSTS[1])
    looked = desk("gc", done, "--journals")
    assert (looked.code, "h2" in looked.out) == (4, True)
    said = desk("gc", done, "--journals", "--yes")
    assert (said.code, held(desk)) == (1, [HOSTS[1]])
    assert f"{done} is kept here" in said.err
    assert folder(desk, done).exists()
    desk.world.down.clear()
    assert desk("gc", done, "--journals", "--yes").code == 0
    assert not folder(desk, done).exists()


def test_a_lock_that_was_left_behind_is_given_back(desk: Desk, done: str) -> None:
    """A host that was away when the run ended keeps its lock until gc comes by."""
    desk.world.locks[HOSTS[0]] = (done, 1)
    assert "lock" in desk("gc", done).out
    assert desk.world.locks
    assert desk("gc", done, "--yes").code == 0
    assert (desk.world.locks, held(desk)) == ({}, [])


@pytest.mark.parametrize(("word", "left"), [("no", HOSTS), ("yes", [])])
def test_a_person_is_asked(
    desk: Desk, done: str, monkeypatch: pytest.MonkeyPatch, word: str, left: list[HostName]
) -> None:
    """On a terminal: no keeps everything, yes removes it."""
    person, make = Answers([word]), desk.make
    monkeypatch.setattr(desk, "make", lambda _nobody: make(person))
    assert desk("gc", done).code == 0
    assert [question.choices for question in person.asked] == [("yes", "no")]
    assert held(desk) == left


def test_json_tells_every_row(desk: Desk, done: str) -> None:
    """One document: what each host said, before and after."""
    looked = json.loads(desk("gc", done, "-o", "json").out)
    assert (looked["type"], looked["removed"]) == ("gc", False)
    assert [row["state"] for row in looked["rows"] if row["run"]] == ["found"] * 3
    swept = json.loads(desk("gc", done, "-o", "json", "--yes").out)
    assert [row["state"] for row in swept["rows"] if row["run"]] == ["swept"] * 3
    assert {row["jobs"] for row in swept["rows"] if row["run"]} == {3}


def test_an_age_that_is_none_is_told(desk: Desk) -> None:
    """Exit 2, with the forms that are understood."""
    said = desk("gc", "--older-than", "soon")
    assert (said.code, "2d" in said.err) == (2, True)
