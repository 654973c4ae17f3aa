"""One member is restored, the others join it."""

from __future__ import annotations

from pathlib import Path

import pytest

from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Operator

from .conftest import Matrix

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]


def test_one_member_is_restored_and_the_others_join_it(
    fresh: Lab, operator: Operator, matrix: Matrix, tmp_path: Path
) -> None:
    """Everything destroyed: the snapshot's objects are back on three members that agree."""
    before = rehearsal.write_objects(fresh, "before", 20)
    old = rehearsal.members(fresh)[0].cluster
    path = tmp_path / "snapshot.db"
    saved = operator.drrun("etcd-backup.yaml", "-e", f"to={path}", "--yes", "--no-input")
    assert saved.returncode == 0, saved.stdout + saved.stderr
    rehearsal.write_objects(fresh, "after", 10)
    rehearsal.destroy(fresh)
    with matrix.cell("restore one member, the others join", fresh) as remarks:
        done = operator.drrun(
            *("restore-cluster-seed.yaml", "-e", f"snapshot={path}", "-e", "role.seed=cp1"),
            *("-e", "accept_unreadable=cp3", "--yes", "--no-input"),
            timeout=600,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert rehearsal.read_objects(fresh) == before
        members = rehearsal.members(fresh)
        assert rehearsal.disagreement(members) == ""
        assert members[0].cluster != old
        remarks.append(f"{len(before)} objects of the snapshot, none of later")
