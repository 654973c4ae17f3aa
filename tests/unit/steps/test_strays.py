"""Nodes and pods of a restored cluster against those that there are."""

from __future__ import annotations

import pytest
from tests.unit.steps.recorded_answers import said

from drrun.spi import NotKnown, Refused, StepFailed
from drrun.testing import FakeGroup, FakeHost
from drrun_steps.kube.orphans import KubeOrphans, Orphans
from drrun_steps.kube.strays import (
    KubeAllNodes,
    KubePods,
    KubePodsRunning,
    MissingNodes,
    Node,
    Phantoms,
)

ONE, TWO = "0cf6be1e-5b4e-4b58-8d2a-0123456789ab", "1cf6be1e-5b4e-4b58-8d2a-0123456789ab"


def group(api: FakeHost, *hosts: FakeHost) -> FakeGroup:
    """Nodes, and the host whose API server is asked."""
    return FakeGroup(hosts, roles={"control_plane[0]": [api]})


def test_nodes_are_told_with_readiness_and_addresses() -> None:
    """One that never reported has no condition, and is not ready."""
    told = "cp1|True|10.0.0.1 cp1 \nw1|Unknown|10.0.0.4 \nw2||\n"
    assert KubeAllNodes().parse(said(told)) == (
        Node("cp1", ready=True, addresses=("10.0.0.1", "cp1")),
        Node("w1", ready=False, addresses=("10.0.0.4",)),
        Node("w2", ready=False),
    )
    for fact in (KubeAllNodes(), KubePods()):
        with pytest.raises(StepFailed, match="API server tells no"):
            fact.parse(said("", code=1, err="connection refused"))


def test_who_is_missing_and_who_is_not_ready_is_told() -> None:
    """By name or by address; nothing is refused: whether a machine is gone only its owner knows."""
    nodes = (Node("cp1", ready=True), Node("ip-4", ready=False, addresses=("10.0.0.4",)))
    api = FakeHost("cp1", {KubeAllNodes(): nodes, KubeOrphans(): Orphans(pods=("default/lost",))})
    told = group(api, api, FakeHost("w1", address="10.0.0.4"), FakeHost("w2"))
    assert MissingNodes().run(told) == {"not_ready": ["ip-4"], "missing": ["w2"]}
    assert "no Node: w2" in told.notes[0]
    assert "not ready: ip-4" in told.notes[1]
    assert "controllers will delete default/lost" in told.notes[2]


def test_a_cluster_without_nodes_misses_none() -> None:
    """A control plane of units alone has no kubelet."""
    api = FakeHost("cp1", {KubeAllNodes(): (), KubeOrphans(): Orphans()})
    told = group(api, api)
    assert MissingNodes().run(told) == {"not_ready": [], "missing": []}
    assert told.notes == []


def test_a_pod_that_the_api_does_not_know_must_end() -> None:
    """Named by its UID while it runs, and waited for; a pod that it knows is none of them."""
    running = iter([(ONE, TWO), (ONE, TWO), (ONE, TWO), (ONE,)])
    node = FakeHost("w1", {KubePodsRunning(): lambda _host: next(running)})
    api = FakeHost("cp1", {KubePods(): (ONE,)})
    with pytest.raises(Refused, match="holds its addresses"):
        Phantoms().run(group(api, node))
    assert TWO in node.notes[0]
    assert ONE not in node.notes[0]
    Phantoms().run(group(api, node))


def test_what_is_not_known_yet_is_compared_by_the_run() -> None:
    """A dry-run, behind a kubelet's restart."""
    node = FakeHost("w1", {KubePodsRunning(): NotKnown("after a restart")})
    Phantoms().run(group(FakeHost("cp1", {KubePods(): ()}), node))
    assert "when its kubelet has restarted" in node.notes[0]
