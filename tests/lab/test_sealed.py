"""A sealed plan on real hosts: it survives what merely moves, refuses what counts, is applied once."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from drrun_lab import Lab, rehearsal
from drrun_lab.keys import SshKey
from drrun_lab.operator import Operator

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

RESTORE = "restore-cluster.yaml"


@contextmanager
def another_host_key(lab: Lab, host: str, known_hosts: Path) -> Iterator[None]:
    """The host shows another key, and the operator was told so: as after a reinstallation."""
    folder = lab.machine(host).root / "etc" / "ssh"
    private, public = folder / "ssh_host_ed25519_key", folder / "ssh_host_ed25519_key.pub"
    old, told, key = (
        (private.read_bytes(), public.read_bytes()),
        known_hosts.read_text(),
        SshKey.new(),
    )
    address = lab.layout.host(host).address
    try:
        # In place, so that mode and owner stay; sshd reads it anew for every connection.
        private.write_bytes(key.private)
        public.write_text(f"{key.public}\n")
        lines = [line for line in told.splitlines() if not line.startswith(f"{address} ")]
        known_hosts.write_text("\n".join([*lines, f"{address} {key.public}", ""]))
        yield
    finally:
        private.write_bytes(old[0])
        public.write_bytes(old[1])
        known_hosts.write_text(told)


def own_known_hosts(lab: Lab, operator: Operator, folder: Path) -> tuple[Operator, Path]:
    """An operator with a known_hosts of his own, which a test may edit."""
    known = folder / "known_hosts"
    known.write_text((lab.folder / "known_hosts").read_text())
    inventory = folder / "inventory.yaml"
    text = re.sub(r"known_hosts: [^,}]+", f"known_hosts: {known}", operator.inventory.read_text())
    inventory.write_text(text)
    return Operator(inventory, operator.state), known


def folders(lab: Lab) -> dict[str, str]:
    """What drrun keeps on every host, and whether an API server runs: one that runs is a witness."""
    script = (
        "ls -d /var/lib/drrun/r* /var/lib/drrun-stage/* /var/lib/etcd* 2>/dev/null; "
        "systemctl show -p MainPID kube-apiserver"
    )
    return rehearsal.each(lab, script, [host.name for host in lab.layout.members])


def accepted_loss(operator: Operator, snapshot: Path) -> str:
    """The loss that the verdict measures, as one accepts it."""
    refused = operator.drrun(RESTORE, "-e", f"snapshot={snapshot}", "--dry-run")
    found = re.search(r"accept_loss=\d+", refused.stdout)
    assert found, refused.stdout + refused.stderr
    return found[0]


def test_a_plan_survives_a_cluster_that_writes_on(
    healthy: Lab, snapshot: Path, operator: Operator, tmp_path: Path
) -> None:
    """Revisions rise, another member leads: the plan holds, says so, and nothing was changed."""
    plan = str(tmp_path / "plan.drrun")
    loss = accepted_loss(operator, snapshot)
    words = (RESTORE, "-e", f"snapshot={snapshot}", "-e", loss)
    sealed = operator.drrun(*words, "--dry-run", "--out", plan)
    assert sealed.returncode == 0, sealed.stdout + sealed.stderr
    rehearsal.write_objects(healthy, "moved", 20)
    move_leader(healthy)
    compared = operator.drrun("apply", plan, "--dry-run")
    print(f"\n{compared.stdout[:2500]}")
    assert compared.returncode == 0, compared.stdout + compared.stderr
    moved = compared.stdout
    assert re.search(r"~ etcd\.status\(service=etcd\) of cp1: .*revision: \d+ → \d+", moved), moved
    assert re.search(r"leads: (true|false) → (true|false)", moved), moved
    assert operator.runs() == []


def test_staging_proves_the_restore_beside_a_cluster_that_runs(
    healthy: Lab, snapshot: Path, operator: Operator
) -> None:
    """Restored on every host, checked, and no process was touched; taken back, nothing is left."""
    processes, kept = rehearsal.processes(healthy), folders(healthy)
    words = (RESTORE, "-e", f"snapshot={snapshot}", "-e", accepted_loss(operator, snapshot))
    staged = operator.drrun(*words, "--stage", "--no-input")
    assert staged.returncode == 0, staged.stdout + staged.stderr
    assert "resting" in staged.stdout
    run = operator.newest()
    beside = f"ls -d /var/lib/etcd.drrun-{run}/member/snap/db"
    found = rehearsal.each(healthy, beside, [host.name for host in healthy.layout.members])
    assert len(found) == 3
    assert rehearsal.processes(healthy) == processes
    refused = operator.drrun("resume", run, "--no-input")
    assert refused.returncode == 5
    assert "install destroys" in refused.stderr
    undone = operator.drrun("abort", run, "--undo", "--no-input")
    assert undone.returncode == 8, undone.stdout + undone.stderr
    assert rehearsal.processes(healthy) == processes
    left = {
        host: text.replace(f"/var/lib/drrun/{run}\n", "") for host, text in folders(healthy).items()
    }
    assert left == kept


def move_leader(lab: Lab) -> None:
    """Make another member lead."""
    script = f"{rehearsal.ETCDCTL} endpoint status -w json"
    names = [host.name for host in lab.layout.members]
    said = {
        name: json.loads(text)[0]["Status"]
        for name, text in rehearsal.each(lab, script, names).items()
    }
    leader = next(n for n, s in said.items() if s["leader"] == s["header"]["member_id"])
    other = next(s["header"]["member_id"] for n, s in said.items() if n != leader)
    rehearsal.each(lab, f"{rehearsal.ETCDCTL} move-leader {other:x}", [leader])


def test_a_sealed_restore_is_applied_for_real_and_once(
    fresh: Lab, operator: Operator, tmp_path: Path
) -> None:
    """Everything is lost; refused while the snapshot or a host key is another; applied for real, once.

    Refusing changes no host. Put back, the plan is applied, change for change as sealed, and what the
    snapshot held is there again. A second time it is refused.
    """
    plan, snapshot = str(tmp_path / "plan.drrun"), tmp_path / "snapshot.db"
    before = rehearsal.write_objects(fresh, "before", 20)
    done = operator.drrun("etcd-backup.yaml", "-e", f"to={snapshot}", "--yes", "--no-input")
    assert done.returncode == 0, done.stdout + done.stderr
    rehearsal.write_objects(fresh, "after", 10)
    rehearsal.destroy(fresh)
    operator, known_hosts = own_known_hosts(fresh, operator, tmp_path)
    words = (RESTORE, "-e", f"snapshot={snapshot}", "-e", "accept_unreadable=cp3")
    sealed = operator.drrun(*words, "--dry-run", "--out", plan)
    assert sealed.returncode == 0, sealed.stdout + sealed.stderr
    runs, kept = operator.runs(), folders(fresh)
    apply = ("apply", plan, "--yes", "--no-input")

    content = snapshot.read_bytes()
    snapshot.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    refused = operator.drrun(*apply)
    assert refused.returncode == 5, refused.stdout + refused.stderr
    assert f"the file of the input snapshot changed: {snapshot}" in refused.stderr
    snapshot.write_bytes(content)

    with another_host_key(fresh, "cp2", known_hosts):
        refused = operator.drrun(*apply)
    assert refused.returncode == 5, refused.stdout + refused.stderr
    assert "the host key of cp2 changed" in refused.stderr

    assert operator.runs() == runs
    assert folders(fresh) == kept
    applied = operator.drrun(*apply, timeout=600)
    print(f"\n{applied.stderr.partition(chr(10) + '20')[0]}\n{applied.stdout}")
    assert applied.returncode == 0, applied.stdout + applied.stderr
    as_sealed = re.search(r"sealed plan \w+: (\d+) of (\d+) changes as sealed", applied.stdout)
    assert as_sealed, applied.stdout
    assert as_sealed[1] == as_sealed[2]
    assert int(as_sealed[1]) > 20
    assert rehearsal.read_objects(fresh) == before
    assert rehearsal.disagreement(rehearsal.members(fresh)) == ""

    again = operator.drrun(*apply)
    assert again.returncode == 5
    assert "was applied already" in again.stderr
