"""A dry-run reads and nothing else: traced on every host, from sshd down."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
from tests.lab.traced import left, touched, traced, written

from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Operator

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]


def test_a_dry_run_leaves_no_file_and_no_process(
    fresh: Lab, operator: Operator, tmp_path: Path
) -> None:
    """No descendant of its sshd opens a file for writing; no job or lock folder; nobody stays."""
    snapshot = tmp_path / "snapshot.db"
    hosts = [host.name for host in fresh.layout.members]
    etcdctl = f"{rehearsal.ETCDCTL} snapshot save /root/s.db >&2 && cat /root/s.db | base64"
    snapshot.write_bytes(base64.b64decode(rehearsal.each(fresh, etcdctl, ["cp1"])["cp1"]))
    words = ("restore-cluster.yaml", "-e", f"snapshot={snapshot}")
    refused = operator.drrun(*words, "--dry-run")
    loss = re.search(r"accept_loss=(\d+)", refused.stdout)
    assert loss, refused.stdout + refused.stderr
    before = rehearsal.processes(fresh)
    with traced(fresh, hosts, tmp_path) as traces:
        done = operator.drrun(*words, "-e", f"accept_loss={loss[1]}", "--dry-run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert touched(traces) == set(hosts)
    assert written(traces) == {}
    assert left(fresh, hosts) == dict.fromkeys(hosts, "")
    assert rehearsal.processes(fresh) == before
    assert operator.runs() == []
