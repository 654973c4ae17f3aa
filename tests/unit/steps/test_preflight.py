"""The preflight: everything that would stand in the way, said at once."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from tests.recoveries.cells import PASS, seen
from tests.recoveries.page import PAGE
from tests.unit.steps.recorded_answers import recorded

from drrun.spi import Fact, Refused
from drrun.testing import FakeGroup, FakeHost
from drrun_steps.etcd.config import Config, EtcdConfig
from drrun_steps.etcd.expiry import EtcdCertificates
from drrun_steps.etcd.live import EtcdAgreement, EtcdMembers, EtcdStatus
from drrun_steps.etcd.metrics import EtcdPace, Pace
from drrun_steps.etcd.preflight import Preflight
from drrun_steps.etcd.support import KUBERNETES, MATRIX, PROVED
from drrun_steps.etcd.tools import EtcdTools, Tools
from drrun_steps.host import Disk, HostClock, HostDisk, HostMemory
from drrun_steps.service.certificates import ServiceStale

BESIDE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
_STATUS = EtcdStatus().parse(recorded("status"))
_MEMBERS = EtcdMembers().parse(recorded("members"))
_PACE = Pace(7200.0, leader_changes=1, fsync=4.0, commit=9.0, round_trip=1.0)
_AGREEMENT = EtcdAgreement().parse(recorded("agreement"))


def _group(**last: Any) -> FakeGroup:
    """Three sound hosts; `last` is what is different on the third."""
    endpoints = tuple(url for m in _MEMBERS.members for url in m.client_urls)
    hosts = []
    for n in (1, 2, 3):
        odd = last if n == 3 else {}
        config = Config(
            found=True,
            name=f"cp{n}",
            data_dir="/var/lib/etcd",
            peer_urls=f"https://10.94.42.1{n}:2380",
            owner="etcd:etcd",
            leftovers=odd.get("leftovers", ()),
        )
        status = dataclasses.replace(_STATUS, **odd.get("status", {}))
        answers: dict[Fact[Any], Any] = {
            EtcdConfig(): config,
            EtcdStatus(): status,
            EtcdMembers(): _MEMBERS,
            EtcdAgreement(endpoints=endpoints): last.get("agreement", _AGREEMENT),
            EtcdPace(): odd.get("pace", _PACE),
            EtcdTools(): odd.get("tools", Tools("etcdutl", bump=True, version="3.5.16")),
            EtcdCertificates("etcd", 720): odd.get("ending", ()),
            HostDisk("/var/lib/etcd"): Disk(odd.get("free", 10**12), 10**12),
            **dict.fromkeys(map(ServiceStale, BESIDE), ()),
            ServiceStale("kube-scheduler"): odd.get("stale", ()),
            HostMemory(): odd.get("memory", 10**10),
            HostClock(): 1000.0 + odd.get("clock", 0.0),
        }
        hosts.append(FakeHost(f"cp{n}", answers))
    return FakeGroup(hosts)


def test_a_sound_cluster_passes() -> None:
    """With what was ever proved, and a line a host."""
    group = _group()
    assert Preflight().run(group) == {"findings": []}
    assert tuple(group.notes[: len(MATRIX)]) == MATRIX
    assert len(group.notes) == len(MATRIX) + 6


def test_a_line_of_etcd_that_was_never_tried_is_told_and_does_not_stand_in_the_way() -> None:
    """Hazard H31: it may work; the operator learns that nobody has seen it."""
    group = _group(status={"version": "3.6.14"})
    Preflight().run(group)
    assert (
        "cp3: etcd 3.6.14: no runbook was tried with this line yet; rehearse it first"
        in group.notes
    )


def test_what_is_called_proved_is_what_the_suite_saw() -> None:
    """A version in the matrix is one that a recovery passed with, on real hosts."""
    passed = {cell.etcd.partition("-")[0] for cell in seen().values() if cell.result == PASS}
    assert passed == set(PROVED.values())
    assert KUBERNETES in (PAGE.read_text())


@pytest.mark.parametrize(
    ("last", "words"),
    [
        ({"status": {"version": "3.5.1"}}, "corrupt data silently"),
        ({"status": {"size": 1900 * 1024**2}}, "of its quota"),
        ({"status": {"answers": False, "why": "refused"}}, "does not answer"),
        ({"tools": Tools()}, "neither etcdutl"),
        ({"ending": ("peer.crt: notAfter=…",)}, "ends soon"),
        ({"ending": ("peer.crt: notAfter=…, expired",)}, "has expired"),
        ({"stale": ("a.conf is newer than the process",)}, "cp3: kube-scheduler: a.conf is newer"),
        ({"free": 1024}, "free beside the data"),
        ({"memory": 1024}, "of memory"),
        ({"clock": -7.0}, "7.0 s off"),
        ({"leftovers": ("force-new-cluster",)}, "left on after an emergency"),
        ({"agreement": dataclasses.replace(_AGREEMENT, hashes=("1", "2", "1"))}, "hashes differ"),
    ],
    ids=lambda value: value.split()[-1] if isinstance(value, str) else "",
)
def test_each_finding_is_told_with_its_host(last: dict[str, Any], words: str) -> None:
    """Nothing else is found."""
    with pytest.raises(Refused, match=words) as caught:
        Preflight().run(_group(**last))
    assert caught.value.message.startswith("1 things")


def test_a_slow_disk_is_told_and_refused_where_a_limit_is_set() -> None:
    """10 ms is what etcd asks for; how much more is too much is the operator's to say."""
    slow = Pace(86400.0, leader_changes=9, heartbeats_failed=2, fsync=63.4)
    group = _group(pace=slow)
    Preflight().run(group)
    [told] = [note for note in group.notes if note.startswith("cp3: in ")]
    assert "the leader changed 9 times, 2 heartbeats failed" in told
    assert told.endswith("slow: etcd asks for 10 and 25 ms")
    with pytest.raises(Refused, match=r"cp3: a sync of the log takes 63\.4 ms") as caught:
        Preflight(fsync_ms=50, leader_changes_a_day=5).run(_group(pace=slow))
    assert "the leader changed 9 times in 1.0 days" in caught.value.message
    group = _group(pace=Pace(why="no route"))
    Preflight().run(group)
    assert "cp3: how well it keeps up cannot be read (no route)" in group.notes


def test_all_findings_come_at_once() -> None:
    """Nobody repairs one thing a night."""
    with pytest.raises(Refused) as caught:
        Preflight().run(_group(clock=9.0, free=1, tools=Tools()))
    assert caught.value.message.startswith("3 things")
