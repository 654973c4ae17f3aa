"""Who exists and is in no inventory is found while the cluster still answers (hazard H3)."""

from __future__ import annotations

import pytest
from tests.unit.steps.recorded_answers import said

from drrun.spi import Refused
from drrun.testing import FakeGroup, FakeHost
from drrun_steps.host import HostAddresses, HostPeers
from drrun_steps.kube.announced import Announcements, KubeAnnounced
from drrun_steps.kube.listed import AllListed
from drrun_steps.kube.masterleases import Announced
from drrun_steps.kube.nodes import KubeNodes, Node, Nodes
from drrun_steps.service.flags import ServiceFlag

ADVERTISED = ServiceFlag("kube-apiserver", "advertise-address")
HOSTS = ("cp1", "cp2")


def _host(number: int) -> FakeHost:
    """A host of a sound cluster of two: both announced, both Nodes, both connected to etcd."""
    servers = tuple(Announced(f"10.0.0.{n}", renewed=True) for n in (1, 2))
    nodes = tuple(Node(f"cp{n}", (f"10.0.0.{n}",)) for n in (1, 2))
    return FakeHost(
        f"cp{number}",
        {
            HostAddresses(): ("127.0.0.1", f"10.0.0.{number}"),
            ADVERTISED: (),
            KubeAnnounced(): Announcements(servers),
            KubeNodes(): Nodes(nodes),
            HostPeers(2379): ("10.0.0.1", "10.0.0.2", "127.0.0.1"),
        },
    )


@pytest.fixture(name="sound")
def _sound() -> FakeGroup:
    hosts = [_host(1), _host(2)]
    return FakeGroup(hosts, {"etcd": hosts, "control_plane": hosts})


def _answer(group: FakeGroup, fact: object, answer: object) -> None:
    for host in group.hosts:
        host.answers[fact] = answer  # type: ignore[index]


def test_a_cluster_whose_hosts_are_all_listed_passes_without_a_word(sound: FakeGroup) -> None:
    """Announced, registered and connected, each under an address that a host has."""
    AllListed().run(sound)
    assert sound.notes == []


@pytest.mark.parametrize(
    ("fact", "answer", "words"),
    [
        (
            KubeAnnounced(),
            Announcements((Announced("10.0.0.4", renewed=True),)),
            "10.0.0.4 is announced as an API server",
        ),
        (
            KubeNodes(),
            Nodes((Node("cp4", ("10.0.0.4", "fd00::4")),)),
            "the Node cp4 of the control plane has 10.0.0.4",
        ),
        (HostPeers(2379), ("10.0.0.4",), "10.0.0.4 is connected to etcd on cp1"),
    ],
    ids=["announced", "node", "connected"],
)
def test_an_address_that_no_host_explains_refuses_until_it_is_accepted(
    sound: FakeGroup, fact: object, answer: object, words: str
) -> None:
    """By name, with the next move; accepted it is passed over and noted."""
    _answer(sound, fact, answer)
    with pytest.raises(Refused) as refused:
        AllListed().run(sound)
    assert words in refused.value.message
    assert refused.value.hint.endswith("accept_servers=10.0.0.4")
    AllListed(accept_servers="10.0.0.4").run(sound)  # type: ignore[arg-type]
    assert any(words in note and "as accepted" in note for note in sound.notes)


def test_an_api_server_on_a_host_of_etcd_alone_is_not_explained(sound: FakeGroup) -> None:
    """cp2 is a member of etcd, and its API server would not be stopped."""
    sound.roles["control_plane"] = [sound["cp1"]]
    with pytest.raises(Refused, match=r"10\.0\.0\.2 is announced"):
        AllListed().run(sound)


def test_an_announced_address_that_nobody_renews_is_no_api_server(sound: FakeGroup) -> None:
    """It is said; the restore prunes it."""
    _answer(sound, KubeAnnounced(), Announcements((Announced("10.0.0.4", renewed=False),)))
    AllListed().run(sound)
    assert sound.notes == ["10.0.0.4 is announced as an API server, and nobody renews it"]


def test_an_address_that_a_host_announces_explains_it(sound: FakeGroup) -> None:
    """A shared or translated address, by the API server's own flag; however IPv6 is spelled."""
    _answer(sound, KubeAnnounced(), Announcements((Announced("fd00:0:0::9", renewed=True),)))
    sound["cp2"].answers[ADVERTISED] = ("fd00::9",)
    AllListed().run(sound)
    assert sound.notes == []


def test_the_node_of_a_fenced_host_is_explained_and_its_api_server_is_not(
    sound: FakeGroup,
) -> None:
    """A Node outlives its host; an announcement that is renewed says that the fence does not hold."""
    sound.fenced = ("cp3",)
    _answer(sound, KubeNodes(), Nodes((Node("cp3.example.org", ("10.0.0.3",)),)))
    AllListed().run(sound)
    _answer(sound, KubeAnnounced(), Announcements((Announced("10.0.0.3", renewed=True),)))
    with pytest.raises(Refused, match=r"10\.0\.0\.3 is announced"):
        AllListed().run(sound)


def test_what_could_not_be_read_is_said(sound: FakeGroup) -> None:
    """A cluster that is down passes, and nobody may think that it was asked."""
    _answer(sound, KubeAnnounced(), Announcements(why="no answer in time"))
    _answer(sound, KubeNodes(), Nodes(why="connection refused"))
    AllListed().run(sound)
    assert sound.notes == [
        "who is announced as an API server was not read: cp1: no answer in time; cp2: no answer in time",
        (
            "which Nodes carry the control plane was not read: "
            "cp1: connection refused; cp2: connection refused"
        ),
    ]


def test_one_host_that_answers_is_enough(sound: FakeGroup) -> None:
    """A dead member beside a live one hides nothing, and there is nothing to say."""
    sound["cp1"].answers[KubeAnnounced()] = Announcements(why="connection refused")
    sound["cp2"].answers[KubeAnnounced()] = Announcements((Announced("10.0.0.4", renewed=True),))
    with pytest.raises(Refused, match=r"10\.0\.0\.4 is announced"):
        AllListed().run(sound)
    assert sound.notes == []


def test_an_etcd_or_an_api_server_that_does_not_answer_is_an_answer() -> None:
    """Why is kept; what answers is read."""
    dead = KubeAnnounced().parse(said("", code=1, err="Error: context deadline exceeded"))
    assert dead == Announcements(why="context deadline exceeded")
    assert KubeAnnounced().parse(said("7587 10.0.0.1\n")).servers == (
        Announced("10.0.0.1", renewed=True),
    )
    assert KubeNodes().parse(said("", code=3, err="connection refused")).why == "connection refused"
    found = KubeNodes().parse(said("cp2 10.0.0.2\ncp1 10.0.0.1 fd00::1\ncp1 10.0.0.1 fd00::1\n"))
    assert found.nodes == (Node("cp1", ("10.0.0.1", "fd00::1")), Node("cp2", ("10.0.0.2",)))


def test_addresses_and_peers_are_the_kernels() -> None:
    """Without `ip`, which a minimal host has not."""
    six = "00000000000000000000000000000001"
    found = HostAddresses().parse(said(f"127.0.0.1\n10.0.0.1\n10.0.0.1\n{six}\n"))
    assert found == ("10.0.0.1", "127.0.0.1", "::1")
    with pytest.raises(ValueError, match="addresses"):
        HostAddresses().parse(said(""))
    line = "   0: 0100000A:094B 0400000A:A002 {} 00:0 00:0 00:0 0 0 0 1 0\n"
    assert HostPeers(2379).parse(said(line.format("01"))) == ("10.0.0.4",)
    assert HostPeers(2379).parse(said(line.format("06"))) == ()
