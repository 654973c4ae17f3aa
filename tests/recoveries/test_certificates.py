"""Certificates that end, in every process of a real control plane."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Operator
from drrun_lab.prober import Prober

from .conftest import Matrix
from .expiry import come_back_expired, end_in, served
from .states import MEMBERS
from .test_static_pods import PODS, lives

pytestmark = [
    pytest.mark.lab,
    pytest.mark.timeout(1800),
    # Authorities that kubeadm made have the serial number 0.
    pytest.mark.filterwarnings("ignore:Parsed a serial number"),
]

DEAD = "expired certificates: the cluster is dead, and back without a restore"
LIVE = "certificates that end soon, renewed under a writer"
RUNBOOK = "kube-certs-renew.yaml"
LAID_READY = "/root/new"
FILES = "find /etc/kubernetes -type f | sort | xargs sha256sum"
BY = ("-e", f"by=cp -a {LAID_READY}/. /")


def _all_new(lab: Lab) -> bool:
    """Whether all that is served lasts more than 300 days."""
    return min(served(lab, *MEMBERS)) > datetime.now(UTC) + timedelta(days=300)


def _dead_and_back(lab: Lab, operator: Operator, matrix: Matrix, folder: Path, *words: str) -> None:
    """What both layouts show; the seconds are the runbook's."""
    before = rehearsal.write_objects(lab, "before", 20)
    cluster = rehearsal.members(lab)[0].cluster
    saved = operator.drrun("etcd-backup.yaml", "-e", f"to={folder}/s.db", "--yes", "--no-input")
    assert saved.returncode == 0, saved.stdout + saved.stderr
    come_back_expired(lab, MEMBERS)
    assert lab.kubectl("get", "namespaces").returncode != 0
    assert lab.ssh("cp1", f"{rehearsal.ETCDCTL} get x").returncode != 0

    restore = ("restore-cluster.yaml", "-e", f"snapshot={folder}/s.db", "--dry-run")
    refused = operator.drrun(*restore)
    assert refused.returncode == 5, refused.stdout + refused.stderr
    assert "have expired" in refused.stdout + refused.stderr
    assert "kube-certs-renew" in refused.stdout + refused.stderr
    looked = operator.drrun("etcd-preflight.yaml", "--yes", "--no-input")
    assert looked.returncode == 5, looked.stdout + looked.stderr
    assert "a certificate has expired" in looked.stdout + looked.stderr
    forecast = operator.drrun(RUNBOOK, *words, "--dry-run")
    assert forecast.returncode == 0, forecast.stdout + forecast.stderr

    with matrix.cell(DEAD, lab) as remarks:
        done = operator.drrun(RUNBOOK, *words, "--yes", "--no-input", timeout=1200)
        assert done.returncode == 0, done.stdout + done.stderr
        lab.wait_ready()
        assert _all_new(lab)
        assert rehearsal.read_objects(lab) == before
        members = rehearsal.members(lab)
        assert rehearsal.disagreement(members) == ""
        assert members[0].cluster == cluster
        remarks.append("all 20 objects, the same cluster, every served certificate new")


def test_pods_that_expired_come_back_without_a_restore(
    pods: Lab, operator: Operator, matrix: Matrix, tmp_path: Path
) -> None:
    """A10: kubelets that do not start, no quorum, no API server; kubeadm renews, and all is there."""
    _dead_and_back(pods, operator, matrix, tmp_path)


def test_pods_are_renewed_under_a_writer_that_loses_nothing(
    pods: Lab, operator: Operator, matrix: Matrix
) -> None:
    """Every process is another one and serves new certificates; a second run changes nothing."""
    end_in(pods, MEMBERS, timedelta(days=9))
    before = lives(pods, *PODS)
    with matrix.cell(LIVE, pods) as remarks:
        with Prober(pods) as prober:
            done = operator.drrun(RUNBOOK, "--yes", "--no-input", timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        assert not before & lives(pods, *PODS)
        assert _all_new(pods)
        assert prober.lost() == []
        remarks.append(f"0 acknowledged writes lost, longest gap {prober.gap():.1f} s")
    now = lives(pods, *PODS)
    again = operator.drrun(RUNBOOK, "--yes", "--no-input", timeout=600)
    assert again.returncode == 0, again.stdout + again.stderr
    assert lives(pods, *PODS) == now


def test_what_was_renewed_on_disk_alone_is_told_and_restarted(
    fresh: Lab, operator: Operator
) -> None:
    """Pitfall 40: a hand renewed one host's files; the preflight says so, the runbook restarts that host's alone."""
    end_in(fresh, ["cp2"], timedelta(days=365))
    looked = operator.drrun("etcd-preflight.yaml", "--yes", "--no-input")
    told = " ".join((looked.stdout + looked.stderr).split())
    assert looked.returncode == 5, told
    assert "cp2: kube-scheduler: /etc/kubernetes/scheduler.conf is newer" in told
    assert "cp1: kube" not in told
    before = rehearsal.processes(fresh)
    done = operator.drrun(RUNBOOK, "--yes", "--no-input", timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    after = rehearsal.processes(fresh)
    assert [host for host in MEMBERS if after[host] != before[host]] == ["cp2"]
    assert operator.drrun("etcd-preflight.yaml", "--yes", "--no-input").returncode == 0


def test_units_that_expired_come_back_by_the_operators_command(
    fresh: Lab, operator: Operator, matrix: Matrix, tmp_path: Path
) -> None:
    """A10: new certificates lie ready on the hosts, the command puts them in place of the old."""
    end_in(fresh, MEMBERS, timedelta(days=365), below=LAID_READY)
    _dead_and_back(fresh, operator, matrix, tmp_path, *BY)


def test_units_are_renewed_under_a_writer_that_loses_nothing(
    fresh: Lab, operator: Operator, matrix: Matrix
) -> None:
    """Without a command it is refused, by name of the first one that ends; with it all serve new ones."""
    end_in(fresh, MEMBERS, timedelta(days=365), below=LAID_READY)
    end_in(fresh, MEMBERS, timedelta(days=9))
    refused = operator.drrun(RUNBOOK, "--yes", "--no-input")
    assert refused.returncode == 5, refused.stdout + refused.stderr
    assert "nobody said how it is renewed" in refused.stdout + refused.stderr
    with matrix.cell(LIVE, fresh) as remarks:
        with Prober(fresh) as prober:
            done = operator.drrun(RUNBOOK, *BY, "--yes", "--no-input", timeout=900)
        assert done.returncode == 0, done.stdout + done.stderr
        assert _all_new(fresh)
        assert prober.lost() == []
        remarks.append(f"0 acknowledged writes lost, longest gap {prober.gap():.1f} s")


def test_new_ones_that_are_no_good_are_found_and_the_old_ones_put_back(
    fresh: Lab, operator: Operator
) -> None:
    """A command that puts another's certificate in place: no process is restarted, undo mends all files."""
    end_in(fresh, ["cp1"], timedelta(days=9))
    files, running = rehearsal.each(fresh, FILES, MEMBERS), rehearsal.processes(fresh)
    wrong = "cp /etc/kubernetes/pki/etcd/server.crt /etc/kubernetes/pki/apiserver.crt"
    done = operator.drrun(RUNBOOK, "-e", f"by={wrong}", "--yes", "--no-input")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "apiserver.crt: its key is not beside it" in done.stdout + done.stderr
    undone = operator.drrun("abort", operator.newest(), "--undo", "--no-input")
    assert undone.returncode == 8, undone.stdout + undone.stderr
    assert rehearsal.each(fresh, FILES, MEMBERS) == files
    assert rehearsal.processes(fresh) == running
