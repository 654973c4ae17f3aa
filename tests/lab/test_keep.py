"""A rolling restart beside a member that is down: `keep` stops it before the quorum is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Operator
from drrun_lab.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

ROLLING = """\
drrun: 1
name: rolling
title: Restart etcd host by host
roles:
  etcd: {min: 3, odd: true, whole: true}
steps:
  - id: restart
    hosts: etcd
    order: serial
    uses: service.restart
    with: {service: etcd}
    keep: {role: etcd, fact: etcd.healthy, at_least: quorum, within: 10s}
    ensures:
      - {fact: etcd.healthy, is: true, within: 60s}
"""
HEALTH = f"{rehearsal.ETCDCTL} get drrun/health >/dev/null 2>&1"


def lives(lab: Lab) -> dict[str, str]:
    """The present life of each member of etcd."""
    ask = "systemctl show --value -p InvocationID -p ActiveState etcd"
    return rehearsal.each(lab, ask, ["cp1", "cp2", "cp3"])


def test_keep_stops_a_rolling_restart_before_the_quorum_is_lost(
    fresh: Lab, operator: Operator, tmp_path: Path
) -> None:
    """With cp3 down: refused by dry-run and run, nobody restarted. With cp3 back: each had its turn."""
    (tmp_path / "rolling.yaml").write_text(ROLLING)
    words = (str(tmp_path / "rolling.yaml"), "--yes", "--no-input")
    rehearsal.each(fresh, "systemctl kill -s KILL etcd; systemctl stop etcd", ["cp3"])
    healthy = "cp1 and cp2 to have elected a leader without cp3"
    until(lambda: fresh.ssh("cp1", HEALTH).returncode == 0, timeout=30, awaiting=healthy)
    before = lives(fresh)
    for more in (("--dry-run",), ()):
        refused = operator.drrun(*words, *more)
        told = refused.stdout + refused.stderr
        assert refused.returncode == 5, told
        assert "while cp1 has its turn 1 would be healthy: 2 of 3 are healthy" in told
        assert "not healthy: cp3" in told
    assert lives(fresh) == before
    assert fresh.ssh("cp1", HEALTH).returncode == 0

    rehearsal.each(fresh, "systemctl start etcd", ["cp3"])
    done = operator.drrun(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    after = lives(fresh)
    assert all(after[host] != before[host] for host in before)
    assert rehearsal.disagreement(rehearsal.members(fresh)) == ""
