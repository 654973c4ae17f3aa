"""The steps of a restore on scripted hosts: what they change, what they refuse."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from tests.unit.steps.recorded_answers import recorded

from drrun.spi import Done, DoneChange, Duty, Fact, Refused, Rule
from drrun.testing import FakeGroup, FakeHost
from drrun_steps.etcd.config import Config, EtcdConfig
from drrun_steps.etcd.directories import Directories, EtcdDirectories
from drrun_steps.etcd.disk import DataDir, EtcdDataDir
from drrun_steps.etcd.expiry import EtcdCertificates
from drrun_steps.etcd.gates import Consistent, Disarm, ProveDown
from drrun_steps.etcd.live import (
    EtcdAgreement,
    EtcdDisagreement,
    EtcdMembers,
    EtcdStatus,
    Members,
    Status,
)
from drrun_steps.etcd.measure import Measure, Remeasure, Unmoved
from drrun_steps.etcd.membership import EtcdSeat
from drrun_steps.etcd.place import EtcdStaged, Staged
from drrun_steps.etcd.restore import Install, Prepare, Same
from drrun_steps.etcd.ruling import VerdictStep
from drrun_steps.etcd.save import Save
from drrun_steps.etcd.snapshot import HostSnapshot, Snapshot
from drrun_steps.etcd.tools import EtcdTools, Tools
from drrun_steps.host import Disk, HostBusy, HostDisk
from drrun_steps.service.facts import ServiceHeld, ServiceState

_PLAN = {
    "name": "cp1",
    "peer_urls": "https://1:2380",
    "client_url": "https://1:2379",
    "data_dir": "/var/lib/etcd",
    "wal_dir": "",
    "owner": "etcd:etcd",
    "mount": False,
    "tool": "etcdutl",
}
_COMMON: dict[str, Any] = {"members": {"cp1": _PLAN}, "digest": "ab", "token": "t", "bump": 7}
_STAGED = EtcdStaged("/var/lib/etcd", "r-test", "/var/lib/drrun-stage/r-test")
_STOPPED: dict[Fact[Any], Any] = {ServiceState("etcd"): "stopped"}
_DEAD = Status(answers=False, why="refused")


def _prepare(tmp_path: Path) -> Prepare:
    path = tmp_path / "s.db"
    path.write_bytes(b"snapshot")
    return Prepare(**_COMMON, snapshot=str(path), initial_cluster="cp1=https://1:2380")


def test_staging_copies_restores_and_seals(tmp_path: Path) -> None:
    """Three changes, and the fact that the next steps rest on."""
    host = FakeHost("cp1", {_STAGED: Staged("none")})
    outputs = _prepare(tmp_path).run(host)
    assert host.change_names == ["make-folder", "copy-snapshot", "restore"]
    assert host.answers[_STAGED] == Staged("staged", "ab", "t", 7)
    assert outputs["directory"] == "/var/lib/etcd.drrun-r-test"


def test_what_is_staged_is_not_staged_again(tmp_path: Path) -> None:
    """The same snapshot, token and bump: nothing to do. Another bump: done anew."""
    host = FakeHost("cp1", {_STAGED: Staged("staged", "ab", "t", 7)})
    _prepare(tmp_path).run(host)
    assert host.changes == []
    host.answers[_STAGED] = Staged("staged", "ab", "t", 8)
    _prepare(tmp_path).run(host)
    assert "restore" in host.change_names


def test_a_host_that_was_not_measured_is_not_staged(tmp_path: Path) -> None:
    """Its name and URL would be guesses."""
    with pytest.raises(Refused, match="not measured"):
        _prepare(tmp_path).run(FakeHost("cp9"))


def test_undo_of_staging_removes_what_this_run_made(tmp_path: Path) -> None:
    """And nothing when it made nothing."""
    host = FakeHost("cp1")
    step = _prepare(tmp_path)
    step.undo(host, Done((), {}))
    assert host.changes == []
    step.undo(host, Done((DoneChange("make-folder", "cp1", {}),), {}))
    assert host.change_names == ["unstage"]


def test_install_swaps_what_was_staged_from_this_snapshot() -> None:
    """And says where the old data is kept."""
    host = FakeHost("cp1", {**_STOPPED, _STAGED: Staged("staged", "ab", "t", 7)})
    outputs = Install(**_COMMON).run(host)
    assert host.change_names == ["install"]
    assert "etcd-data" in host.changes[0].touches
    # Whoever is told a member's seat behind this is told no seat of the cluster of before.
    assert not set(EtcdSeat(peer="https://10.0.0.2:2380").about()).isdisjoint(
        host.changes[0].touches
    )
    assert outputs == {"kept": "/var/lib/etcd.old-r-test"}


@pytest.mark.parametrize(
    "found",
    [Staged("none"), Staged("staged", "cd", "t", 7), Staged("staged", "ab", "t", 8)],
    ids=["nothing", "other-snapshot", "other-bump"],
)
def test_install_refuses_what_was_staged_otherwise(found: Staged) -> None:
    """Members of different origin run side by side, all healthy."""
    host = FakeHost("cp1", {**_STOPPED, _STAGED: found})
    with pytest.raises(Refused, match="same snapshot"):
        Install(**_COMMON).run(host)
    assert host.changes == []


@pytest.mark.parametrize(
    ("found", "refused"),
    [
        (Staged("staged", "ab", "t", 7), False),
        (Staged("staged", "cd", "t", 7), True),
        (Staged("none"), True),
    ],
    ids=["same", "other-snapshot", "nothing"],
)
def test_every_host_must_have_staged_the_same(found: Staged, *, refused: bool) -> None:
    """Compared on all hosts before the first stop, by reading alone."""
    step = Same(**{**_COMMON, "members": {"cp1": _PLAN, "cp2": _PLAN}})
    hosts = [
        FakeHost("cp1", {_STAGED: Staged("staged", "ab", "t", 7)}),
        FakeHost("cp2", {_STAGED: found}),
    ]
    if refused:
        with pytest.raises(Refused, match=r"cp2.*same snapshot"):
            step.run(FakeGroup(hosts))
    else:
        step.run(FakeGroup(hosts))
    assert not any(host.changes for host in hosts)


def test_install_refuses_under_a_running_etcd() -> None:
    """Before it even looks at what is staged."""
    host = FakeHost("cp1", {ServiceState("etcd"): "running"})
    with pytest.raises(Refused, match="running etcd"):
        Install(**_COMMON).run(host)


def test_what_is_installed_stays() -> None:
    """A resume after the swap changes nothing."""
    host = FakeHost("cp1", {**_STOPPED, _STAGED: Staged("installed", "ab", "t", 7)})
    Install(**_COMMON).run(host)
    assert host.changes == []


def test_install_carries_its_rules() -> None:
    """Whatever a runbook's author forgets: no API server, no etcd, on the whole roles."""
    rules = Install(**_COMMON).rules()
    states = [(r.fact.key, r.hosts) for r in rules if isinstance(r, Rule) and r.value == "stopped"]
    assert states == [
        ("service.state(service=kube-apiserver)", "control_plane"),
        ("service.state(service=etcd)", "etcd"),
    ]
    alone = Install(**_COMMON, api_server="none").rules()
    assert not any(r.hosts == "control_plane" for r in alone if isinstance(r, Rule | Duty))


def test_undo_of_install_swaps_back() -> None:
    """The restored directory is kept as the staged one."""
    host = FakeHost("cp1")
    Install(**_COMMON).undo(host, Done((DoneChange("install", "cp1", {}),), {}))
    assert host.change_names == ["swap-back"]


def _cluster(**changed: Any) -> FakeGroup:
    hosts = []
    for n in (1, 2, 3):
        config = Config(
            found=True,
            name=f"cp{n}",
            data_dir="/var/lib/etcd",
            peer_urls=f"https://{n}:2380",
            client_url=f"https://{n}:2379",
            owner="etcd:etcd",
        )
        answers: dict[Any, Any] = {
            EtcdConfig(): dataclasses.replace(config, **changed.get("config", {})),
            EtcdTools(): changed.get("tools", Tools("etcdutl", bump=True)),
            EtcdDirectories("/var/lib/etcd"): changed.get("place", Directories("/var/lib/etcd")),
            HostDisk("/var/lib/etcd.drrun"): Disk(changed.get("free", 10**12), 10**12),
            EtcdStatus(): changed.get("status", _DEAD),
            EtcdDataDir(): changed.get("data", DataDir("missing")),
            EtcdCertificates(): (),
            EtcdMembers(): changed.get("members", Members(answers=False)),
        }
        hosts.append(FakeHost(f"cp{n}", answers))
    return FakeGroup(hosts)


_MEASURE = Measure(revision=100, size=1000, max_revision=150)


def test_measuring_computes_once_for_all() -> None:
    """One initial cluster, one token, one bump: a difference between hosts is divergence."""
    outputs = _MEASURE.run(_cluster())
    assert outputs["initial_cluster"].startswith("cp1=https://1:2380,cp2=")
    assert outputs["token"] == "drrun-r-test"
    assert outputs["bump"] == 2_000_000  # 50 + 10 + 1_000_000, rounded up
    assert outputs["members"]["cp2"]["name"] == "cp2"


def test_a_tool_that_cannot_bump_is_said_plainly() -> None:
    """3.4.23 and 3.5.1 cannot: clients that watch would see nothing, for ever."""
    group = _cluster(tools=Tools("etcdctl", bump=False))
    assert _MEASURE.run(group)["bump"] == 0
    assert "must be restarted" in group.notes[0]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"tools": Tools()}, "neither etcdutl nor etcdctl"),
        ({"free": 1000}, "MiB are free"),
        ({"config": {"name": "same"}}, "both use the name"),
        ({"config": {"initial_cluster": "zz=https://9:2380"}}, "does not know"),
    ],
    ids=["no-tool", "full-disk", "same-name", "stranger"],
)
def test_measuring_refuses_before_anything_is_staged(changed: dict[str, Any], words: str) -> None:
    """Each with the next move."""
    with pytest.raises(Refused, match=words) as caught:
        _MEASURE.run(_cluster(**changed))
    assert caught.value.hint


def test_the_verdict_reads_every_member_and_tells() -> None:
    """All data gone: restored, and every host's state is noted."""
    group = _cluster()
    outputs = VerdictStep.model_validate(
        {"revision": "100", "accept_loss": "", "accept_unreadable": ""}
    ).run(group)
    assert outputs["gap"] == 0
    assert len(group.notes) == 4


def test_a_fenced_member_may_hold_anything_until_the_operator_says_so() -> None:
    """Nobody can look at its disk: refused, or accepted by its name and never called complete."""
    group = _cluster()
    group.fenced = ("cp9",)
    with pytest.raises(Refused, match="cp9: its data directory cannot be read") as caught:
        VerdictStep(revision=100).run(group)
    assert "accept_unreadable=cp9" in caught.value.hint
    accepted = VerdictStep.model_validate({"revision": 100, "accept_unreadable": "cp9"})
    assert accepted.run(group)["complete"] is False
    assert "cp9: does not answer (the host is fenced), data unreadable" in group.notes


def test_a_member_that_nobody_lists_refuses() -> None:
    """It would live on beside the restored cluster (hazard H3)."""
    status = EtcdStatus().parse(recorded("status"))
    group = _cluster(status=status, members=EtcdMembers().parse(recorded("members")))
    with pytest.raises(Refused, match="inventory does not know: cp3, cp1, cp2"):
        VerdictStep(revision=100).run(group)


def test_the_verdict_refuses_newer_data_and_takes_the_named_loss() -> None:
    """As text from the command line."""
    group = _cluster(data=DataDir("readable", 140))
    with pytest.raises(Refused) as caught:
        VerdictStep(revision=100).run(group)
    assert "accept_loss=40" in caught.value.hint
    assert (
        VerdictStep.model_validate({"revision": 100, "accept_loss": "40"}).run(group)["limit"]
        == 140
    )


def test_remeasuring_stops_when_more_was_written() -> None:
    """Between verdict and stop, beyond what was accepted."""
    step = Remeasure(revision=100, bump=1_000_000, limit=140)
    step.run(_cluster(data=DataDir("readable", 140)))
    with pytest.raises(Refused, match="without anybody having said so"):
        step.run(_cluster(data=DataDir("readable", 141)))
    with pytest.raises(Refused):
        step.run(_cluster(data=DataDir("in-use")))


def test_what_was_written_while_it_was_staged_is_found_before_the_first_stop() -> None:
    """Members that answer may move up to what was accepted; those that are down say nothing here."""
    step = Unmoved(revision=100, bump=1_000_000, limit=140)
    step.run(_cluster())
    step.run(_cluster(status=Status(answers=True, revision=140)))
    with pytest.raises(Refused, match="revision 141 by now, 41 above the snapshot's") as caught:
        step.run(_cluster(status=Status(answers=True, revision=141)))
    assert "nothing was stopped" in caught.value.hint
    assert "accept_loss=82" in caught.value.hint
    with pytest.raises(Refused) as caught:
        step.run(_cluster(status=Status(answers=True, revision=900_100)))
    assert "accept_loss=1000000, " in caught.value.hint, "the verdict takes no more"
    low = Unmoved(revision=100, bump=10, limit=140)
    with pytest.raises(Refused):
        low.run(_cluster(status=Status(answers=True, revision=110)))


def test_the_last_chance_may_find_nobody() -> None:
    """Then the old directories are the last copy, and it says so; a backup fails instead."""
    group = _cluster()
    assert Save(optional=True).run(group)["saved"] is False
    assert "are kept" in group.notes[0]
    with pytest.raises(Refused, match="no member"):
        Save().run(group)


def test_a_backup_is_proved_where_it_was_made_and_fetched(tmp_path: Path) -> None:
    """From the leader; the manifest comes along."""
    agreement = EtcdAgreement().parse(recorded("agreement"))
    members = EtcdMembers().parse(recorded("members"))
    status = EtcdStatus().parse(recorded("status"))
    group = _cluster(status=status, members=members)
    host = group["cp3"]
    endpoints = tuple(url for m in members.members for url in m.client_urls)
    host.answers[EtcdAgreement(endpoints=endpoints)] = agreement
    host.answers[HostSnapshot("/var/backups/drrun/etcd-r-test.db")] = Snapshot("", "", "ab", 9, 61)
    outputs = Save(fetch_to=str(tmp_path / "s.db")).run(group)
    assert host.change_names == ["save", "fetch", "fetch-manifest"]
    assert (outputs["host"], outputs["revision"]) == ("cp3", 61)
    divided = dataclasses.replace(agreement, hashes=("1@0", "2@0", "1@0"))
    host.answers[EtcdAgreement(endpoints=endpoints)] = divided
    host.changes.clear()
    with pytest.raises(Refused, match="same data"):
        Save().run(group)
    assert host.changes == []


def test_down_is_state_hold_and_nothing_alive() -> None:
    """All three, in this order."""
    busy = HostBusy(("etcd",), (2379, 2380))
    host = FakeHost("cp1", {**_STOPPED, ServiceHeld("etcd"): True, busy: ()})
    ProveDown().run(host)
    host.answers[busy] = ("etcd runs as pid 7",)
    with pytest.raises(Refused, match="pid 7"):
        ProveDown().run(host)
    host.answers[ServiceHeld("etcd")] = False
    with pytest.raises(Refused, match="reboot"):
        ProveDown().run(host)


def test_agreement_is_asked_through_every_member() -> None:
    """Each of them must reach the others."""
    status = EtcdStatus().parse(recorded("status"))
    fact = EtcdDisagreement(members=1, cluster="43b8", endpoints=("https://1:2379",))
    host = FakeHost("cp1", {EtcdStatus(): status, fact: ()})
    step = Consistent(endpoints=("https://1:2379",), cluster_id="43b8")
    assert step.run(FakeGroup([host]))["revision"] == status.revision
    host.answers[fact] = ("revisions differ: [1, 2]",)
    with pytest.raises(Refused, match="revisions differ"):
        step.run(FakeGroup([host]))


def test_nospace_is_disarmed_only_where_there_is_room() -> None:
    """Otherwise the next write raises it again: quota first (hazard H10)."""
    status = EtcdStatus().parse(recorded("status"))
    config = Config(found=True, quota=1_000_000)
    raised = dataclasses.replace(status, alarms=("NOSPACE",), size=500_000)
    quiet = FakeHost("cp1", {EtcdStatus(): status, EtcdConfig(): config})
    Disarm().run(FakeGroup([quiet]))
    assert quiet.changes == []
    roomy = FakeHost("cp1", {EtcdStatus(): raised, EtcdConfig(): config})
    with pytest.raises(Exception, match="NOSPACE"):
        Disarm().run(FakeGroup([roomy]))  # the fake's status does not change by itself
    assert roomy.change_names == ["disarm"]
    full = dataclasses.replace(raised, size=990_000)
    cramped = FakeHost("cp1", {EtcdStatus(): full, EtcdConfig(): config})
    with pytest.raises(Refused, match="refuses every write"):
        Disarm().run(FakeGroup([cramped]))
    assert cramped.changes == []
