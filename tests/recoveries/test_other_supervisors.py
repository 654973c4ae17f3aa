"""Hosts on which neither systemd nor kubelet runs the control plane: the guide's own command does."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.steps.test_own import script_of_the_guide

from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Operator

from .conftest import Matrix
from .states import MEMBERS
from .test_restore import restore

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

TAKE_OVER = r"""
set -e
mkdir -p /etc/drrun/services /etc/drrun/words
cat >/etc/drrun/services/etcd; chmod 755 /etc/drrun/services/etcd
echo etcd >/etc/drrun/user-etcd
for name in etcd kube-apiserver kube-controller-manager kube-scheduler; do
  [ -e "/etc/drrun/services/$name" ] || cp -p /etc/drrun/services/etcd "/etc/drrun/services/$name"
  {
    for file in $(systemctl show -p EnvironmentFiles --value $name | sed 's/ (.*//'); do tr -d '"' <$file; done
    systemctl show -p Environment --value $name | tr ' ' '\n'
    systemctl show -p ExecStart --value $name | sed 's/.*argv\[\]=\(.*\) ; ignore_errors=.*/\1/' | tr ' ' '\n'
  } | grep . >/etc/drrun/words/$name
done
systemctl stop kube-apiserver kube-controller-manager kube-scheduler etcd
rm -f /etc/systemd/system/etcd.service /etc/systemd/system/kube-*.service
systemctl daemon-reload
for name in etcd kube-apiserver kube-controller-manager kube-scheduler; do
  /etc/drrun/services/$name start
done
"""
"""The same programs with the same words, and no unit of them left."""
STATUS = "for s in /etc/drrun/services/*; do $s status >/dev/null || echo $s down; ! $s held || echo $s held; done"


def test_a_restore_where_the_hosts_own_commands_run_everything(
    fresh: Lab, operator: Operator, matrix: Matrix, tmp_path: Path
) -> None:
    """The snapshot's objects are back and none of later; all runs as before, and nothing is held."""
    for host in MEMBERS:
        done = fresh.ssh(host, TAKE_OVER, stdin=script_of_the_guide())
        assert done.returncode == 0, done.stderr
    fresh.wait_ready()
    path = tmp_path / "snapshot.db"
    objects = rehearsal.write_objects(fresh, "before", 20)
    saved = operator.drrun("etcd-backup.yaml", "-e", f"to={path}", "--yes", "--no-input")
    assert saved.returncode == 0, saved.stdout + saved.stderr
    rehearsal.write_objects(fresh, "after", 10)
    with matrix.cell("restore where the hosts' own commands run everything", fresh) as remarks:
        code, told = restore(operator, path)
        assert code == 0, told
        assert rehearsal.read_objects(fresh) == objects
        assert rehearsal.disagreement(rehearsal.members(fresh)) == ""
        kept = rehearsal.kept(fresh, operator.newest())
        assert [(k.owner, k.mode) for k in kept] == [("etcd:etcd", "700")] * 3
        assert not any(text.strip() for text in rehearsal.each(fresh, STATUS, MEMBERS).values())
        remarks.append(
            "20 objects of the snapshot, none of 10 later ones; started by start-stop-daemon"
        )
