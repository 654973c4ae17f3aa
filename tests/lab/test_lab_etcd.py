"""Smaller labs beside others: only etcd, the older line, and an `up` that was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from drrun.errors import LabError
from drrun_lab import Lab, LabSpec, Progress
from drrun_lab.commands import run
from drrun_lab.waiting import until

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="booting hosts needs root"),
    pytest.mark.timeout(900),
]
OLD = LabSpec(hosts=1, etcd="3.4", kube=False)
NEW = LabSpec(hosts=1, etcd="3.5", kube=False)
WITH_SPARE = LabSpec(hosts=1, etcd="3.5", kube=False, spares=1)


@pytest.fixture(scope="module")
def old() -> Iterator[Lab]:
    """One host with etcd 3.4 and nothing else."""
    lab = Lab.up("labtest-old", OLD, progress=Progress(quiet=True))
    yield lab
    lab.down()


def test_the_older_line_has_no_etcdutl(old: Lab) -> None:
    """The 3.4 line restores with etcdctl alone: a runbook has to cope with it."""
    told = old.ssh("cp1", "etcdctl version; command -v etcdutl || echo none").stdout
    assert "etcdctl version: 3.4." in told
    assert told.endswith("none\n")


def test_two_labs_stand_side_by_side(old: Lab) -> None:
    """Their subnets, bridges and keys differ, and one's end does not touch the other."""
    new = Lab.up("labtest-new", NEW, progress=Progress(quiet=True))
    try:
        assert not new.layout.subnet.overlaps(old.layout.subnet)
        assert {"labtest-old", "labtest-new"} <= set(Lab.names())
        told = new.ssh("cp1", "etcdutl snapshot restore --help | grep -c bump-revision").stdout
        assert int(told) >= 1
    finally:
        new.down()
    assert old.ssh("cp1", "systemctl is-active etcd").stdout == "active\n"


def test_another_shape_of_a_lab_that_is_there_is_refused(old: Lab) -> None:
    """`up` never throws a lab's data away to fit a new wish."""
    with pytest.raises(LabError, match="another shape") as caught:
        Lab.up("labtest-old", NEW, progress=Progress(quiet=True))
    assert "drrun lab down --name labtest-old" in caught.value.hint


def test_an_etcd_lab_resets_too(old: Lab) -> None:
    """What was written after `up` is gone."""
    etcd = "etcdctl --cacert=$P/ca.crt --cert=$P/server.crt --key=$P/server.key"
    prefix = f"P=/etc/kubernetes/pki/etcd; {etcd}"
    assert old.ssh("cp1", f"{prefix} put a b").stdout == "OK\n"
    old.reset()
    assert old.ssh("cp1", f"{prefix} get a").stdout == ""


def test_a_spare_can_become_a_member() -> None:
    """It needs nothing from outside: its certificates are trusted, its unit is there."""
    lab = Lab.up("labtest-spare", WITH_SPARE, progress=Progress(quiet=True))
    etcd = "etcdctl --cacert=$P/ca.crt --cert=$P/server.crt --key=$P/server.key"
    address = lab.layout.host("sp1").address
    try:
        assert lab.ssh("sp1", "systemctl is-active etcd").stdout == "inactive\n"
        add = (
            f"P=/etc/kubernetes/pki/etcd; {etcd} member add sp1 --peer-urls=https://{address}:2380"
        )
        assert lab.ssh("cp1", add).returncode == 0
        join = (
            f"sed -i '/^ETCD_INITIAL_CLUSTER=/s|\"$|,sp1=https://{address}:2380\"|' "
            "/etc/default/etcd && systemctl start etcd && systemctl is-active etcd"
        )
        assert lab.ssh("sp1", join).stdout == "active\n"
    finally:
        lab.down()


def test_an_up_that_was_killed_is_started_over() -> None:
    """SIGKILL half-way leaves a lab that `up` replaces and `down` removes."""
    command = [sys.executable, "-m", "drrun_lab", "up", "--name", "labtest-cut", "--hosts", "1"]
    with subprocess.Popen(
        [*command, "--no-kube"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "booting" in line:
                break
        process.send_signal(signal.SIGKILL)
    lab = Lab.up("labtest-cut", NEW, progress=Progress(quiet=True))
    try:
        assert lab.record.stage == "ready"
        assert lab.ssh("cp1", "systemctl is-active etcd").stdout == "active\n"
    finally:
        lab.down()
    until(
        lambda: lab.layout.bridge not in run(["ip", "link"]),
        timeout=5,
        awaiting="the bridge to go",
    )
