"""A control-plane host that is off for good: restored without it, by a person's word only (H8)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Operator
from drrun_lab.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.long, pytest.mark.timeout(900)]

WORD = ("--fenced", "cp1=power", "--reason", "its machine was cut from power by this test")
# cp3 holds noise, which nobody can read either.
ACCEPT = ("-e", "accept_unreadable=cp1,cp3", "-e", "accept_unlisted=cp1")


def test_a_host_that_answers_is_never_taken_for_fenced(
    snapshot: Path, healthy: Lab, operator: Operator
) -> None:
    """The word is wrong: the host is up. Refused with 5, and no run is begun.

    Without its sshd it is still alive: a port that refuses is a kernel that runs.
    """
    inputs = ("restore-cluster.yaml", "-e", f"snapshot={snapshot}", "--no-input", "--yes")
    refused = operator.drrun(*inputs, *WORD, *ACCEPT)
    assert refused.returncode == 5, refused.stdout + refused.stderr
    assert "named fenced, and alive: cp1 (its port 22 accepts connections)" in refused.stderr
    healthy.ssh("cp1", "systemd-run --on-active=30 systemctl start ssh && systemctl stop ssh")
    refused = operator.drrun(*inputs, *WORD, *ACCEPT)
    assert refused.returncode == 5, refused.stdout + refused.stderr
    assert "its port 22 refuses connections" in refused.stderr
    assert operator.runs() == []
    until(lambda: healthy.ssh("cp1", "true").returncode == 0, timeout=90, awaiting="sshd of cp1")


@pytest.fixture(name="two_left")
def _two_left(fresh: Lab) -> Iterator[Lab]:
    """The first host of all is off, and the data of every host is destroyed."""
    rehearsal.destroy(fresh)
    fresh.power_cut("cp1")
    try:
        yield fresh
    finally:
        fresh.power_on("cp1")


def test_a_cluster_is_restored_without_the_host_that_is_off(
    snapshot: Path, two_left: Lab, operator: Operator
) -> None:
    """Unreachable: 4. Named, and its data unaccounted for: 5, with the next move. Accepted: done.

    The two that are left serve every object of the snapshot, and all-clear it is not.
    """
    inputs = ("restore-cluster.yaml", "-e", f"snapshot={snapshot}", "--no-input")
    silent = operator.drrun(*inputs, "--yes")
    assert (silent.returncode, operator.runs()) == (4, []), silent.stderr
    assert "cp1" in silent.stderr

    asked = operator.drrun(*inputs, "--dry-run", *WORD)
    assert asked.returncode == 5, asked.stdout + asked.stderr
    assert "accept_unreadable=cp3,cp1" in asked.stdout
    assert "the host is fenced" in asked.stdout

    done = operator.drrun(*inputs, "--yes", *WORD, *ACCEPT, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "done, but for cp1" in done.stdout
    assert "to be readmitted" in done.stdout
    assert len(rehearsal.read_objects(two_left)) == 10
    listed = two_left.ssh("cp2", f"{rehearsal.ETCDCTL} member list").stdout.splitlines()
    assert sorted(line.split(", ")[2] for line in listed) == ["cp2", "cp3"]
    journal = operator.journal(operator.newest())
    assert "cp1" not in {e.body["host"] for e in journal if e.type == "change.intended"}
    first = next(e for e in journal if e.body.get("unit", "").startswith("start-first-apiserver"))
    assert first.body["unit"] == "start-first-apiserver@cp2"
    _readmitted(two_left, operator, operator.newest())


def _readmitted(lab: Lab, operator: Operator, without: str) -> None:
    """The host is switched on, comes back with all that it had, and is brought back: H8 to its end."""
    away = operator.drrun("readmit", "cp1", "--yes", "--no-input")
    assert away.returncode == 4, away.stdout + away.stderr
    lab.power_on("cp1")
    until(lambda: lab.ssh("cp1", "true").returncode == 0, timeout=90, awaiting="sshd of cp1")
    done = operator.drrun("readmit", "cp1", "--yes", "--no-input", timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"cp1 was left out by {without}" in done.stdout + done.stderr
    members = rehearsal.members(lab)
    assert [member.host for member in members] == ["cp1", "cp2", "cp3"]
    assert rehearsal.disagreement(members) == ""
    assert len(rehearsal.read_objects(lab)) == 10
    services = f"systemctl is-active {' '.join(rehearsal.SERVICES)}; ls -d /var/lib/etcd.old-*"
    *states, kept = rehearsal.each(lab, services, ["cp1"])["cp1"].split()
    assert states == ["active"] * 4
    assert kept == f"/var/lib/etcd.old-{operator.newest()}"
    told = operator.drrun("report", without).stdout
    assert "but for" not in told
    assert f"cp1 was fenced and is back: readmitted by {operator.newest()}" in told
