"""drrun is killed in the middle of a restore; `drrun resume` ends it as if nothing had been."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Happened, Operator

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]
PLACES = [
    pytest.param("stop-apiservers@", "stop", id="while-stopping"),
    pytest.param("stage@cp2", "restore", id="while-restoring"),
    pytest.param("start-etcd@", "start", id="while-starting"),
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
    loss = _loss(operator, snapshot)
    since = rehearsal.each(fresh, "date +%s", ["cp1"])["cp1"].strip()

    run = _kill_at(operator, snapshot, loss, unit, change)
    resumed = operator.drrun("resume", run, "--no-input", timeout=600)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr

    assert rehearsal.read_objects(fresh) == before
    assert rehearsal.disagreement(rehearsal.members(fresh)) == ""
    assert len(rehearsal.kept(fresh, run)) == 3
    journal = operator.journal(run)
    _nothing_ran_twice(fresh, run, journal)
    _services_went_down_and_up_once(fresh, since)
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
    run = _kill_at(operator, first, _loss(operator, first), "stage@cp3", "restore")
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


def _kill_at(operator: Operator, snapshot: Path, loss: str, unit: str, change: str) -> str:
    """Start a restore and kill it as soon as the journal announces that change. Returns the run."""
    words = ("restore-cluster.yaml", "-e", f"snapshot={snapshot}", "-e", f"accept_loss={loss}")
    process = operator.begin(*words, "--yes", "--no-input", "--output", "json")
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        record = json.loads(line)
        seen.append(line)
        body = record.get("body", {})
        at_unit = body.get("unit", "").startswith(unit)
        if record["type"] == "change.intended" and at_unit and body["name"] == change:
            process.kill()
            process.wait()
            process.stdout.close()
            return str(record["run"])
    process.wait()
    pytest.fail(f"the restore ended before {unit} {change}:\n{''.join(seen[-5:])}")


def _nothing_ran_twice(lab: Lab, run: str, journal: list[Happened]) -> None:
    """One finish a unit; one token a change; every token claimed on exactly one host, once."""
    finished = Counter(e.body["unit"] for e in journal if e.type == "unit.finished")
    assert set(finished.values()) == {1}, finished
    tokens: dict[tuple[str, str, str], set[str]] = {}
    for event in journal:
        if event.type == "change.intended":
            key = (event.body["unit"], event.body["host"], event.body["name"])
            tokens.setdefault(key, set()).add(event.body["token"])
    assert {key: found for key, found in tokens.items() if len(found) > 1} == {}
    hosts = [host.name for host in lab.layout.members]
    claims = rehearsal.each(lab, f"cd /var/lib/drrun/{run} && ls -d c-*", hosts)
    for host in hosts:
        wanted = {token for key, found in tokens.items() if key[1] == host for token in found}
        assert set(claims[host].split()) == wanted


def _services_went_down_and_up_once(lab: Lab, since: str) -> None:
    """The journal of systemd itself: each service was stopped once and started once, on every host."""
    for service in rehearsal.SERVICES:
        script = f"journalctl -q --no-pager -o cat _PID=1 -u {service} --since=@{since}"
        for host, told in rehearsal.each(lab, script, ["cp1", "cp2", "cp3"]).items():
            counts = (told.count(f"Stopping {service}"), told.count(f"Starting {service}"))
            started = counts[1] or told.count(f"Started {service}")
            assert (counts[0], started) == (1, 1), f"{host} {service}:\n{told}"
