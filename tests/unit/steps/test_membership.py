"""What may be done to a membership, as a function of what its members say."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest

from drrun.execute.forecast import Overlay
from drrun.spi import Fact, Refused, Reply
from drrun.testing import FakeGroup, FakeHost
from drrun.values import HostName, NotKnown
from drrun_steps.etcd.config import Config, cluster_flag
from drrun_steps.etcd.live import Member
from drrun_steps.etcd.member import Members
from drrun_steps.etcd.membership import (
    EtcdMembership,
    EtcdSeat,
    Membership,
    against_addition,
    against_removal,
    joined,
    membership_of,
    quorum_of,
)
from drrun_steps.etcd.program import EtcdProgram, Program
from drrun_steps.etcd.tell import Tell
from drrun_steps.service.facts import ServiceState


def member(number: int, *, learner: bool = False, name: str | None = None) -> Member:
    """Member `n` on 10.0.0.n."""
    host = f"https://10.0.0.{number}"
    called = f"m{number}" if name is None else name
    return Member(f"{number:x}", called, (f"{host}:2380",), (f"{host}:2379",), learner)


def cluster(
    voters: int, silent: tuple[int, ...] = (), extra: tuple[Member, ...] = ()
) -> Membership:
    """So many voters, some of which do not answer, and others beside them."""
    members = (*(member(n + 1) for n in range(voters)), *extra)
    live = tuple(m.id for m in members if int(m.id, 16) not in silent)
    return Membership(members, live, "1", quorum=len(live) >= quorum_of(voters))


def test_a_dead_member_of_three_may_be_removed() -> None:
    """Two of the two that stay answer."""
    now = cluster(3, silent=(2,))
    assert against_removal(now, now.members[1], alive=False) == ()


def test_a_member_that_answers_is_not_dead() -> None:
    """Only with `alive` is one removed that still answers."""
    now = cluster(3)
    assert "answers: it is not dead" in against_removal(now, now.members[0], alive=False)[0]
    assert against_removal(now, now.members[0], alive=True) == ()


def test_a_live_member_is_not_removed_beside_a_dead_one() -> None:
    """Of three with one dead, removing a live one leaves one of two: no quorum."""
    now = cluster(3, silent=(3,))
    found = against_removal(now, now.members[0], alive=True)
    assert any("loses the quorum" in why for why in found)
    assert any("replace the dead member first" in why for why in found)


def test_the_last_voter_stays() -> None:
    """A cluster of one has nobody to spare."""
    now = cluster(1)
    assert "it is the only voter" in against_removal(now, now.members[0], alive=True)


def test_nobody_is_added_beside_a_dead_member() -> None:
    """Three with one dead would become four with one dead: a quorum of three of three."""
    assert "removed before another is added" in against_addition(cluster(3, silent=(1,)))[0]
    assert against_addition(cluster(3)) == ()


def test_a_change_under_way_forbids_the_next() -> None:
    """A learner, or a member that was added and never started, is settled first."""
    learner = member(4, learner=True)
    assert "is a learner still" in against_addition(cluster(3, extra=(learner,)))[0]
    unstarted = member(4, name="")
    told = against_removal(cluster(3, extra=(unstarted,)), member(1), alive=True)
    assert any("never started" in why for why in told)


def test_a_learner_may_always_be_taken_back() -> None:
    """It has no vote: removing it is how a failed join is undone."""
    learner = member(4, learner=True)
    assert against_removal(cluster(3, silent=(4,), extra=(learner,)), learner, alive=False) == ()


def test_without_a_quorum_or_with_corrupt_data_nothing_is_changed() -> None:
    """Each is named."""
    assert "no quorum answers" in against_addition(cluster(3, silent=(1, 2)))[0]
    corrupt = Membership((member(1),), ("1",), "1", quorum=True, corrupt=True)
    assert "CORRUPT" in against_addition(corrupt)[0]
    assert "cannot be asked: no answer" in against_addition(Membership(why="no answer"))[0]


def test_a_member_is_found_by_its_address_then_by_its_name() -> None:
    """An inventory's host is the member whose peer URL is on its address."""
    now = cluster(3)
    assert now.at("10.0.0.2", "m3") == now.members[1]
    assert now.at("cp3.example", "m3") == now.members[2]
    assert now.at("10.0.0.9", "nobody") is None


def test_a_newcomer_is_told_of_itself_once() -> None:
    """The present members, then its own name and peer URL; asking twice adds nothing."""
    new = Config(found=True, name="m4", peer_urls="https://10.0.0.4:2380")
    told = joined(cluster(2).initial_cluster, new)
    assert told == "m1=https://10.0.0.1:2380,m2=https://10.0.0.2:2380,m4=https://10.0.0.4:2380"
    assert joined(told, new) == told


def _entry(number: int) -> dict[str, object]:
    host = f"https://10.0.0.{number}"
    return {
        "ID": number,
        "name": f"m{number}",
        "peerURLs": [f"{host}:2380"],
        "clientURLs": [f"{host}:2379"],
    }


def test_a_member_that_is_called_dead_and_answers_is_told_before_anything_is_done() -> None:
    """The wrong name would cost a member that is well; the right one leaves the others' URLs."""
    failed = FakeHost("m3", {}, address="10.0.0.3")
    for silent, refused in (((), True), ((3,), False)):
        said: dict[Fact[Any], Any] = {EtcdMembership(): cluster(3, silent)}
        group = FakeGroup([FakeHost("m1", said, address="10.0.0.1")], roles={"failed": [failed]})
        if refused:
            with pytest.raises(Refused, match="m3 answers: it is not dead"):
                Members(dead="failed").run(group)
        else:
            told = Members(dead="failed").run(group)
            assert told["endpoints"] == ["https://10.0.0.1:2379", "https://10.0.0.2:2379"]


def test_an_answer_is_put_together_from_its_parts() -> None:
    """The dead member is in the list and has no status; a quorum is said by its line."""
    listed = {"header": {"cluster_id": 7}, "members": [_entry(1), _entry(2)]}
    said = {"header": {"member_id": 1}, "leader": 1, "dbSize": 4096}
    status = [{"Endpoint": "x", "Status": said}]
    text = (
        f"== members\n{json.dumps(listed)}\n== status\n{json.dumps(status)}\n== alarms\n== quorum\n"
    )
    now = membership_of(Reply(0, text.encode(), b""))
    assert now.answering == ("1",)
    assert [m.name for m in now.silent] == ["m2"]
    assert (now.leader, now.quorum, now.endpoints) == ("1", True, ("https://10.0.0.1:2379",))
    assert now.size == 4096
    assert membership_of(Reply(3, b"", b"Error: context deadline exceeded")).why


def test_a_seat_is_absent_only_when_somebody_says_so() -> None:
    """No answer is not absence."""
    seat = EtcdSeat(peer="https://10.0.0.2:2380")
    listed = {"header": {"cluster_id": 7}, "members": [_entry(1), {**_entry(2), "isLearner": True}]}
    assert seat.parse(Reply(0, json.dumps(listed).encode(), b"")) == "learner"
    listed["members"] = [_entry(1)]
    assert seat.parse(Reply(0, json.dumps(listed).encode(), b"")) == "absent"
    assert seat.parse(Reply(1, b"", b"Error: deadline")) == "not known"


def test_a_restore_deals_all_seats_anew_and_a_change_of_another_member_none() -> None:
    """What a dead cluster said of a seat before a restore is not told as what holds after it."""
    seat, other = EtcdSeat(peer="https://10.0.0.2:2380"), EtcdSeat(peer="https://10.0.0.3:2380")
    cp1, cp2 = HostName("cp1"), HostName("cp2")
    overlay = Overlay()
    overlay.set(cp1, other, "learner")
    overlay.touch(cp1, ("@members:etcd", "@etcd"), "join.add-cp3")
    assert overlay.get(cp2, seat) == (False, None)
    assert overlay.get(cp1, other) == (True, "learner")
    overlay.touch(cp1, ("etcd-data", "@etcd", "@seats:etcd"), "install.install")
    for host, fact in ((cp1, other), (cp2, seat)):
        known, value = overlay.get(host, fact)
        assert known
        assert isinstance(value, NotKnown)


def test_what_a_host_without_certificates_was_told_is_not_known_once_it_has_some() -> None:
    """Its seat would be told as not known, and its joining as nothing to do; others know what they knew."""
    seat, sp1, cp1 = EtcdSeat(peer="https://10.0.0.4:2380"), HostName("sp1"), HostName("cp1")
    overlay = Overlay()
    for host in (sp1, cp1):
        overlay.set(host, seat, "not known")
        overlay.set(host, EtcdMembership(), Membership(why="no certificate"))
    overlay.touch(sp1, ("client:etcd",), "install-keys.install")
    for fact in (seat, EtcdMembership()):
        assert isinstance(overlay.get(sp1, fact)[1], NotKnown)
        assert not isinstance(overlay.get(cp1, fact)[1], NotKnown)


@pytest.mark.parametrize(
    ("by", "state", "changes"),
    [
        ("unit", "running", ["set"]),
        ("pod", "stopped", ["set"]),
        ("pod", "running", []),
    ],
)
def test_no_manifest_of_a_member_that_runs_is_written(
    by: Literal["unit", "pod"], state: str, changes: list[str]
) -> None:
    """Kubelet would restart it, and with it every other member that is told at the same time."""
    host = FakeHost(
        "cp1",
        {
            cluster_flag("etcd"): ("m1=https://10.0.0.1:2380",),
            EtcdProgram(): Program(by, "etcd"),
            ServiceState("etcd"): state,
        },
    )
    Tell(initial_cluster="m1=https://10.0.0.1:2380,m2=https://10.0.0.2:2380").run(host)
    assert host.change_names == changes
    assert [("it is left as it is" in note) for note in host.notes] == [True] * (not changes)
