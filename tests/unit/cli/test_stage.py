"""Staging: a run begins, rests at its safe point, and goes on or back when somebody says so."""

from __future__ import annotations

import pytest

from drrun.values import HostName

from .conftest import Desk

RUNBOOK = """\
drrun: 1
name: staged
title: Stage, then swap
objectives: {rto: 1ms}
roles:
  members: {min: 1}
steps:
  - id: stage
    hosts: members
    uses: world.set
    with: {key: spare, to: restored}
  - id: same
    hosts: members
    uses: world.agree
    with: {key: spare}
    safe_point: true
  - id: aside
    hosts: members
    uses: world.set
    with: {key: aside, to: made}
    needs: []
  - id: stop
    hosts: members
    uses: world.set
    with: {key: server, to: stopped}
  - id: wipe
    hosts: members
    uses: world.wipe
    with: {key: data, to: restored}
  - id: tidy
    hosts: members
    uses: world.set
    with: {key: tidied, to: "yes"}
    always: true
"""
HOSTS = [HostName(name) for name in ("h1", "h2", "h3")]


@pytest.fixture(name="desk")
def _desk(desk: Desk) -> Desk:
    """A desk with a runbook that has a safe point."""
    desk.write("staged.yaml", RUNBOOK)
    return desk


def test_staging_ends_at_the_safe_point(desk: Desk) -> None:
    """Exit 0 without a word about destroying; only what the safe point waits for was begun."""
    said = desk("staged.yaml", "--stage", "-q")
    assert said.code == 0, said
    assert {key for _, key, _ in desk.world.effects} == {"spare"}
    assert "✔ staged resting" in said.out
    assert "drrun resume" in said.out
    assert "the outage begins" in said.out
    assert not desk.world.locks


def test_going_on_needs_the_word_that_staging_did_not(desk: Desk) -> None:
    """A resume of a run that rests destroys: refused without --yes or --confirm, and done with it."""
    desk("staged.yaml", "--stage", "-q")
    refused = desk("resume", "-q")
    assert refused.code == 5
    assert "wipe destroys on h[1-3]" in refused.err
    assert {key for _, key, _ in desk.world.effects} == {"spare"}
    assert desk("resume", "--confirm", "test", "-q").code in {0, 7}
    assert [desk.world.of(host)["data"] for host in HOSTS] == ["restored"] * 3
    assert set(desk.world.effects.values()) == {1}


def test_a_run_that_rests_is_not_taken_over(desk: Desk) -> None:
    """Nobody holds it: taking it over would go on without a word."""
    run = next(w for w in desk("staged.yaml", "--stage", "-q").out.split() if w.startswith("r20"))
    assert desk("takeover", run).code == 2
    assert {key for _, key, _ in desk.world.effects} == {"spare"}


def test_staging_can_be_taken_back(desk: Desk) -> None:
    """Abort --undo removes what was staged: exit 8."""
    for host in HOSTS:
        desk.world.of(host)["spare"] = "none"
    run = next(w for w in desk("staged.yaml", "--stage", "-q").out.split() if w.startswith("r20"))
    assert desk("abort", run, "--undo", "-q").code == 8
    assert [desk.world.of(host)["spare"] for host in HOSTS] == ["none"] * 3


def test_a_staging_that_fails_fails(desk: Desk) -> None:
    """The safe point's own proof says no: the run is refused, and does not rest."""
    desk.write("staged.yaml", RUNBOOK.replace("{key: spare}\n    safe", "{key: odd}\n    safe"))
    desk.world.of(HostName("h2"))["odd"] = "one"
    said = desk("staged.yaml", "--stage", "-q")
    assert said.code == 5
    assert "they must agree" in said.err


def test_nothing_to_stage_is_usage(desk: Desk) -> None:
    """A runbook without a safe point cannot be staged: exit 2, nothing begun."""
    assert desk("demo.yaml", "--stage").code == 2
    assert not desk.world.effects


def test_a_sealed_plan_is_staged_and_then_gone_on_with(desk: Desk) -> None:
    """The promise counts what was made, and what is still ahead."""
    assert desk("staged.yaml", "-n", "--out", "plan.drrun").code == 0
    said = desk("apply", "plan.drrun", "--stage", "-q")
    assert said.code == 0
    assert "3 of 15 changes as sealed, 12 not reached" in said.out
    assert desk("apply", "plan.drrun", "--stage").code == 5
    assert "15 of 15 changes as sealed" in desk("resume", "--yes", "-q").out
