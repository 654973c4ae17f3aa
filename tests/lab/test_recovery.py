"""The whole recovery, as an operator does it: back up, lose everything, predict, restore, prove."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Happened, Operator
from drrun_lab.prober import Prober

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]


def test_everything_is_lost_and_everything_of_the_snapshot_comes_back(
    fresh: Lab, operator: Operator, tmp_path: Path
) -> None:
    """100 objects before, 50 after, all data destroyed: the 100 come back, none of the 50.

    The dry-run lists, in order, exactly the changes that the run then makes.
    """
    outage = lost_and_restored(fresh, operator, tmp_path)
    assert "MAINT" not in fresh.ssh("lb", BALANCED).stdout
    print(f"\noutage, clients sent away to first write: {outage:.1f} s (by hand: 17 s)")


def lost_and_restored(lab: Lab, operator: Operator, folder: Path) -> float:
    """Back up, lose everything, predict, restore, prove; the outage in seconds."""
    snapshot = folder / "snapshot.db"
    before = rehearsal.write_objects(lab, "before", 100)
    backed_up = operator.drrun("etcd-backup.yaml", "-e", f"to={snapshot}", "--yes", "--no-input")
    assert backed_up.returncode == 0, backed_up.stdout + backed_up.stderr
    rehearsal.write_objects(lab, "after", 50)
    old = rehearsal.members(lab)[0].cluster
    rehearsal.destroy(lab)

    inputs = ("restore-cluster.yaml", "-e", f"snapshot={snapshot}", "-e", "accept_unreadable=cp3")
    forecast = operator.drrun(*inputs, "--dry-run", "--output", "json")
    assert forecast.returncode == 0, forecast.stdout + forecast.stderr
    with Prober(lab) as prober, Prober(lab, lab.layout.host("cp1").address) as direct:
        restored = operator.drrun(*inputs, "--yes", "--no-input", timeout=600)
    assert restored.returncode == 0, restored.stdout + restored.stderr

    run = operator.newest()
    journal = operator.journal(run)
    assert made(journal, forecast.stdout) == predicted(forecast.stdout)
    assert rehearsal.read_objects(lab) == before
    members = rehearsal.members(lab)
    assert rehearsal.disagreement(members) == ""
    assert members[0].cluster != old
    assert [(k.owner, k.mode) for k in rehearsal.kept(lab, run)] == [("etcd:etcd", "700")] * 3
    quarantined(journal, prober)
    closed(journal, direct)
    return outage(journal, prober)


BALANCED = """perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new("/run/haproxy/admin.sock");
print $s "show stat\n"; $s->flush; print while <$s>'"""
"""Every server behind the load balancer, as it says of them itself."""


def quarantined(journal: list[Happened], prober: Prober) -> None:
    """An API server was up and was being proved, and no client got an answer before it was let in."""
    up = next(e.utc for e in journal if _ended(e, "start-first-apiserver"))
    let_in = next(e.utc for e in journal if _changes(e) and e.body["unit"].startswith("admit"))
    tried = [write for write in prober.writes if write.began > up and write.ended < let_in]
    assert tried, "nobody tried while an API server was up and clients were kept out"
    assert not [write for write in tried if write.taken]
    assert any(write.taken for write in prober.writes if write.began > let_in)


def closed(journal: list[Happened], direct: Prober) -> None:
    """Nor from the first API server itself, which a pod would ask: it was proved behind a closed port."""
    up = next(e.utc for e in journal if _ended(e, "first-ready"))
    let_in = next(e.utc for e in journal if _changes(e) and e.body["unit"].startswith("open"))
    tried = [write for write in direct.writes if write.began > up and write.ended < let_in]
    assert tried, "nobody tried while an API server was ready and its port was closed"
    assert not [write for write in tried if write.taken]
    assert any(write.taken for write in direct.writes if write.began > let_in)


def outage(journal: list[Happened], prober: Prober) -> float:
    """Seconds from when clients were sent away to the first write through the load balancer."""
    away = next(
        e.utc for e in journal if _changes(e) and e.body["unit"].startswith(("drain", "stop-"))
    )
    back = prober.back(away)
    assert back is not None
    return (back - away).total_seconds()


def _changes(event: Happened) -> bool:
    return event.type == "change.intended"


def _ended(event: Happened, step: str) -> bool:
    return event.type == "unit.finished" and event.body["unit"].startswith(f"{step}@")


def predicted(forecast: str, *, conditional: bool = False) -> list[tuple[str, str, str]]:
    """(step, host, change) of a dry-run, in its order: those that are promised, or those that are not."""
    return [
        (unit["step"], change["host"], change["name"])
        for unit in json.loads(forecast)["units"]
        for change in unit["changes"]
        if bool(change.get("conditional")) is conditional
    ]


def made(journal: list[Happened], forecast: str) -> list[tuple[str, str, str]]:
    """(step, host, change) of a run, steps in the runbook's order and hosts in the inventory's.

    Hosts act at the same time, so that only the order within a unit is the run's own.
    """
    units = [unit["unit"] for unit in json.loads(forecast)["units"]]
    steps = {unit["unit"]: unit["step"] for unit in json.loads(forecast)["units"]}
    intended = [e.body for e in journal if _changes(e)]
    intended.sort(key=lambda body: units.index(body["unit"]))
    return [(steps[body["unit"]], body["host"], body["name"]) for body in intended]
