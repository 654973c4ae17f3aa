"""Proofs about the control plane."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.unit.steps.recorded_answers import said

from drrun.spi import Refused, StepFailed
from drrun.testing import FakeGroup, FakeHost
from drrun_steps import kube
from drrun_steps.host import HostBusy
from drrun_steps.kube.facts import KubeLease, KubeReady, KubeSecrets, Ready, Secrets
from drrun_steps.kube.masterleases import Announced, KubeMasterLeases, PruneMasterLeases
from drrun_steps.kube.steps import KubeProveDown, LeaseMoves, ReadSecret, ReadyStep
from drrun_steps.service.facts import ServiceHeld, ServiceState

_READYZ = (
    "[+]ping ok\n[+]etcd ok\n[-]poststarthook/rbac failed: reason withheld\nreadyz check failed\n"
)


def test_no_action_of_a_template_spans_two_lines() -> None:
    """The kubectl of 1.20 and before is built with a Go that knows no such template: it ends with an error."""
    for path in (Path(kube.__file__).parent).glob("*.py"):
        assert not re.search(r"\{\{[^}]*\n", path.read_text()), path.name


def test_ready_names_the_checks_that_failed() -> None:
    """Kubectl prints them on stderr with exit 1."""
    assert KubeReady().parse(said("[+]ping ok\nreadyz check passed\n")) == Ready(ready=True)
    found = KubeReady().parse(said("", code=1, err=_READYZ))
    assert found == Ready(ready=False, why="[-]poststarthook/rbac failed: reason withheld")


def test_only_counts_of_secrets_leave_the_host() -> None:
    """No name, no data, also not in the journal."""
    assert KubeSecrets().parse(said("listed=34\nread=yes\n")) == Secrets(34, read=True)
    failed = KubeSecrets().parse(said("", code=3, err="Internal error: no matching prefix found"))
    assert "no matching prefix" in failed.why
    assert "wc -c" in KubeSecrets().ask().text


def test_secrets_that_cannot_be_read_refuse_with_the_cause() -> None:
    """Other encryption keys than the snapshot's (hazard H11)."""
    host = FakeHost("cp1", {KubeSecrets(): Secrets(why="no matching prefix")})
    with pytest.raises(Refused, match="encryption keys"):
        ReadSecret().run(host)
    host.answers[KubeSecrets()] = Secrets(34, read=True)
    assert ReadSecret().run(host) == {"secrets": 34}
    host.answers[KubeSecrets()] = Secrets(0)
    with pytest.raises(Refused):
        ReadSecret(allow_none=False).run(host)
    ReadSecret().run(host)
    assert "not proved" in host.notes[0]


def test_ready_is_required() -> None:
    """With the failing checks in the message."""
    host = FakeHost("cp1", {KubeReady(): Ready(ready=False, why="[-]etcd failed")})
    with pytest.raises(Refused, match="etcd failed"):
        ReadyStep().run(host)


def test_down_passes_over_units_that_are_not_there_but_not_over_processes() -> None:
    """A host without a scheduler's unit may still run one by hand."""
    services = ("kube-apiserver", "kube-scheduler")
    busy = HostBusy(services, (6443,), (2379,))
    host = FakeHost(
        "cp1",
        {
            ServiceState("kube-apiserver"): "stopped",
            ServiceHeld("kube-apiserver"): True,
            ServiceState("kube-scheduler"): "missing",
            busy: ("10.0.0.9 is connected to port 2379",),
        },
    )
    step = KubeProveDown(services=services)
    with pytest.raises(Refused, match=r"10\.0\.0\.9"):
        step.run(host)
    host.answers[busy] = ()
    step.run(host)


def test_a_lease_must_move() -> None:
    """A health check stays ok while a controller cannot reach its API server."""
    fact = KubeLease("kube-scheduler")
    times = iter(["2026-11-23T00:00:01Z", "2026-11-23T00:00:03Z", "x", "x"])
    host = FakeHost("cp1", {fact: lambda _host: next(times)})
    LeaseMoves(components=("kube-scheduler",)).run(host)
    with pytest.raises(Refused, match="does nothing"):
        LeaseMoves(components=("kube-scheduler",)).run(host)


_LEASED = Announced("10.0.0.1", renewed=True)
_LEFT = Announced("10.9.9.9", renewed=False)


def test_an_announced_server_without_a_lease_is_one_that_nobody_renews() -> None:
    """Key and lease, as etcdctl tells them; an etcd that does not answer is no empty list."""
    found = KubeMasterLeases().parse(said("7587862 10.0.0.1\n0 10.9.9.9\n"))
    assert found == (_LEASED, _LEFT)
    with pytest.raises(StepFailed, match="who is announced"):
        KubeMasterLeases().parse(said("", code=1, err="context deadline exceeded"))


def test_only_where_one_is_left_anything_is_removed() -> None:
    """Servers that live are never touched: their keys have leases."""
    quiet = FakeHost("cp1", {KubeMasterLeases(): (_LEASED,)})
    PruneMasterLeases().run(FakeGroup([quiet]))
    assert quiet.changes == []
    left = FakeHost("cp1", {KubeMasterLeases(): (_LEASED, _LEFT)})
    PruneMasterLeases().run(FakeGroup([left]))
    assert left.change_names == ["prune"]
    assert "own txn" in left.changes[0].command.text
