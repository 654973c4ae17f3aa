"""By whom a sealed plan was approved, and when its runbook was rehearsed (hazard H2)."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from drrun.report.rehearsal import Rehearsal

from .conftest import Desk, Said

NOW = datetime(2026, 11, 24, 3, 0, tzinfo=UTC)


@pytest.fixture(name="desk")
def _desk(desk: Desk) -> Desk:
    """A plan that was sealed, keys of three people, and a file that knows two of them."""
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed: apt-get install openssh-client")
    signers = []
    for name in ("alice", "bob", "eve"):
        new = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(desk.folder / name)]
        subprocess.run(new, check=True)
        if name != "eve":
            signers.append(f"{name} {(desk.folder / f'{name}.pub').read_text()}")
    desk.write("signers", "".join(signers))
    assert desk("demo.yaml", "-n", "--out", "plan.drrun").code == 0
    return desk


def _approve(desk: Desk, key: str, name: str = "") -> Said:
    return desk("plan", "approve", "plan.drrun", "--key", key, "--name", name or key)


APPLY = ("apply", "plan.drrun", "--yes", "-q", "--signers", "signers", "--approvals")


def test_a_plan_that_two_people_signed_is_applied_and_says_by_whom(desk: Desk) -> None:
    """Who approved is in the journal and in the report; a second signature of one is none more."""
    assert "approved by alice" in _approve(desk, "alice").out
    assert _approve(desk, "alice").code == 0
    refused = desk(*APPLY, "2")
    assert refused.code == 5
    assert "approved by alice, and 2 must have" in refused.err
    assert not desk.world.effects
    assert _approve(desk, "bob").code == 0
    assert desk(*APPLY, "2").code == 0
    for kind in ("text", "md", "html"):
        assert "approved by" in desk("report", "--format", kind).out
    assert 'name="approved-by" value="bob"' in desk("report", "--format", "junit").out
    told = json.loads(desk("report", "--format", "json").out)
    assert told["approved"] == ["alice", "bob"]


def test_a_name_counts_only_with_a_key_that_is_granted_it(desk: Desk) -> None:
    """A stranger's key under bob's name, a stranger's own, and a line that somebody wrote."""
    assert _approve(desk, "eve", "bob").code == 0
    assert _approve(desk, "eve").code == 0
    refused = desk(*APPLY, "1")
    assert refused.code == 5
    assert "approved by nobody, and 1 must have" in refused.err
    assert refused.err.count("does not count: bob:") == 1
    assert refused.err.count("does not count: eve:") == 1
    assert not desk.world.effects


def test_a_signature_of_another_plan_or_another_day_is_none(desk: Desk) -> None:
    """Copied beside a plan that was sealed anew, and with another time written into it."""
    assert _approve(desk, "alice").code == 0
    path = desk.folder / "plan.drrun.approvals"
    line = json.loads(path.read_text())
    assert desk("demo.yaml", "-n", "--out", "plan.drrun").code == 0
    other = desk(*APPLY, "1")
    assert other.code == 5
    assert f"alice: of another plan, {line['digest'][:7]}" in other.err
    assert _approve(desk, "bob").code == 0
    bob = json.loads(path.read_text().splitlines()[-1])
    path.write_text(json.dumps({**bob, "at": "2030-01-01T00:00:00+00:00"}) + "\n")
    forged = desk(*APPLY, "1")
    assert forged.code == 5
    assert "does not count: bob:" in forged.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("apply", "plan.drrun", "--approvals", "1"), "--approvals goes with --signers"),
        (("apply", "plan.drrun", "--signers", "none"), "cannot read the signers"),
        (("plan", "approve", "plan.drrun", "--key", "none"), "not signed"),
        (("plan", "approve", "demo.yaml", "--key", "alice"), "is no sealed plan"),
        (("demo.yaml", "-n", "--rehearsed", "often"), "is not a duration"),
    ],
)
def test_what_does_not_fit_is_usage(desk: Desk, words: tuple[str, ...], said: str) -> None:
    """Exit 2, before a host is asked."""
    found = desk(*words)
    assert found.code == 2
    assert said in found.err


def test_a_file_of_approvals_that_is_damaged_is_told_by_line(desk: Desk) -> None:
    """Not passed over: what was in that line, nobody knows."""
    assert _approve(desk, "alice").code == 0
    path = desk.folder / "plan.drrun.approvals"
    path.write_text(path.read_text() + "approved by bob\n")
    found = desk(*APPLY, "1")
    assert found.code == 2
    assert "plan.drrun.approvals:2 is no approval" in found.err


def test_a_runbook_must_have_been_rehearsed_as_it_stands(desk: Desk) -> None:
    """Never, then done, then edited: a dry-run and a run that failed are no rehearsal."""
    never = desk("demo.yaml", "-n", "--rehearsed", "90d")
    assert never.code == 5
    assert "no run of it that was done is kept here" in never.err
    assert desk("demo.yaml", "--yes", "-q").code == 0
    assert desk("demo.yaml", "-n", "--rehearsed", "90d").code == 0
    assert desk("apply", "plan.drrun", "-n", "--rehearsed", "90d").code == 0
    book = desk.folder / "demo.yaml"
    book.write_text(book.read_text() + "# edited\n")
    edited = desk("demo.yaml", "--yes", "--rehearsed", "90d")
    assert edited.code == 5
    assert "it was edited since it was rehearsed" in edited.err


def test_how_long_ago_counts() -> None:
    """Within, past, and of another text."""
    found = Rehearsal(same=NOW - timedelta(days=40), any=NOW)
    assert found.refusal(90 * 86400, NOW) == ""
    assert (
        found.refusal(30 * 86400, NOW) == "it was last rehearsed 40 days ago, longer than 30 days"
    )
    assert "edited since" in replace(found, same=None).refusal(90 * 86400, NOW)


def test_the_file_is_beside_the_plan(desk: Desk) -> None:
    """It goes with the plan, and is added to, never written anew."""
    for name in ("alice", "bob"):
        assert _approve(desk, name).code == 0
    lines = (desk.folder / "plan.drrun.approvals").read_text().splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["alice", "bob"]
