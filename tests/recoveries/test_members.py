"""Members that are replaced, added and taken out, while a client goes on writing."""

from __future__ import annotations

import json

import pytest

from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Operator
from drrun_lab.prober import Prober

from .conftest import Matrix
from .states import MEMBERS, dies, dies_with_its_data, urls

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]


def listed(lab: Lab, host: str) -> dict[str, bool]:
    """The members by name as one of them tells: whether each is a learner."""
    told = lab.ssh(host, f"{rehearsal.ETCDCTL} member list -w json")
    members = json.loads(told.stdout)["members"]
    return {member.get("name", ""): member.get("isLearner", False) for member in members}


def servers(lab: Lab, *hosts: str) -> set[str]:
    """What the API servers of these hosts are told of, of all members without any; each in order of text."""
    script = "systemctl show -p ExecStart --value kube-apiserver | grep -o 'etcd-servers=[^ ]*'"
    told = rehearsal.each(lab, script, hosts or MEMBERS)
    return {",".join(sorted(text.strip().partition("=")[2].split(","))) for text in told.values()}


def test_a_dead_member_is_replaced_by_another_host(
    fresh: Lab, operator: Operator, matrix: Matrix
) -> None:
    """A8: cp2's etcd killed and wiped, sp1 takes its place, no acknowledged write is lost."""
    dies_with_its_data(fresh, "cp2")
    with matrix.cell("replace a dead member by another host", fresh) as remarks:
        with Prober(fresh) as prober:
            done = operator.drrun(
                *("etcd-member-replace.yaml", "-e", "role.failed=cp2", "-e", "role.new=sp1"),
                *("--yes", "--no-input"),
                timeout=600,
            )
        assert done.returncode == 0, done.stdout + done.stderr
        assert listed(fresh, "cp1") == {"cp1": False, "cp3": False, "sp1": False}
        assert servers(fresh) == {urls(fresh, "cp1", "cp3", "sp1")}
        assert prober.lost() == []
        taken = sum(write.taken for write in prober.writes)
        remarks.append(f"{taken} writes acknowledged, 0 lost, longest gap {prober.gap():.1f} s")
    # A removed member that is started again by hand does not come back into the cluster.
    fresh.ssh("cp2", "rm -f /etc/systemd/system/etcd.service.d/00-drrun-hold.conf")
    fresh.ssh("cp2", "systemctl daemon-reload; timeout 10 systemctl start etcd")
    assert "cp2" not in listed(fresh, "cp1")


def test_a_member_whose_host_is_off_is_replaced(fresh: Lab, operator: Operator) -> None:
    """A8: `gone` is believed: nobody waits for cp2, or asks it anything, and sp1 takes its place."""
    fresh.power_cut("cp2")
    try:
        words = ("etcd-member-replace.yaml", "-e", "role.failed=cp2", "-e", "role.new=sp1")
        silent = operator.drrun(*words, "--yes", "--no-input")
        assert (silent.returncode, operator.runs()) == (4, []), silent.stdout + silent.stderr
        gone = ("-e", "gone=true", "-e", "role.control_plane=control_plane & !cp2")
        done = operator.drrun(*words, *gone, "--yes", "--no-input", timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        assert listed(fresh, "cp1") == {"cp1": False, "cp3": False, "sp1": False}
    finally:
        fresh.power_on("cp2")


def test_a_dead_member_is_replaced_by_itself(
    fresh: Lab, operator: Operator, matrix: Matrix
) -> None:
    """A8: cp2's disk was changed; it is removed and joins again, with another id, under a writer."""
    before = {m.host: m.member for m in rehearsal.members(fresh)}
    dies_with_its_data(fresh, "cp2")
    with matrix.cell("replace a dead member, repaired, by itself", fresh) as remarks:
        with Prober(fresh) as prober:
            done = operator.drrun(
                *("etcd-member-replace.yaml", "-e", "role.failed=cp2", "-e", "role.new=cp2"),
                *("--yes", "--no-input"),
                timeout=600,
            )
        assert done.returncode == 0, done.stdout + done.stderr
        assert listed(fresh, "cp1") == dict.fromkeys(MEMBERS, False)
        assert servers(fresh) == {urls(fresh, *MEMBERS)}
        after = {m.host: m.member for m in rehearsal.members(fresh)}
        assert [host for host in MEMBERS if after[host] != before[host]] == ["cp2"]
        assert prober.lost() == []
        remarks.append(f"0 acknowledged writes lost, longest gap {prober.gap():.1f} s")


def test_three_become_one_and_three_again(fresh: Lab, operator: Operator, matrix: Matrix) -> None:
    """A9: two members leave and join again one by one under a writer that loses nothing."""
    with matrix.cell("shrink to one member, grow to three again", fresh) as remarks:
        with Prober(fresh) as prober:
            less = operator.drrun(
                *("etcd-shrink.yaml", "-e", "role.leaving=cp2 | cp3", "--yes", "--no-input"),
                timeout=600,
            )
            assert less.returncode == 0, less.stdout + less.stderr
            assert listed(fresh, "cp1") == {"cp1": False}
            assert servers(fresh) == {urls(fresh, "cp1")}
            more = operator.drrun(
                *("etcd-grow.yaml", "-e", "role.etcd=cp1", "-e", "role.new=cp2 | cp3"),
                *("--yes", "--no-input"),
                timeout=600,
            )
            assert more.returncode == 0, more.stdout + more.stderr
        assert listed(fresh, "cp1") == dict.fromkeys(MEMBERS, False)
        assert servers(fresh) == {urls(fresh, *MEMBERS)}
        assert rehearsal.disagreement(rehearsal.members(fresh)) == ""
        assert prober.lost() == []
        remarks.append(f"0 acknowledged writes lost, longest gap {prober.gap():.1f} s")


def test_a_member_that_answers_is_not_replaced(fresh: Lab, operator: Operator) -> None:
    """The operator names cp2, while all are well, and while cp3 is dead: refused before any change."""
    before = listed(fresh, "cp1")
    words = ("etcd-member-replace.yaml", "-e", "role.failed=cp2", "-e", "role.new=sp1")
    well = operator.drrun(*words, "--yes", "--no-input")
    assert well.returncode == 5, well.stdout + well.stderr
    assert "cp2 answers: it is not dead" in well.stdout + well.stderr
    dies(fresh, "cp3")
    done = operator.drrun(*words, "--yes", "--no-input")
    assert done.returncode == 5, done.stdout + done.stderr
    assert "cp3 does not answer either" in done.stdout + done.stderr
    assert listed(fresh, "cp1") == before


def test_three_become_five_and_three_again(fresh: Lab, operator: Operator, matrix: Matrix) -> None:
    """A9: two spares join one by one and leave again under a writer that loses nothing."""
    with matrix.cell("grow from 3 to 5", fresh) as remarks:
        with Prober(fresh) as prober:
            done = operator.drrun(
                *("etcd-grow.yaml", "-e", "role.new=spare", "--yes", "--no-input"), timeout=600
            )
        assert done.returncode == 0, done.stdout + done.stderr
        assert set(listed(fresh, "cp1")) == {"cp1", "cp2", "cp3", "sp1", "sp2"}
        assert not any(listed(fresh, "cp1").values())
        assert servers(fresh) == {urls(fresh, "cp1", "cp2", "cp3", "sp1", "sp2")}
        assert prober.lost() == []
        remarks.append(f"0 acknowledged writes lost, longest gap {prober.gap():.1f} s")
    with matrix.cell("shrink from 5 to 3", fresh) as remarks:
        with Prober(fresh) as prober:
            done = operator.drrun(
                *("etcd-shrink.yaml", "-e", "role.etcd=etcd | spare", "-e", "role.leaving=spare"),
                *("--yes", "--no-input"),
                timeout=600,
            )
        assert done.returncode == 0, done.stdout + done.stderr
        assert set(listed(fresh, "cp1")) == {"cp1", "cp2", "cp3"}
        assert servers(fresh) == {urls(fresh, "cp1", "cp2", "cp3")}
        assert rehearsal.disagreement(rehearsal.members(fresh)) == ""
        assert prober.lost() == []
        remarks.append(f"0 acknowledged writes lost, longest gap {prober.gap():.1f} s")
