"""etcd taken to another version on real hosts, under a writer: 3.4 to 3.5, and 3.5 to its newest."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from drrun_lab import Lab, rehearsal
from drrun_lab.etcd import NEWEST
from drrun_lab.operator import Operator
from drrun_lab.prober import Prober

from .conftest import Matrix
from .states import INSTALL, MEMBERS, laid_ready

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]


@dataclass(frozen=True)
class Cluster:
    """Which version each member runs, and which the whole cluster has taken up."""

    members: set[str]
    cluster: str


def _versions(lab: Lab) -> Cluster:
    status = rehearsal.each(lab, f"{rehearsal.ETCDCTL} endpoint status -w json", MEMBERS)
    script = (
        "curl -s --cacert /etc/kubernetes/pki/etcd/ca.crt --cert /etc/kubernetes/pki/etcd/server.crt "
        "--key /etc/kubernetes/pki/etcd/server.key https://127.0.0.1:2379/version"
    )
    whole = json.loads(lab.ssh("cp1", script).stdout)["etcdcluster"]
    members = {json.loads(text)[0]["Status"]["version"] for text in status.values()}
    return Cluster(members, whole)


def _next(lab: Lab) -> str:
    """The release to go to, laid ready; sid's moves on, and may one day be too far."""
    if lab.layout.spec.etcd == "3.4":
        return laid_ready(lab, "3.5")
    newest = laid_ready(lab, NEWEST)
    if not newest.startswith("3.5."):
        pytest.skip(f"sid has etcd {newest} by now: no newer 3.5 to go to")
    return newest


def _asked(to: str, by: str = INSTALL) -> tuple[str, ...]:
    return ("etcd-upgrade.yaml", "-e", f"to={to}", "-e", f"by={by}", "--yes", "--no-input")


def test_members_are_upgraded_under_a_writer_that_loses_nothing(
    fresh: Lab, operator: Operator, matrix: Matrix
) -> None:
    """Refused before anything is touched where it must be; then every member, and no write lost."""
    to, before, was = _next(fresh), rehearsal.processes(fresh), _versions(fresh)
    for wrong, said in (("3.7.0", "one minor version at a time"), ("3.3.9", "is newer than")):
        refused = operator.drrun(*_asked(wrong))
        assert refused.returncode == 5, refused.stdout + refused.stderr
        assert said in refused.stdout + refused.stderr
    assert rehearsal.processes(fresh) == before
    with matrix.cell("upgrade all members: 3.4 to 3.5, 3.5 to its newest", fresh) as remarks:
        with Prober(fresh) as prober:
            done = operator.drrun(*_asked(to), timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        now = _versions(fresh)
        assert now.members == {to}
        assert now.cluster.startswith(to.rpartition(".")[0])
        assert prober.lost() == []
        remarks.append(
            f"{', '.join(was.members)} to {to}; 0 acknowledged writes lost, longest gap {prober.gap():.1f} s"
        )
    again = operator.drrun(*_asked(to, "exit 9"), timeout=600)
    assert again.returncode == 0, again.stdout + again.stderr


def test_what_is_not_what_was_asked_for_is_taken_back(fresh: Lab, operator: Operator) -> None:
    """The command fails, puts nothing there, or a flag is unknown: no member is restarted."""
    to, before, was = _next(fresh), rehearsal.processes(fresh), _versions(fresh)
    for by, said in (
        ("exit 3", "the command exits 3"),
        ("true", f"not {to}"),
        (f"{INSTALL}; echo '#!/bin/sh' >/usr/local/bin/etcd", f"is no etcd, not {to}"),
    ):
        failed = operator.drrun(*_asked(to, by), timeout=600)
        assert failed.returncode not in (0, 8), failed.stdout + failed.stderr
        assert said in failed.stdout + failed.stderr
        undone = operator.drrun("abort", operator.newest(), "--undo", "--no-input", timeout=300)
        assert undone.returncode == 8, undone.stdout + undone.stderr
    rehearsal.each(fresh, "echo ETCD_NO_SUCH_FLAG=1 >>/etc/default/etcd", MEMBERS)
    failed = operator.drrun(*_asked(to), timeout=600)
    assert f"etcd {to} does not know --no-such-flag" in failed.stdout + failed.stderr
    assert rehearsal.processes(fresh) == before
    assert _versions(fresh) == was


def test_an_upgrade_that_stops_halfway_is_undone(fresh: Lab, operator: Operator) -> None:
    """One member has the new version, the second cannot get it: all are back at the old one."""
    to, was = _next(fresh), _versions(fresh)
    by = f"[ ! -e /root/no ] || exit 4; {INSTALL}"
    rehearsal.each(fresh, "touch /root/no", ["cp2"])
    stopped = operator.drrun(*_asked(to, by), timeout=600)
    assert "the command exits 4" in stopped.stdout + stopped.stderr
    undone = operator.drrun("abort", operator.newest(), "--undo", "--no-input", timeout=600)
    assert undone.returncode == 8, undone.stdout + undone.stderr
    assert _versions(fresh) == was
    fresh.wait_ready()
