"""What etcdctl, units and data directories say, as recorded; and the pure rules on top."""

from __future__ import annotations

import dataclasses

import pytest
from tests.unit.steps.recorded_answers import recorded, said

from drrun_steps.etcd.config import Config, EtcdConfig
from drrun_steps.etcd.disk import DataDir, EtcdDataDir
from drrun_steps.etcd.identity import bump, cluster_id, conflicts, initial_cluster, strangers
from drrun_steps.etcd.live import (
    EtcdAgreement,
    EtcdDisagreement,
    EtcdMembers,
    EtcdStatus,
    disagreements,
)
from drrun_steps.etcd.save import best
from drrun_steps.etcd.tools import EtcdTools, Tools
from drrun_steps.etcd.verdict import Accepted, Seen, decide

_STATUS_34 = (
    '[{"Endpoint":"http://127.0.0.1:33790","Status":{"header":{"cluster_id":9072473218305301752,'
    '"member_id":1258326739051996497,"revision":61,"raft_term":2},"version":"3.4.23",'
    '"dbSize":24576,"leader":1258326739051996497,"raftIndex":64,"raftTerm":2,'
    '"raftAppliedIndex":64,"dbSizeInUse":24576}}]'
)
_REFUSED = "Error: context deadline exceeded"


def test_status_of_both_lines_of_etcd() -> None:
    """3.4 and 3.5 differ in what they leave out."""
    new = EtcdStatus().parse(recorded("status"))
    assert (new.answers, new.revision, new.leads, new.version) == (True, 2001725, True, "3.5.16")
    old = EtcdStatus().parse(said(_STATUS_34))
    assert (old.revision, old.version, old.leads, old.lag) == (61, "3.4.23", True, 0)


def test_alarms_and_a_lost_leader_come_in_the_errors() -> None:
    """`alarm list` needs a quorum; the errors of a status do not."""
    text = _STATUS_34.replace(
        '"dbSizeInUse":24576',
        '"errors":["etcdserver: no leader","memberID:1 alarm:NOSPACE "],"dbSizeInUse":24576',
    )
    status = EtcdStatus().parse(said(text))
    assert status.alarms == ("NOSPACE",)
    assert not status.has_leader


@pytest.mark.parametrize("fact", [EtcdStatus(), EtcdMembers()])
def test_not_answering_is_an_answer(fact: EtcdStatus | EtcdMembers) -> None:
    """A dead etcd is what recoveries are about."""
    answer = fact.parse(said("", code=1, err=_REFUSED))
    assert not answer.answers
    assert answer.why == "context deadline exceeded"


_WARNED = '{"level":"warn","logger":"etcd-client","error":"rpc error: code = %s"}\n%s\n'
_NOT_LET_IN = {
    "x509": (
        (
            'DeadlineExceeded desc = latest balancer error: connection error: desc = \\"transport: authentication handshake failed: '
            'tls: failed to verify certificate: x509: certificate is valid for 127.0.0.9, not 127.0.0.1\\"'
        ),
        "certificate is valid for 127.0.0.9, not 127.0.0.1",
    ),
    "serverAuth only": (
        "DeadlineExceeded desc = last connection error: write tcp 127.0.0.1:39716->127.0.0.1:24579: write: broken pipe",
        "takes no certificate of ours",
    ),
    "authentication": (
        "InvalidArgument desc = etcdserver: user name is empty",
        "user name is empty",
    ),
}


@pytest.mark.field("12", "14", "15")
@pytest.mark.parametrize("how", _NOT_LET_IN)
def test_a_member_that_does_not_let_us_in_is_not_down(how: str) -> None:
    """As etcdctl 3.5 prints it: its own time limit comes last, and is not the reason."""
    warned, why = _NOT_LET_IN[how]
    reply = said("[]", code=1, err=_WARNED % (warned, "Error: context deadline exceeded"))
    status = EtcdStatus().parse(reply)
    assert not status.answers
    assert why in status.barred
    assert why in status.why
    seen = {"cp1": Seen(status, DataDir("in-use"))}
    verdict = decide(500, seen, Accepted(), quorum=False)
    assert verdict.ruling == "refuse"
    assert "does not let drrun in" in verdict.text
    assert "systemctl stop" not in verdict.hint
    assert "accept_unreadable" not in verdict.hint
    assert "etcd_cert" in verdict.hint


@pytest.mark.field("12")
def test_a_login_that_etcd_wants_is_not_taken_for_a_lost_quorum() -> None:
    """The members are told, the read is not allowed: that is said, and not that no quorum answers."""
    listed = recorded("members").text.splitlines()[0]
    warned, _ = _NOT_LET_IN["authentication"]
    members = EtcdMembers().parse(
        said(listed, err=_WARNED % (warned, "Error: etcdserver: user name is empty"))
    )
    assert (members.answers, members.quorum) == (True, False)
    assert members.barred == "etcdserver: user name is empty"


def test_members_and_quorum() -> None:
    """A linearizable read passed on the recorded cluster."""
    members = EtcdMembers().parse(recorded("members"))
    assert members.quorum
    assert [m.name for m in members.members] == ["cp3", "cp1", "cp2"]


def test_a_sound_cluster_agrees() -> None:
    """One id, equal revision and hash, no alarm, three members."""
    said_by_all = EtcdAgreement().parse(recorded("agreement"))
    assert disagreements(said_by_all, 3, "43b827922bc26bf0") == ()
    fact = EtcdDisagreement(members=3, cluster="43b827922bc26bf0")
    assert fact.parse(recorded("agreement")) == ()


def test_each_way_to_disagree_is_named() -> None:
    """Health would pass all of these (measured: members restored from different snapshots)."""
    sound = EtcdAgreement().parse(recorded("agreement"))
    first = dataclasses.replace(sound.statuses[0], revision=7)
    cases = {
        "cluster ids": disagreements(sound, 3, "abc"),
        "of 5 members answer": disagreements(sound, 5),
        "revisions differ": disagreements(
            dataclasses.replace(sound, statuses=(first, *sound.statuses[1:])), 3
        ),
        "hashes differ": disagreements(dataclasses.replace(sound, hashes=("1@0", "2@0", "1@0")), 3),
        "NOSPACE on": disagreements(dataclasses.replace(sound, alarms=("NOSPACE on 1",)), 3),
        "no quorum": disagreements(dataclasses.replace(sound, quorum=False), 3),
    }
    for words, found in cases.items():
        assert any(words in line for line in found), (words, found)
    assert not disagreements(
        dataclasses.replace(sound, alarms=("NOSPACE on 1",)), 3, "", ("NOSPACE",)
    )


def test_a_cluster_that_does_not_answer_disagrees() -> None:
    """Nothing to compare is not agreement."""
    assert disagreements(EtcdAgreement().parse(said("", code=1, err=_REFUSED)), 3)


def test_a_members_settings_are_read_from_its_unit() -> None:
    """As recorded on a lab host with an environment file."""
    config = EtcdConfig().parse(recorded("config"))
    assert config.name == "cp1"
    assert config.data_dir == "/var/lib/etcd"
    assert config.owner == "etcd:etcd"
    assert not config.mount
    assert EtcdConfig().parse(said("found=no\n")) == Config(found=False)


def test_tools_are_asked_what_they_can_do() -> None:
    """3.5.16's etcdutl can raise revisions; a host without tools is an answer."""
    assert EtcdTools().parse(recorded("tools")) == Tools("etcdutl", bump=True, version="3.5.16")
    assert EtcdTools().parse(said("")) == Tools()


@pytest.mark.parametrize(
    ("text", "code", "expected"),
    [
        ("in-use\n", 0, DataDir("in-use")),
        ("missing\n", 0, DataDir("missing")),
        ('{"hash":1,"revision":61,"totalKey":64,"totalSize":1}\n', 0, DataDir("readable", 61, 64)),
    ],
)
def test_a_data_directory_says_what_it_is(text: str, code: int, expected: DataDir) -> None:
    """Each state that a stopped member's directory can be in."""
    assert EtcdDataDir().parse(said(text, code=code)) == expected


def test_a_panic_of_the_tool_is_an_unreadable_directory() -> None:
    """With the reason; never a revision of 0, which would look like nothing to lose."""
    found = EtcdDataDir().parse(said("", code=2, err="panic: page 3: invalid type\n"))
    assert found.state == "unreadable"
    assert "panic" in found.why


def _config(name: str, url: str, cluster: str = "") -> Config:
    return Config(found=True, name=name, data_dir="/d", peer_urls=url, initial_cluster=cluster)


def test_the_initial_cluster_is_computed_from_all() -> None:
    """A kubeadm host's own flag names only those that were there when it joined."""
    configs = {"h1": _config("a", "https://1:2380"), "h2": _config("b", "https://2:2380")}
    assert initial_cluster(configs) == "a=https://1:2380,b=https://2:2380"
    assert conflicts(configs) == ()


def test_contradictions_are_found_before_anything_is_staged() -> None:
    """The same name twice, another URL in its own entry, a host without etcd, a stranger."""
    twice = {"h1": _config("a", "https://1:2380"), "h2": _config("a", "https://2:2380")}
    assert "both use the name a" in conflicts(twice)[0]
    other = {"h1": _config("a", "https://1:2380", "a=https://9:2380")}
    assert "initial-cluster says https://9:2380" in conflicts(other)[0]
    assert "neither a unit" in conflicts({"h1": Config(found=False)})[0]
    known = {"h1": _config("a", "https://1:2380", "a=https://1:2380,z=https://9:2380")}
    assert strangers(known) == ("z (in the initial-cluster of h1)",)


def test_the_id_of_a_restored_cluster_is_known_before_it_starts() -> None:
    """Checked against etcdutl 3.5.16, which printed this id for this token and these URLs."""
    urls = [f"https://10.94.42.1{n}:2380" for n in (1, 2, 3)]
    assert cluster_id(urls, "drrun-r20261123-000814-21c7") == "36cde5dd809fe9d7"
    assert cluster_id(urls[::-1], "drrun-r20261123-000814-21c7") == "36cde5dd809fe9d7"
    assert cluster_id(urls, "etcd-cluster") != "36cde5dd809fe9d7"


def test_the_bump_is_above_everything_that_was_measured() -> None:
    """20 % and a million on top; a thousand million when something could not be measured."""
    assert (
        bump(1500, 1000, complete=True, capable=True) == 2_000_000
    )  # 500 + 100 + 1_000_000, rounded up
    assert bump(1500, 1000, complete=False, capable=True) == 1_000_000_000
    assert bump(10**10, 0, complete=False, capable=True) > 10**10
    assert bump(1500, 1000, complete=True, capable=False) == 0


def test_a_backup_is_taken_from_the_leader_else_from_the_furthest() -> None:
    """Never from a learner (its snapshots lack the seal) or a member that says CORRUPT."""
    status = EtcdStatus().parse(recorded("status"))
    follower = dataclasses.replace(status, leads=False)
    assert best({"a": follower, "b": status}) == "b"
    ahead = dataclasses.replace(follower, revision=status.revision + 1)
    assert best({"a": follower, "b": ahead}) == "b"
    learner = dataclasses.replace(ahead, learner=True)
    assert best({"a": follower, "b": learner}) == "a"
    assert best({"a": dataclasses.replace(status, alarms=("CORRUPT",))}) is None
    assert best({}) is None
