"""The quorum is lost for good: what the last member holds is brought back, every key of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.lab.test_recovery import outage

from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Operator
from drrun_lab.prober import Prober
from drrun_lab.waiting import until

from .conftest import Matrix
from .states import LOST, MEMBERS, dies_for_good, dies_with_its_data, stops_one_by_one

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]


def listed(lab: Lab) -> list[str]:
    """The names of the members, as cp1 tells."""
    told = lab.ssh("cp1", f"{rehearsal.ETCDCTL} member list -w json").stdout
    return sorted(member.get("name", "") for member in json.loads(told)["members"])


def _up(lab: Lab, host: str) -> bool:
    return lab.ssh(host, "true").returncode == 0


def test_two_of_three_are_wiped_and_every_acknowledged_key_is_there(
    fresh: Lab, operator: Operator, matrix: Matrix, tmp_path: Path
) -> None:
    """A7: two members killed under a writer and wiped; the survivor's keys are on all three again."""
    with matrix.cell("rescue from one live survivor of three", fresh) as remarks:
        with Prober(fresh) as prober:
            until(
                lambda: len([w for w in prober.writes if w.taken]) > 20,
                timeout=60,
                awaiting="writes",
            )
            dies_for_good(fresh)
            taken = [w for w in prober.writes if w.taken]
            done = operator.drrun(
                *("etcd-quorum-rescue.yaml", "-e", f"to={tmp_path / 'survivor.db'}"),
                *("--yes", "--no-input"),
                timeout=600,
            )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "the survivor is cp1, which answers" in done.stdout
        assert prober.lost() == []
        assert listed(fresh) == MEMBERS
        assert rehearsal.disagreement(rehearsal.members(fresh)) == ""
        remarks += rescued(operator, prober, len(taken))


def rescued(operator: Operator, prober: Prober, taken: int) -> list[str]:
    """What is remarked of a rescue, beside the outage by hand with the quorum lost."""
    first = outage(operator.journal(operator.newest()), prober)
    return [
        f"{taken} writes acknowledged before the loss, all present",
        f"nobody could write for {prober.gap():.1f} s, the last {first:.1f} of them from the first stop",
        "by hand, static pods, from the first stop: 31 s",
    ]


@pytest.fixture(name="one_left")
def _one_left(fresh: Lab) -> Iterator[tuple[Lab, dict[str, str]]]:
    """cp2 and cp3 are off, cp1's etcd was killed and is stopped; objects were written before."""
    objects = rehearsal.write_objects(fresh, "before", 20)
    rehearsal.each(fresh, "systemctl kill -s KILL etcd; systemctl stop etcd", ["cp1"])
    for host in LOST:
        fresh.power_cut(host)
    try:
        yield fresh, objects
    finally:
        for host in LOST:
            fresh.power_on(host)


def test_a_stopped_survivor_alone_serves_all_and_grows_again(
    one_left: tuple[Lab, dict[str, str]], operator: Operator, matrix: Matrix, tmp_path: Path
) -> None:
    """Unnamed: unreachable, 4. Named fenced: a cluster of one with every key, then three again."""
    lab, objects = one_left
    words = ("etcd-quorum-rescue.yaml", "-e", f"to={tmp_path / 'survivor.db'}", "--no-input")
    silent = operator.drrun(*words, "--yes")
    assert (silent.returncode, operator.runs()) == (4, []), silent.stderr
    fenced = [w for host in LOST for w in ("--fenced", f"{host}=power")]
    accept = ("-e", "accept_unreadable=cp2,cp3", "-e", "accept_unlisted=cp2,cp3")
    with matrix.cell("rescue from one stopped survivor, two fenced", lab) as remarks:
        done = operator.drrun(
            *words,
            "--yes",
            *fenced,
            "--reason",
            "cut from power by this test",
            *accept,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "which is stopped: a copy of its directory is replayed" in done.stdout
        assert "done, but for cp[2-3]" in done.stdout
        assert rehearsal.read_objects(lab) == objects
        assert listed(lab) == ["cp1"]
        left = lab.ssh("cp1", "pgrep -c -x etcd; ls /var/lib/drrun-scratch").stdout.split()
        assert left == ["1"], "the etcd that replayed, or its copy, is still there"
        remarks.append("every object present")
    with matrix.cell("grow the rescued member to three again", lab):
        for host in LOST:
            lab.power_on(host)
        for host in LOST:
            until(partial(_up, lab, host), timeout=90, awaiting=host)
        # Their disks hold the old cluster: wiped before they may join, as the guide says.
        rehearsal.each(lab, "systemctl stop etcd; rm -rf /var/lib/etcd/member", LOST)
        done = operator.drrun(
            *("etcd-grow.yaml", "-e", "role.etcd=cp1", "-e", "role.new=cp2 | cp3"),
            *("--yes", "--no-input"),
            timeout=600,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert listed(lab) == MEMBERS
        assert rehearsal.disagreement(rehearsal.members(lab)) == ""


def test_a_stopped_cluster_is_saved_from_the_member_that_is_furthest_ahead(
    fresh: Lab, operator: Operator, matrix: Matrix, tmp_path: Path
) -> None:
    """Not from cp1, which stopped early: every object is in the snapshot, and back when all is lost."""
    path = tmp_path / "stopped.db"
    early = operator.drrun("etcd-backup-stopped.yaml", "-e", f"to={path}", "--yes", "--no-input")
    assert early.returncode == 5, early.stdout + early.stderr
    assert "take it with etcd-backup" in early.stdout + early.stderr
    with matrix.cell("save from stopped members, restore that", fresh) as remarks:
        objects = stops_one_by_one(fresh)
        look = "find /var/lib/etcd -type f -exec sha256sum {} + | sort"
        before = rehearsal.each(fresh, look, MEMBERS)
        saved = operator.drrun(
            "etcd-backup-stopped.yaml", "-e", f"to={path}", "--yes", "--no-input"
        )
        assert saved.returncode == 0, saved.stdout + saved.stderr
        assert "cp1 is furthest ahead" not in saved.stdout
        assert rehearsal.each(fresh, look, MEMBERS) == before
        left = rehearsal.each(fresh, "pgrep -x etcd; ls /var/lib/drrun-scratch || :", MEMBERS)
        assert not any(text.strip() for text in left.values())
        rehearsal.destroy(fresh)
        words = ("restore-cluster.yaml", "-e", f"snapshot={path}", "-e", "accept_unreadable=cp3")
        done = operator.drrun(*words, "--yes", "--no-input", timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        assert rehearsal.read_objects(fresh) == objects
        remarks.append("every object present; the directories as they were")


def test_a_quorum_that_may_come_back_is_not_rescued(
    fresh: Lab, operator: Operator, tmp_path: Path
) -> None:
    """One dead member: a quorum answers. Two stopped with their data: start them. Nothing changed."""
    words = ("etcd-quorum-rescue.yaml", "-e", f"to={tmp_path / 'survivor.db'}", "--no-input")
    dies_with_its_data(fresh, "cp3")
    done = operator.drrun(*words, "--yes")
    assert done.returncode == 5, done.stdout + done.stderr
    assert "a quorum of etcd answers" in done.stdout + done.stderr
    assert _unchanged(operator)
    rehearsal.each(fresh, "systemctl stop etcd", ["cp2"])
    done = operator.drrun(*words, "--yes")
    assert done.returncode == 5, done.stdout + done.stderr
    assert "the quorum is not lost for good" in done.stdout + done.stderr
    assert _unchanged(operator)


def _unchanged(operator: Operator) -> bool:
    """The newest run changed nothing; controllers that lose their API end by themselves."""
    return not [e for e in operator.journal(operator.newest()) if e.type == "change.intended"]
