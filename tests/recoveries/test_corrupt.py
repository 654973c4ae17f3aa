"""Members that hold different data: healthy by every probe, found by their hashes, rebuilt."""

from __future__ import annotations

from pathlib import Path

import pytest

from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Operator

from .conftest import Matrix
from .states import MEMBERS, QUIET, diverges, healthy, put, restore_each, saved

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]
GATE = """
drrun: 1
name: gate
title: Prove that the members hold the same data
roles: {etcd: {}}
steps:
  - {id: gate, hosts: etcd, uses: etcd.consistent, with: {within: 5s, writers: WRITERS}}
"""


def refused_by_the_gate(operator: Operator, folder: Path, *, writers: bool) -> None:
    """`etcd.consistent` refuses what `endpoint health` calls healthy, and says why.

    `writers`: whether API servers run, so that revisions move.
    """
    book = folder / "gate.yaml"
    book.write_text(GATE.replace("WRITERS", str(writers).lower()))
    done = operator.drrun(str(book), "--yes", "--no-input")
    assert done.returncode == 5, done.stdout + done.stderr
    assert "hashes differ" in done.stdout + done.stderr


def test_members_restored_from_different_snapshots_are_healthy_and_refused(
    fresh: Lab, operator: Operator, matrix: Matrix, tmp_path: Path
) -> None:
    """Health is not consistency: etcdctl calls all three healthy, etcd.consistent refuses them."""
    rehearsal.each(fresh, QUIET, MEMBERS)
    snapshots = {}
    for host in MEMBERS:
        put(fresh, f"/only/{host}")
        snapshots[host] = saved(fresh, host)
    with matrix.cell("three members, three snapshots: healthy, and refused", fresh) as remarks:
        restore_each(fresh, snapshots)
        put(fresh, "/written/since")
        assert healthy(fresh)
        refused_by_the_gate(operator, tmp_path, writers=False)
        remarks.append("`endpoint health` says healthy three times")
    refused = operator.drrun(
        "etcd-corrupt-member.yaml", "-e", "role.bad=cp2", "--yes", "--no-input"
    )
    assert refused.returncode == 5, refused.stdout + refused.stderr
    assert "no majority of the 3 members agrees" in refused.stdout + refused.stderr


def test_the_member_that_differs_is_found_and_rebuilt(
    fresh: Lab, operator: Operator, matrix: Matrix
) -> None:
    """cp2 holds other data: another name is refused, cp2 is rebuilt, all three agree, objects live."""
    objects = rehearsal.write_objects(fresh, "before", 10)
    diverges(fresh, "cp2")
    assert healthy(fresh)
    words = ("etcd-corrupt-member.yaml", "--yes", "--no-input", "-e")
    with matrix.cell("a diverged member is found and rebuilt", fresh) as remarks:
        refused = operator.drrun(*words, "role.bad=cp3")
        assert refused.returncode == 5, refused.stdout + refused.stderr
        assert "cp2 differs from the majority" in refused.stdout + refused.stderr
        done = operator.drrun(*words, "role.bad=cp2", timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        assert rehearsal.disagreement(rehearsal.members(fresh)) == ""
        assert rehearsal.read_objects(fresh) == objects
        only = fresh.ssh("cp2", f"{rehearsal.ETCDCTL} get /only/cp2 --keys-only").stdout
        assert only.strip() == ""
        remarks.append("the wrong host was refused by name")
    again = operator.drrun(*words, "role.bad=cp2")
    assert again.returncode == 5, again.stdout + again.stderr
    assert "all members hold the same data" in again.stdout + again.stderr
