"""Members that hold different data: healthy by every probe, found by their hashes, rebuilt."""

from __future__ import annotations

from pathlib import Path

import pytest

from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Operator
from drrun_lab.waiting import until

from .conftest import Matrix

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]
MEMBERS = ["cp1", "cp2", "cp3"]
GATE = """
drrun: 1
name: gate
title: Prove that the members hold the same data
roles: {etcd: {}}
steps:
  - {id: gate, hosts: etcd, uses: etcd.consistent, with: {within: 5s}}
"""
QUIET = "systemctl stop kube-apiserver kube-controller-manager kube-scheduler"


def restore_each(lab: Lab, snapshots: dict[str, str]) -> None:
    """By hand, as a hurried operator does: each host from a snapshot of its own, one token for all."""
    cluster = ",".join(f"{h.name}=https://{h.address}:2380" for h in lab.layout.members)
    rehearsal.each(lab, "systemctl stop etcd", MEMBERS)
    for host in lab.layout.members:
        content = lab.ssh("cp1", f"base64 {snapshots[host.name]}").stdout
        lab.ssh(host.name, "base64 -d >/root/restore.db", stdin=content)
        script = (
            "mv /var/lib/etcd /var/lib/etcd.before\n"
            "T=$(command -v etcdutl || command -v etcdctl); ETCDCTL_API=3 $T snapshot restore /root/restore.db "
            f"--name {host.name} --initial-cluster {cluster} --initial-cluster-token same "
            f"--initial-advertise-peer-urls https://{host.address}:2380 --data-dir /var/lib/etcd\n"
            "chown -R etcd:etcd /var/lib/etcd && chmod 700 /var/lib/etcd"
        )
        rehearsal.each(lab, f"set -e\n{script}", [host.name])
    rehearsal.each(lab, "systemctl start --no-block etcd", MEMBERS)
    until(lambda: healthy(lab), timeout=60, awaiting="all members to call themselves healthy")


def healthy(lab: Lab) -> bool:
    """What `etcdctl endpoint health --cluster` says of all of them."""
    told = lab.ssh("cp1", f"{rehearsal.ETCDCTL} endpoint health --cluster 2>&1")
    return told.returncode == 0 and told.stdout.count("is healthy") == 3


def saved(lab: Lab, name: str) -> str:
    """A snapshot on cp1, by hand, and its path."""
    path = f"/root/{name}.db"
    rehearsal.each(lab, f"rm -f {path}; {rehearsal.ETCDCTL} snapshot save {path}", ["cp1"])
    return path


def put(lab: Lab, key: str) -> None:
    """One key, written through cp1."""
    rehearsal.each(lab, f"{rehearsal.ETCDCTL} put {key} value", ["cp1"])


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
        book = tmp_path / "gate.yaml"
        book.write_text(GATE)
        done = operator.drrun(str(book), "--yes", "--no-input")
        assert done.returncode == 5, done.stdout + done.stderr
        assert "hashes differ" in done.stdout + done.stderr
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
    rehearsal.each(fresh, QUIET, MEMBERS)
    good = saved(fresh, "good")
    put(fresh, "/only/cp2")
    restore_each(fresh, {"cp1": good, "cp2": saved(fresh, "bad"), "cp3": good})
    rehearsal.each(
        fresh, "systemctl start kube-apiserver kube-controller-manager kube-scheduler", MEMBERS
    )
    fresh.wait_ready()
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
