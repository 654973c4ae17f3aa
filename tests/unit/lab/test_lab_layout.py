"""What a lab's parts are called and where they are is a function of its name, spec and subnet."""

from __future__ import annotations

from ipaddress import IPv4Network
from itertools import islice
from pathlib import Path

import pytest

from drrun.errors import LabError
from drrun_lab.inventory import inventory_text
from drrun_lab.layout import LabSpec, Layout, candidates, checked_name

SUBNET = IPv4Network("10.70.211.0/24")


def test_hosts_follow_the_spec() -> None:
    """Control-plane hosts count from .11, the load balancer is last, at .10."""
    layout = Layout("lab", LabSpec(hosts=2), SUBNET)
    assert [(h.name, h.address) for h in layout.hosts] == [
        ("cp1", "10.70.211.11"),
        ("cp2", "10.70.211.12"),
        ("lb", "10.70.211.10"),
    ]


def test_without_kubernetes_there_is_no_load_balancer() -> None:
    """Nothing would stand behind it."""
    layout = Layout("lab", LabSpec(kube=False), SUBNET)
    assert [host.name for host in layout.hosts] == ["cp1", "cp2", "cp3"]


def test_interface_names_fit_the_kernel() -> None:
    """Linux cuts interface names at 15 bytes; nspawn would then pick a name we do not know."""
    layout = Layout("a-name-of-thirty-bytes-at-most", LabSpec(hosts=9), SUBNET)
    assert all(len(layout.port(host)) <= 15 for host in layout.hosts)
    assert len({layout.port(host) for host in layout.hosts}) == len(layout.hosts)


def test_an_unknown_host_is_refused_with_the_known_ones() -> None:
    """A typo shows what there is."""
    with pytest.raises(LabError, match="no host cp7") as caught:
        Layout("lab", LabSpec(hosts=1), SUBNET).host("cp7")
    assert caught.value.hint == "it has: cp1, lb"


@pytest.mark.parametrize("name", ["", "Lab", "1lab", "a/b", "..", "a" * 40])
def test_a_name_that_cannot_be_a_folder_is_refused(name: str) -> None:
    """A lab's name becomes a folder below the state: it must not leave it."""
    with pytest.raises(LabError):
        checked_name(name)


@pytest.mark.parametrize("hosts", [0, 10])
def test_a_lab_has_one_to_nine_hosts(hosts: int) -> None:
    """Addresses and interface names are laid out for one digit."""
    with pytest.raises(LabError, match="1 to 9"):
        LabSpec(hosts=hosts)


def test_candidate_subnets_are_stable_and_distinct() -> None:
    """A rebuilt lab keeps its addresses; a collision has somewhere else to go."""
    first, again = list(islice(candidates("lab"), 20)), list(islice(candidates("lab"), 20))
    assert first == again
    assert len(set(first)) == 20
    assert next(candidates("lab")) != next(candidates("other"))
    assert all(subnet.subnet_of(IPv4Network("10.64.0.0/10")) for subnet in first)


def test_the_inventory_is_what_drrun_reads() -> None:
    """Every key of the inventory language, and the port as a string."""
    text = inventory_text(Layout("lab", LabSpec(), SUBNET), Path("/state/lab"), "uid-1")
    assert (
        text
        == """\
drrun_inventory: 1
name: lab
cluster_uid: uid-1
ssh: {user: root, port: "22", identity: /state/lab/id_ed25519, known_hosts: /state/lab/known_hosts}
layout: systemd
vars: {apiserver_lb: "https://10.70.211.10:6443"}
hosts:
  cp1: {address: 10.70.211.11}
  cp2: {address: 10.70.211.12}
  cp3: {address: 10.70.211.13}
  lb: {address: 10.70.211.10}
groups:
  etcd: [cp1, cp2, cp3]
  control_plane: [cp1, cp2, cp3]
  load_balancer: [lb]
"""
    )


def test_the_inventory_names_no_cluster_before_there_is_one() -> None:
    """An etcd-only lab has neither a cluster uid nor a load balancer to name."""
    text = inventory_text(Layout("lab", LabSpec(hosts=1, kube=False), SUBNET), Path("/s"))
    assert "cluster_uid" not in text
    assert "apiserver_lb" not in text
    assert text.endswith("groups:\n  etcd: [cp1]\n")


def test_spares_are_hosts_but_no_members() -> None:
    """A replacement is in a group of its own until a runbook makes it a member."""
    layout = Layout("lab", LabSpec(hosts=1, spares=1), SUBNET)
    assert [host.name for host in layout.hosts] == ["cp1", "sp1", "lb"]
    assert [host.name for host in layout.members] == ["cp1"]
    assert "  spare: [sp1]\n" in inventory_text(layout, Path("/s"))
