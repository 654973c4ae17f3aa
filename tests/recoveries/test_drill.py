"""A backup is proved by using it, beside a cluster that does not notice."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Operator

from .conftest import Matrix

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]


@pytest.mark.parametrize("host", ["cp1", "sp1"])
def test_a_backup_is_restored_and_counted_beside_the_live_cluster(
    fresh: Lab, operator: Operator, matrix: Matrix, tmp_path: Path, host: str
) -> None:
    """A14: counts are those of the API; every process, port and folder is as it was before."""
    rehearsal.write_objects(fresh, "before", 40)
    path = tmp_path / "snapshot.db"
    saved = operator.drrun("etcd-backup.yaml", "-e", f"to={path}", "--yes", "--no-input")
    assert saved.returncode == 0, saved.stdout + saved.stderr
    look = "ss -Hltn | awk '{print $4}' | sort; ls -d /var/lib/drrun-*/* 2>/dev/null || :"
    before, members = rehearsal.processes(fresh), rehearsal.members(fresh)
    ports = rehearsal.each(fresh, look, [host])
    where = "a member" if host == "cp1" else "a spare"
    with matrix.cell(f"drill on {where}: restored, booted, counted", fresh) as remarks:
        remarks.append(drilled(operator, path, host))
        assert rehearsal.processes(fresh) == before
        assert rehearsal.each(fresh, look, [host]) == ports
        assert rehearsal.members(fresh)[0].cluster == members[0].cluster
        assert rehearsal.disagreement(rehearsal.members(fresh)) == ""


def drilled(operator: Operator, snapshot: Path, host: str) -> str:
    """Drill 40 objects or more on a host; the remark with its seconds."""
    done = operator.drrun(
        *("backup-drill.yaml", "-e", f"snapshot={snapshot}", "-e", f"role.drill={host}"),
        *("--yes", "--no-input"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = next(
        e.body["outputs"]
        for e in operator.journal(operator.newest())
        if "restore_seconds" in e.body.get("outputs", {})
    )
    assert found["resources"]["configmaps"] >= 20
    assert found["resources"]["secrets"] >= 20
    assert re.search(rf"{host}: restored in [\d.]+ s, booted in [\d.]+ s", done.stdout)
    seconds = f"restored in {found['restore_seconds']} s, booted in {found['boot_seconds']} s"
    return f"{seconds}, {sum(found['resources'].values())} objects"


def test_a_drill_of_too_few_objects_fails(fresh: Lab, operator: Operator, tmp_path: Path) -> None:
    """A backup of an empty cluster is sealed, restores and boots, and is not what is wanted."""
    path = tmp_path / "snapshot.db"
    operator.drrun("etcd-backup.yaml", "-e", f"to={path}", "--yes", "--no-input")
    done = operator.drrun(
        *("backup-drill.yaml", "-e", f"snapshot={path}", "-e", "role.drill=cp1"),
        *("-e", "least=100000", "--yes", "--no-input"),
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "100000 objects or more" in done.stdout + done.stderr
