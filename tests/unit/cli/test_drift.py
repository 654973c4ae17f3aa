"""A resume looks first at what moved since the checkpoint: its runbook, its hosts, its inventory."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from drrun.app import App
from drrun.drift import drift_of
from drrun.registry import GROUP, Registry
from drrun.report.drift import drift_lines
from drrun.store.folder import FolderStore
from drrun.testing.world import Answers, WorldTransport
from drrun.values import HostName

from .conftest import Desk

RUNBOOK = """\
drrun: 1
name: long
title: The fourth step fails
roles:
  members: {min: 1}
steps:
  - id: which
    hosts: members
    uses: world.agree
    with: {key: cluster}
  - id: look
    hosts: members
    uses: world.agree
    with: {key: mode}
  - id: stop
    hosts: members
    uses: world.set
    with: {key: server, to: stopped}
  - id: fail
    hosts: members[1]
    uses: world.fail
    with: {code: "3"}
  - id: after
    hosts: members
    uses: world.set
    with: {key: data, to: new}
"""
H1, H2, H3 = (HostName(name) for name in ("h1", "h2", "h3"))


@pytest.fixture(name="stopped")
def _stopped(desk: Desk) -> Desk:
    """A desk with a run that failed half-way."""
    desk.write("long.yaml", RUNBOOK)
    for host in (H1, H2, H3):
        desk.world.of(host).update(cluster="c1", mode="calm")
    assert desk("long.yaml", "-q").code == 1
    desk.world.effects.clear()
    return desk


def edit(desk: Desk, old: str, new: str, name: str = "long.yaml") -> None:
    """Put `new` for `old` in a file."""
    text = (desk.folder / name).read_text()
    assert old in text
    desk.write(name, text.replace(old, new))


def told(desk: Desk, *words: str) -> list[str]:
    """What a resume says of drift, on standard error."""
    lines = desk("resume", *words).err.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("drift"))
    end = next(n for n, line in enumerate(lines) if "run.attached" in line)
    return lines[start:end]


def test_nothing_moved_is_said(stopped: Desk) -> None:
    """The runbook, the inventory, and every fact that the run knows of its hosts."""
    assert told(stopped) == [
        "drift  none: the runbook, the inventory and 9 facts of the hosts are as they were"
    ]


def test_a_finished_step_that_was_edited_stops_the_resume_with_a_diff(stopped: Desk) -> None:
    """Exit 5, the step and what changed in it, nothing sent; put back, the resume goes on."""
    edit(stopped, "to: stopped", "to: halted")
    refused = stopped("resume")
    assert refused.code == 5
    assert "was edited under a step that is finished" in refused.err
    assert "step stop on h[1-3], with.to: stopped → halted" in refused.err
    assert "--as-planned" in refused.err
    assert not stopped.world.effects
    edit(stopped, "to: halted", "to: stopped")
    assert stopped("resume").code == 1


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("id: stop\n", "id: halt\n", "step stop: removed"),
        ("uses: world.set\n    with: {key: server", "uses: world.safe-set\n    with: {key: server",
         "step stop, uses: world.set → world.safe-set"),
        ("hosts: members\n    uses: world.set\n    with: {key: server",
         "hosts: members[0]\n    uses: world.set\n    with: {key: server", "-h2 -h3"),
    ],
    ids=["renamed", "another-type", "fewer-hosts"],
)  # fmt: skip
def test_every_way_of_changing_a_finished_step_stops(
    stopped: Desk, old: str, new: str, words: str
) -> None:
    """Its name, its step type, its hosts."""
    edit(stopped, old, new)
    refused = stopped("resume")
    assert refused.code == 5
    assert words in refused.err


def test_as_planned_goes_on_by_the_plan_of_the_run(stopped: Desk) -> None:
    """The edit is told and not taken up: what runs is what the run began with."""
    edit(stopped, "to: stopped", "to: halted")
    lines = told(stopped, "--as-planned")
    assert lines[1:] == [
        "  ! runbook: it was edited; this run goes by the plan that it began with",
        "      step stop on h[1-3], with.to: stopped → halted",
    ]
    assert stopped.world.of(H1)["server"] == "stopped"


def test_a_step_ahead_that_was_edited_is_told(stopped: Desk) -> None:
    """It has not begun, and the resume goes by its plan: said before anything is sent."""
    edit(stopped, "to: new", "to: newer")
    lines = told(stopped)
    assert lines[0] == "drift  ! runbook · ✔ inventory · ✔ step types · ✔ 9 facts of the hosts"
    assert lines[2] == "      step after on h[1-3], with.to: new → newer"


def test_a_comment_is_no_other_step(stopped: Desk) -> None:
    """Every line moved, no step did."""
    edit(stopped, "drrun: 1", "# a comment\ndrrun: 1")
    assert told(stopped)[1:] == ["  ~ runbook: it was edited; its steps are the same"]


def test_a_runbook_that_cannot_be_compared_is_told(stopped: Desk) -> None:
    """Broken or gone: the run has its plan, and goes on."""
    edit(stopped, "uses: world.fail", "uses: world.fails")
    assert "was edited, and cannot be compared" in told(stopped)[1]
    (stopped.folder / "long.yaml").unlink()
    assert "long.yaml cannot be read" in told(stopped)[1]


def test_a_host_whose_fact_moved_is_named(stopped: Desk) -> None:
    """What the run brought about comes first, then another identity, then what it only read."""
    stopped.world.of(H1)["server"] = "running"
    stopped.world.of(H2)["mode"] = "wild"
    stopped.world.of(H3)["cluster"] = "c2"
    assert told(stopped) == [
        "drift  ✔ runbook · ✔ inventory · ✔ step types · ! 9 facts of the hosts",
        "  ! h1: world.value(key_=server) was stopped when stop was done, and is running now",
        "  ! h3: world.value(key_=cluster): c1 → c2",
        "  ~ h2: world.value(key_=mode): calm → wild",
    ]


def test_a_host_that_cannot_be_asked_is_told(stopped: Desk) -> None:
    """The others are asked all the same; whether the run can do without it is the run's to say."""
    stopped.world.of(H3)["server"] = "running"
    stopped.world.down.add(H1)
    app = stopped.make(Answers())
    lines = drift_lines(drift_of(app, app.store.find(None)))
    assert lines[1:] == [
        "  ! h1 cannot be asked: h1 cannot be reached",
        "  ! h3: world.value(key_=server) was stopped when stop was done, and is running now",
    ]


def test_what_a_later_change_touched_is_judged_by_that_change(desk: Desk) -> None:
    """Stopped, then started again by the run itself: running is no drift."""
    edit(
        desk,
        "  - id: fail\n",
        "  - id: start\n    hosts: members\n    uses: world.set\n"
        "    with: {key: server, to: running}\n  - id: fail\n",
        "failing.yaml",
    )
    assert desk("failing.yaml", "-q").code == 1
    assert told(desk)[0].startswith("drift  none")
    desk.world.of(H2)["server"] = "stopped"
    assert told(desk)[1] == (
        "  ! h2: world.value(key_=server) was running when start was done, and is stopped now"
    )


def test_another_inventory_is_told(stopped: Desk) -> None:
    """A run goes by its plan: that a host is elsewhere now must be said. Vars are named alone."""
    edit(
        stopped,
        "h[1-3]:",
        "h[1-2]:\n  h3: {address: elsewhere, vars: {password: hunter2}}",
        "inventory.yaml",
    )
    lines = told(stopped)
    assert "  ! inventory: address of h3 changed: h3 → elsewhere; the run goes by its plan" in lines
    assert "  ! inventory: vars.password of h3 was added; the run goes by its plan" in lines
    assert "hunter2" not in "\n".join(lines)


def test_drift_for_programs(stopped: Desk) -> None:
    """--output json: one record after the version, before the run's events."""
    stopped.world.of(H1)["server"] = "running"
    records = [json.loads(x) for x in stopped("resume", "--output", "json").out.splitlines()]
    assert [record["type"] for record in records[:3]] == ["version", "drift", "run.attached"]
    assert records[1]["hosts"] == [
        {
            "host": "h1",
            "fact": "world.value(key_=server)",
            "was": "stopped",
            "now": "running",
            "why": "",
            "set_by": "stop",
        }
    ]


OTHER_WORLD = """
from drrun.testing import steps as old

class Set(old.Set):
    '''Set a key, after a look at another one.'''

    def run(self, host):
        '''Ask one thing more than it did.'''
        host.read(old.Value("extra"))
        return super().run(host)

STEPS = (Set, *(step for step in old.STEPS if step is not old.Set))
FACTS = old.FACTS
"""


def test_a_step_type_that_is_another_one_is_told(
    stopped: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plugin that was upgraded in the middle of a run: the finished steps that it would do otherwise."""
    (tmp_path / "other_world.py").write_text(OTHER_WORLD)
    monkeypatch.syspath_prepend(str(tmp_path))
    app = App(
        prompt=Answers(),
        registry=Registry([EntryPoint("world", "other_world", GROUP)]),
        store=FolderStore(stopped.folder / "state"),
        transport=WorldTransport(stopped.world),
    )
    found = drift_of(app, app.store.find(None))
    assert found.code == ("the step type of stop asks something else now than when it ran",)


def test_looking_for_drift_changes_nothing(stopped: Desk) -> None:
    """No effect on a host, no record in the journal, no lock."""
    app = stopped.make(Answers())
    journal = app.store.find(None).folder / "journal.jsonl"
    before = (journal.read_bytes(), dict(stopped.world.locks), stopped.world.touches)
    drift_of(app, app.store.find(None))
    assert (journal.read_bytes(), stopped.world.locks, stopped.world.touches) == before
    assert not stopped.world.effects


def test_a_narrowed_run_is_no_drift(desk: Desk) -> None:
    """Rules are proved on whole roles: a --limit of the run is none of the runbook's edits."""
    edit(desk, "hosts: members[1]\n    uses: world.fail", "hosts: members\n    uses: world.fail",
         "failing.yaml")  # fmt: skip
    assert desk("failing.yaml", "--limit", "h1", "-q").code == 1
    edit(desk, "drrun: 1", "# a comment\ndrrun: 1", "failing.yaml")
    assert told(desk)[1:] == ["  ~ runbook: it was edited; its steps are the same"]
