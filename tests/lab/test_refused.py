"""What must be refused is refused before anything stops: every process on every host lives on."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from tests.lab.restoring import LOSS
from tests.unit.steps.recorded_answers import snapshot as recorded_snapshot

from drrun_lab import Lab, rehearsal
from drrun_lab.keys import SshKey
from drrun_lab.operator import Operator

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]


def _state(lab: Lab) -> dict[str, tuple[str, str]]:
    """Boot and processes of every host, and whatever drrun keeps there."""
    names = [host.name for host in lab.layout.members]
    folders = rehearsal.each(
        lab, "ls -d /var/lib/drrun/r* /var/lib/drrun/lock* /var/lib/etcd* 2>/dev/null || :", names
    )
    found = rehearsal.processes(lab)
    return {name: (found[name], folders[name]) for name in names}


def _restore(operator: Operator, snapshot: Path) -> subprocess.CompletedProcess[str]:
    words = ("restore-cluster.yaml", "-e", f"snapshot={snapshot}", "-e", "accept_loss=1000000")
    return operator.drrun(*words, "--yes", "--no-input")


# -- snapshots --------------------------------------------------------------------------------


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _other(path: Path) -> None:
    """Something whose trailer is right and whose content is no database."""
    content = b"this is not a database\n" * 1000
    content += bytes(-len(content) % 512)
    path.write_bytes(content + hashlib.sha256(content).digest())


@pytest.mark.parametrize("harm", [_flip, _truncate, _empty, _other])
def test_a_bad_snapshot_is_refused_before_any_stop(
    healthy: Lab, snapshot: Path, operator: Operator, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    """One flipped byte, half a file, nothing, something else: no host hears of it."""
    bad = tmp_path / "bad.db"
    shutil.copy(snapshot, bad)
    harm(bad)
    before = _state(healthy)
    refused = _restore(operator, bad)
    told = refused.stdout + refused.stderr
    assert refused.returncode == 5, told
    assert str(bad) in told
    assert "next" in told
    assert [(h, s[0]) for h, s in _state(healthy).items()] == [(h, s[0]) for h, s in before.items()]
    assert not [e for e in operator.journal(operator.newest()) if e.type == "change.intended"]


def test_another_clusters_snapshot_is_refused_before_any_stop(
    healthy: Lab, operator: Operator, tmp_path: Path
) -> None:
    """Sound and sealed, of a cluster that runs elsewhere: every host holds other data, and lacks a key."""
    foreign = tmp_path / "foreign.db"
    foreign.write_bytes(recorded_snapshot("kube"))
    before = _state(healthy)
    refused = _restore(operator, foreign)
    told = refused.stdout + refused.stderr
    assert refused.returncode == 5, told
    assert "is of another cluster than the snapshot" in told
    assert "accept_cluster=b0fb6dbd-6008-4f08-9a5f-049ba07dc6c3" in told
    assert [(h, s[0]) for h, s in _state(healthy).items()] == [(h, s[0]) for h, s in before.items()]
    assert not [e for e in operator.journal(operator.newest()) if e.type == "change.intended"]


FOURTH = "10.255.255.4"


def test_a_fourth_api_server_that_nobody_listed_is_refused_before_any_stop(
    healthy: Lab, snapshot: Path, operator: Operator
) -> None:
    """It announces itself in etcd, with a lease, as one on a host that is in no inventory does (H3).

    Accepted by name it is passed over, and says so; one that nobody renews refuses nothing.
    """
    etcdctl = rehearsal.ETCDCTL
    announce = (
        f"id=$({etcdctl} lease grant 600 | awk '{{print $2}}'); echo $id\n"
        f"{etcdctl} put --lease=$id /registry/masterleases/{FOURTH} x >&2"
    )
    lease = rehearsal.each(healthy, announce, ["cp1"])["cp1"].strip()
    before = _state(healthy)
    try:
        refused = _restore(operator, snapshot)
        told = refused.stdout + refused.stderr
        assert refused.returncode == 5, told
        assert f"{FOURTH} is announced as an API server" in told
        assert f"accept_servers={FOURTH}" in told
        assert [(h, s[0]) for h, s in _state(healthy).items()] == [
            (h, s[0]) for h, s in before.items()
        ]
        assert not [e for e in operator.journal(operator.newest()) if e.type == "change.intended"]
        words = ("-e", f"snapshot={snapshot}", "-e", LOSS, "--dry-run")
        accepted = operator.drrun("restore-cluster.yaml", *words, "-e", f"accept_servers={FOURTH}")
        assert accepted.returncode == 0, accepted.stdout + accepted.stderr
        assert "as accepted" in accepted.stdout + accepted.stderr
    finally:
        rehearsal.each(healthy, f"{etcdctl} lease revoke {lease}", ["cp1"])
    quiet = f"{etcdctl} put /registry/masterleases/{FOURTH} x"
    rehearsal.each(healthy, quiet, ["cp1"])
    try:
        unrenewed = operator.drrun("restore-cluster.yaml", *words)
        assert unrenewed.returncode == 0, unrenewed.stdout + unrenewed.stderr
        assert "nobody renews it" in unrenewed.stdout + unrenewed.stderr
    finally:
        rehearsal.each(healthy, f"{etcdctl} del /registry/masterleases/{FOURTH}", ["cp1"])


# -- reaching hosts ---------------------------------------------------------------------------


def _with(operator: Operator, folder: Path, **ssh: str) -> Operator:
    """An operator whose inventory says something else in `ssh`."""
    text = operator.inventory.read_text()
    for key, value in ssh.items():
        text = re.sub(rf"{key}: [^,}}]+", f"{key}: {value}", text, count=1)
    path = folder / "inventory.yaml"
    path.write_text(text)
    return Operator(path, operator.state)


def _unreachable(lab: Lab, operator: Operator, folder: Path) -> Operator:
    """Nobody has cp2's address: cutting cp2 off would cost a controller its lease and its life."""
    address = lab.layout.host("cp2").address
    nobody = str(lab.layout.subnet.broadcast_address - 1)
    path = folder / "inventory.yaml"
    path.write_text(operator.inventory.read_text().replace(f"{address}}}", f"{nobody}}}"))
    return Operator(path, operator.state)


def _refused_key(_lab: Lab, operator: Operator, folder: Path) -> Operator:
    stranger = folder / "stranger"
    stranger.write_bytes(SshKey.new().private)
    stranger.chmod(0o600)
    return _with(operator, folder, identity=str(stranger))


def _unknown_host_key(lab: Lab, operator: Operator, folder: Path) -> Operator:
    address = lab.layout.host("cp2").address
    lines = (lab.folder / "known_hosts").read_text().splitlines(keepends=True)
    known = folder / "known_hosts"
    known.write_text("".join(line for line in lines if not line.startswith(f"{address} ")))
    return _with(operator, folder, known_hosts=str(known))


def _changed_host_key(lab: Lab, operator: Operator, folder: Path) -> Operator:
    address = lab.layout.host("cp2").address
    lines = (lab.folder / "known_hosts").read_text().splitlines(keepends=True)
    another = f"{address} {SshKey.new().public}\n"
    known = folder / "known_hosts"
    known.write_text("".join(another if li.startswith(f"{address} ") else li for li in lines))
    return _with(operator, folder, known_hosts=str(known))


def _no_sudo(_lab: Lab, operator: Operator, folder: Path) -> Operator:
    return _with(operator, folder, user="nosudo")


class Obstacle(NamedTuple):
    """What is in the way, the host that must be named, and a word of the message."""

    put: Callable[[Lab, Operator, Path], Operator]
    host: str
    word: str


OBSTACLES = {
    "unreachable": Obstacle(_unreachable, "cp2", "cannot"),
    "refused-key": Obstacle(_refused_key, "cp1", "permission denied"),
    "unknown-host-key": Obstacle(_unknown_host_key, "cp2", "host key"),
    "changed-host-key": Obstacle(_changed_host_key, "cp2", "host key"),
    "no-sudo": Obstacle(_no_sudo, "cp1", "sudo"),
}


@pytest.mark.parametrize("obstacle", OBSTACLES.values(), ids=OBSTACLES)
def test_a_host_that_cannot_be_had_ends_with_4_and_nothing_changed(
    healthy: Lab, snapshot: Path, operator: Operator, tmp_path: Path, obstacle: Obstacle
) -> None:
    """The host and the next move are named; no host, not even one that answers, was touched."""
    before = _state(healthy)
    refused = _restore(obstacle.put(healthy, operator, tmp_path), snapshot)
    told = refused.stdout + refused.stderr
    assert refused.returncode == 4, told
    assert obstacle.host in told
    assert obstacle.word in told
    assert "next" in told
    assert _state(healthy) == before
    assert operator.runs() == []


# -- the verdict ------------------------------------------------------------------------------


def test_a_survivor_with_newer_data_is_refused_naming_the_gap(
    fresh: Lab, operator: Operator, tmp_path: Path
) -> None:
    """Quorum is gone, but one member has what the snapshot has not: a restore would lose it."""
    path = tmp_path / "snapshot.db"
    done = operator.drrun("etcd-backup.yaml", "-e", f"to={path}", "--yes", "--no-input")
    assert done.returncode == 0, done.stdout + done.stderr
    rehearsal.write_objects(fresh, "after", 30)
    rehearsal.each(fresh, "systemctl stop etcd; rm -rf /var/lib/etcd/member", ["cp1", "cp2"])
    pid = fresh.ssh("cp3", "systemctl show -p MainPID etcd").stdout
    words = ("restore-cluster.yaml", "-e", f"snapshot={path}")
    refused = operator.drrun(*words, "--yes", "--no-input")
    told = refused.stdout + refused.stderr
    assert refused.returncode == 5, told
    gap = re.search(r"accept_loss=(\d+)", told)
    assert gap, told
    assert 30 <= int(gap.group(1)) < 1000
    assert "cp3" in told
    assert fresh.ssh("cp3", "systemctl show -p MainPID etcd").stdout == pid
    assert not [e for e in operator.journal(operator.newest()) if e.type == "change.intended"]
