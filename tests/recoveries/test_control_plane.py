"""The control plane restarted and told of its members, while a client goes on writing."""

from __future__ import annotations

import pytest

from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Operator
from drrun_lab.prober import Prober

from .conftest import Matrix
from .states import MEMBERS, knows_one_member, urls
from .test_members import servers

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]
KUBE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")


def lives(lab: Lab) -> set[str]:
    """The ids of the present lives of everything of Kubernetes."""
    script = "".join(f"systemctl show --value -p InvocationID {name}\n" for name in KUBE)
    return set(" ".join(rehearsal.each(lab, script, MEMBERS).values()).split())


def test_a_rolling_restart_of_the_control_plane_loses_no_write(
    fresh: Lab, operator: Operator, matrix: Matrix
) -> None:
    """Everything is another instance, etcd is not touched, and a writer lost nothing."""
    before, etcd = lives(fresh), rehearsal.members(fresh)
    with matrix.cell("restart the control plane, one host at a time", fresh) as remarks:
        with Prober(fresh) as prober:
            done = operator.drrun("control-plane-restart.yaml", "--yes", "--no-input", timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        assert not before & lives(fresh)
        assert len(lives(fresh)) == 9
        assert rehearsal.members(fresh)[0].cluster == etcd[0].cluster
        assert prober.lost() == []
        remarks.append(f"0 acknowledged writes lost, longest gap {prober.gap():.1f} s")


def test_no_api_server_is_restarted_while_two_are_away(fresh: Lab, operator: Operator) -> None:
    """One server left is nobody to take away: refused, and it lives on."""
    rehearsal.each(fresh, "systemctl stop kube-apiserver", ["cp2", "cp3"])
    ask = "systemctl show --value -p InvocationID kube-apiserver"
    before = rehearsal.each(fresh, ask, MEMBERS)
    done = operator.drrun("control-plane-restart.yaml", "--yes", "--no-input", timeout=300)
    assert done.returncode in {1, 5}, done.stdout + done.stderr
    assert "kube-apiserver" in done.stdout + done.stderr
    assert rehearsal.each(fresh, ask, MEMBERS) == before
    assert not [e for e in operator.journal(operator.newest()) if e.type == "change.intended"]


def test_every_api_server_is_told_of_the_members_there_are(
    fresh: Lab, operator: Operator, matrix: Matrix
) -> None:
    """Servers that know cp1 alone are told of all three; a second run changes nothing."""
    knows_one_member(fresh)
    assert servers(fresh) == {urls(fresh, "cp1")}
    with matrix.cell("tell every API server of all members", fresh) as remarks:
        with Prober(fresh) as prober:
            done = operator.drrun("apiserver-etcd-servers.yaml", "--yes", "--no-input", timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        assert servers(fresh) == {urls(fresh, *MEMBERS)}
        assert prober.lost() == []
        remarks.append(f"0 acknowledged writes lost, longest gap {prober.gap():.1f} s")
    before = lives(fresh)
    again = operator.drrun("apiserver-etcd-servers.yaml", "--yes", "--no-input")
    assert again.returncode == 0, again.stdout + again.stderr
    assert lives(fresh) == before
