"""Members of static pods that are replaced, taken out, added and rebuilt, while a client writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Operator
from drrun_lab.prober import Prober
from drrun_lab.rehearsal import each
from drrun_lab.waiting import until

from .conftest import Matrix
from .states import MEMBERS, healthy, put, saved, urls
from .test_corrupt import refused_by_the_gate
from .test_everyone import words
from .test_lost_pods import RUINED
from .test_quorum import listed
from .test_static_pods import MANIFESTS

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1800)]

KNOWS = "sed -n 's/^ *- --etcd-servers=//p' /etc/kubernetes/manifests/kube-apiserver.yaml"
DOWN = (
    "systemctl stop kubelet; for n in etcd kube-apiserver kube-controller-manager kube-scheduler; do "
    'for c in $(crictl ps -q --name "^$n$"); do crictl stop --timeout 0 $c; done; done >/dev/null'
)


def servers(lab: Lab, *hosts: str) -> set[str]:
    """What the API servers of these hosts are told of, of all members without any; each in order of text."""
    told = each(lab, KNOWS, hosts or MEMBERS)
    return {",".join(sorted(text.strip().split(","))) for text in told.values()}


def _agree(lab: Lab, manifests: dict[str, str]) -> None:
    """Three members with the same data, every manifest at its place, nothing held."""
    assert listed(lab) == MEMBERS
    assert rehearsal.disagreement(rehearsal.members(lab)) == ""
    assert each(lab, MANIFESTS, MEMBERS) == manifests


def test_a_member_whose_disk_broke_is_replaced_by_itself(
    pods: Lab, operator: Operator, matrix: Matrix
) -> None:
    """A8: cp2's etcd crashes over and over; it is removed, and joins again as a member of a new id."""
    manifests = each(pods, MANIFESTS, MEMBERS)
    before = {m.host: m.member for m in rehearsal.members(pods)}
    each(pods, RUINED, ["cp2"])
    asked = ("etcd-member-replace.yaml", "-e", "role.failed=cp2", "-e", "role.new=cp2")
    with matrix.cell("replace a dead member, repaired, by itself", pods) as remarks:
        with Prober(pods) as prober:
            done = operator.drrun(*asked, "--yes", "--no-input", timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        _agree(pods, manifests)
        assert servers(pods) == {urls(pods, *MEMBERS)}
        after = {m.host: m.member for m in rehearsal.members(pods)}
        assert [host for host in MEMBERS if after[host] != before[host]] == ["cp2"]
        assert prober.lost() == []
        remarks.append(f"0 acknowledged writes lost, longest gap {prober.gap():.1f} s")


def test_three_become_one_and_three_again(pods: Lab, operator: Operator, matrix: Matrix) -> None:
    """A9: two members leave and join again one by one, and API servers follow; no write is lost."""
    manifests = each(pods, MANIFESTS, MEMBERS)
    with matrix.cell("shrink to one member, grow to three again", pods) as remarks:
        with Prober(pods) as prober:
            less = operator.drrun(
                *("etcd-shrink.yaml", "-e", "role.leaving=cp2 | cp3", "--yes", "--no-input"),
                timeout=900,
            )
            assert less.returncode == 0, less.stdout + less.stderr
            assert listed(pods) == ["cp1"]
            assert servers(pods) == {urls(pods, "cp1")}
            more = operator.drrun(
                *("etcd-grow.yaml", "-e", "role.etcd=cp1", "-e", "role.new=cp2 | cp3"),
                *("--yes", "--no-input"),
                timeout=900,
            )
            assert more.returncode == 0, more.stdout + more.stderr
        _agree(pods, manifests)
        assert servers(pods) == {urls(pods, *MEMBERS)}
        assert prober.lost() == []
        remarks.append(f"0 acknowledged writes lost, longest gap {prober.gap():.1f} s")


def _restored_by_hand(lab: Lab, snapshots: dict[str, str]) -> None:
    """As a hurried operator does: each host from a snapshot of its own, one token for all."""
    cluster = ",".join(f"{h.name}=https://{h.address}:2380" for h in lab.layout.members)
    each(lab, DOWN, MEMBERS)
    for host in lab.layout.members:
        content = lab.ssh("cp1", f"base64 {snapshots[host.name]}").stdout
        lab.ssh(host.name, "base64 -d >/root/restore.db", stdin=content)
        script = (
            "set -e; mv /var/lib/etcd/member /root/member.before; "
            "T=$(command -v etcdutl || command -v etcdctl)\n"
            "ETCDCTL_API=3 $T snapshot restore /root/restore.db "
            f"--name {host.name} --initial-cluster {cluster} --initial-cluster-token same "
            f"--initial-advertise-peer-urls https://{host.address}:2380 --data-dir /root/restored\n"
            "mv /root/restored/member /var/lib/etcd/"
        )
        each(lab, script, [host.name])
    each(lab, "systemctl start kubelet", MEMBERS)
    until(lambda: healthy(lab), timeout=240, awaiting="all members to call themselves healthy")


def test_the_member_that_differs_is_found_and_rebuilt(
    pods: Lab, operator: Operator, matrix: Matrix
) -> None:
    """cp2 holds other data: another name is refused, cp2 is rebuilt, all three agree, objects live."""
    manifests = each(pods, MANIFESTS, MEMBERS)
    objects = rehearsal.write_objects(pods, "before", 10)
    good = saved(pods, "good")
    put(pods, "/only/cp2")
    _restored_by_hand(pods, {**dict.fromkeys(MEMBERS, good), "cp2": saved(pods, "bad")})
    pods.wait_ready()
    asked = ("etcd-corrupt-member.yaml", "--yes", "--no-input", "-e")
    with matrix.cell("a diverged member is found and rebuilt", pods) as remarks:
        refused = operator.drrun(*asked, "role.bad=cp3")
        assert refused.returncode == 5, refused.stdout + refused.stderr
        assert "cp2 differs from the majority" in refused.stdout + refused.stderr
        done = operator.drrun(*asked, "role.bad=cp2", timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        _agree(pods, manifests)
        assert rehearsal.read_objects(pods) == objects
        only = pods.ssh("cp2", f"{rehearsal.ETCDCTL} get /only/cp2 --keys-only").stdout
        assert only.strip() == ""
        remarks.append("the wrong host was refused by name")


def test_members_restored_from_different_snapshots_are_healthy_and_refused(
    pods: Lab, operator: Operator, matrix: Matrix, tmp_path: Path
) -> None:
    """Health is not consistency: etcdctl calls all three pods healthy, etcd.consistent refuses them."""
    snapshots = {}
    for host in MEMBERS:
        put(pods, f"/only/{host}")
        snapshots[host] = saved(pods, host)
    with matrix.cell("three members, three snapshots: healthy, and refused", pods) as remarks:
        _restored_by_hand(pods, snapshots)
        refused_by_the_gate(operator, tmp_path, writers=True)
        assert healthy(pods)
        remarks.append("`endpoint health` says healthy three times")


PUPPET = """
cp /etc/kubernetes/manifests/kube-apiserver.yaml /root/
printf '[Service]\\nExecStart=/bin/sh -c "while :; do cp -u /root/kube-apiserver.yaml /etc/kubernetes/manifests/; \
sleep 1; done"\\n' >/etc/systemd/system/puppet.service
systemctl daemon-reload; systemctl start puppet
"""
"""Configuration management: a manifest that is gone is put back, every second."""


def test_who_puts_manifests_back_waits_until_all_is_clear(
    pods: Lab, operator: Operator, matrix: Matrix, tmp_path: Path
) -> None:
    """H9: paused by name before the first stop, resumed at all-clear."""
    path = tmp_path / "snapshot.db"
    manifests = each(pods, MANIFESTS, MEMBERS)
    before = rehearsal.write_objects(pods, "before", 10)
    done = operator.drrun("etcd-backup.yaml", "-e", f"to={path}", "--yes", "--no-input")
    assert done.returncode == 0, done.stdout + done.stderr
    rehearsal.write_objects(pods, "after", 10)
    each(pods, PUPPET, ["cp2"])
    with matrix.cell("writers paused by name, resumed at all-clear", pods) as remarks:
        asked = (*words(path), "-e", "writers=puppet", "--yes", "--no-input")
        done = operator.drrun(*asked, timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        assert rehearsal.read_objects(pods) == before
        _agree(pods, manifests)
        journal = operator.journal(operator.newest())
        units = [e.body["unit"] for e in journal if e.type == "change.intended"]
        first_stop = next(i for i, u in enumerate(units) if u.startswith("stop-"))
        assert units.index("pause") < first_stop
        assert units[-1] == "resume"
        assert pods.ssh("cp2", "systemctl is-active puppet").stdout.strip() == "active"
        remarks.append("one that puts the API server's manifest back every second")
