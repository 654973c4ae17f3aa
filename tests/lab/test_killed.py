"""drrun is killed in the middle of a restore; `drrun resume` ends it as if nothing had been."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Operator

from . import restoring
from .restoring import Screen

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]
PLACES = [
    pytest.param("stop-apiservers@", "stop", id="while-stopping", marks=pytest.mark.long),
    pytest.param("stage@cp2", "restore", id="while-restoring"),
    pytest.param("start-etcd@", "start", id="while-starting", marks=pytest.mark.long),
]


@pytest.mark.parametrize(("unit", "change"), PLACES)
def test_a_killed_restore_is_resumed(
    fresh: Lab, operator: Operator, tmp_path: Path, unit: str, change: str
) -> None:
    """Same end state, and nothing done twice: counted in job folders and journals of the hosts."""
    snapshot = tmp_path / "snapshot.db"
    before = rehearsal.write_objects(fresh, "before", 20)
    done = operator.drrun("etcd-backup.yaml", "-e", f"to={snapshot}", "--yes", "--no-input")
    assert done.returncode == 0, done.stdout + done.stderr
    rehearsal.write_objects(fresh, "after", 10)
    since = rehearsal.each(fresh, "date +%s", ["cp1"])["cp1"].strip()

    run = _kill_at(operator, restoring.words(snapshot), unit, change)
    resumed = operator.drrun("resume", run, "--no-input", timeout=600)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr

    restoring.restored(fresh, run, before)
    journal = operator.journal(run)
    restoring.once(fresh, run, journal)
    restoring.cycled(fresh, since)
    assert [e.type for e in journal].count("run.attached") == 2


def test_another_snapshot_on_one_host_is_refused(
    fresh: Lab, operator: Operator, tmp_path: Path
) -> None:
    """Somebody stages another snapshot on cp2 while drrun is down: nothing stops on any host."""
    first, second = tmp_path / "first.db", tmp_path / "second.db"
    for path in (first, second):
        rehearsal.write_objects(fresh, path.stem, 10)
        done = operator.drrun("etcd-backup.yaml", "-e", f"to={path}", "--yes", "--no-input")
        assert done.returncode == 0, done.stdout + done.stderr
    words = restoring.words(first, f"accept_loss={_loss(operator, first)}")
    run = _kill_at(operator, words, "stage@cp3", "restore")
    other = hashlib.sha256(second.read_bytes()).hexdigest()
    seal = f"/var/lib/drrun-stage/{run}/seal"
    rehearsal.each(fresh, f"sed -i 's/^sha256=.*/sha256={other}/' {seal}", ["cp2"])
    inode = fresh.ssh("cp2", "stat -c %i /var/lib/etcd").stdout
    resumed = operator.drrun("resume", run, "--no-input", timeout=600)
    told = resumed.stdout + resumed.stderr
    assert resumed.returncode == 5, told
    assert "same snapshot" in told
    assert "cp2" in told
    assert fresh.ssh("cp2", "stat -c %i /var/lib/etcd").stdout == inode
    intended = [e.body["unit"] for e in operator.journal(run) if e.type == "change.intended"]
    assert {unit.split("@")[0] for unit in intended} == {"stage"}


def _loss(operator: Operator, snapshot: Path) -> str:
    """What the verdict measured: an operator copies it from the refusal."""
    asked = operator.drrun("restore-cluster.yaml", "-e", f"snapshot={snapshot}", "--dry-run")
    assert asked.returncode == 5, asked.stdout + asked.stderr
    found = re.search(r"accept_loss=(\d+)", asked.stdout)
    assert found, asked.stdout
    return found.group(1)


def _kill_at(operator: Operator, words: tuple[str, ...], unit: str, change: str) -> str:
    """Start a restore and kill it as soon as it announces that change. Returns the run."""
    step, _, host = unit.partition("@")
    screen = Screen.of(operator, *words)
    try:
        return restoring.run_of(screen.until_sent(step, change, host))
    finally:
        screen.kill()
