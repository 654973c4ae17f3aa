"""Every stock runbook with the state of a real cluster that it is for, and how it is asked for then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from tests.recoveries.expiry import end_in
from tests.recoveries.states import (
    BARE,
    GONE,
    INSTALL,
    MEMBERS,
    announces_a_dead_server,
    dies_for_good,
    dies_with_its_data,
    diverges,
    is_full_of_holes,
    knows_one_member,
    laid_ready,
    runs_out_of_space,
    stops_one_by_one,
)

from drrun.errors import LabError
from drrun_lab import Lab, rehearsal
from drrun_lab.etcd import NEWEST
from drrun_lab.operator import Operator
from drrun_lab.waiting import until

Happens = Callable[[Lab, Operator, Path], object]


def _nothing(_lab: Lab, _operator: Operator, _folder: Path) -> None:
    """A healthy cluster."""


def _saved(lab: Lab, operator: Operator, folder: Path) -> None:
    """Objects were written, and a snapshot was saved."""
    rehearsal.write_objects(lab, "before", 20)
    _must(operator, "etcd-backup.yaml", "-e", f"to={folder}/snapshot.db")


def _saved_then_destroyed(lab: Lab, operator: Operator, folder: Path) -> None:
    """A snapshot was saved, more was written, then everything is lost."""
    _saved(lab, operator, folder)
    rehearsal.write_objects(lab, "after", 10)
    rehearsal.destroy(lab)


def _keys_saved(operator: Operator, folder: Path) -> None:
    files = ("-e", f"to={folder}/snapshot.db", "-e", f"keys_to={folder}/keys.tar")
    _must(operator, "etcd-backup.yaml", *files)


def _gone(lab: Lab, operator: Operator, folder: Path) -> None:
    """Snapshot and keys were saved, then every host lost all that it had; sp1 is a bare machine."""
    rehearsal.write_objects(lab, "before", 20)
    _keys_saved(operator, folder)
    rehearsal.each(lab, GONE, [host.name for host in lab.layout.members])
    rehearsal.each(lab, BARE, ["sp1"])


def _one_host_dies(lab: Lab, operator: Operator, folder: Path) -> None:
    """Keys were saved, then cp2's member died with its data; sp1 is a bare machine."""
    _keys_saved(operator, folder)
    dies_with_its_data(lab, "cp2")
    rehearsal.each(lab, BARE, ["sp1"])


def _five(_lab: Lab, operator: Operator, _folder: Path) -> None:
    """The spares are members as well."""
    _must(operator, "etcd-grow.yaml", "-e", "role.new=spare")


def _left_out(lab: Lab, operator: Operator) -> None:
    """A member died with its machine, and the others went on without it; now it is there again."""
    lab.power_cut("cp2")
    script = (
        f"{rehearsal.ETCDCTL} member remove "
        f"$({rehearsal.ETCDCTL} member list | sed -n 's/^\\([0-9a-f]*\\), [a-z]*, cp2,.*/\\1/p')"
    )
    until(
        lambda: lab.ssh("cp1", script).returncode == 0,
        timeout=60,
        every=1,
        awaiting="the others to let cp2 go",
    )
    lab.power_on("cp2")
    until(lambda: lab.ssh("cp2", "true").returncode == 0, timeout=90, awaiting="sshd of cp2")


def _ending(lab: Lab, _operator: Operator, _folder: Path) -> None:
    """All certificates end in nine days; others with the same keys lie ready."""
    end_in(lab, MEMBERS, timedelta(days=365), below="/root/new")
    end_in(lab, MEMBERS, timedelta(days=9))


def _newer_ready(lab: Lab, _operator: Operator, folder: Path) -> None:
    """The newest release of etcd lies in a folder of each host."""
    (folder / NEWEST).write_text(laid_ready(lab, NEWEST))


def _must(operator: Operator, *words: str) -> None:
    done = operator.drrun(*words, "--yes", "--no-input", timeout=600)
    if done.returncode != 0:
        raise LabError(f"{words[0]} failed: {done.stdout}{done.stderr}")


@dataclass(frozen=True)
class Scenario:
    """What happened to the cluster, and the inputs with which the runbook is run then."""

    state: str
    """In words, for the page."""
    inputs: Mapping[str, str]
    """`{folder}` is a folder of the scenario's own on the controller, `{newest}` what its file says."""
    happens: Happens = _nothing

    def answers(self, folder: Path) -> dict[str, str]:
        """The inputs, with the folder in them."""
        told = folder / NEWEST
        newest = told.read_text() if told.exists() else ""
        return {n: value.format(folder=folder, newest=newest) for n, value in self.inputs.items()}


PENDING: Mapping[str, str] = {}
"""Stock runbooks without figures, and why: told by name wherever the figure is told."""

SCENARIOS: Mapping[str, Scenario] = {
    "etcd-preflight": Scenario("healthy", {}),
    "etcd-backup-stopped": Scenario(
        "every member killed, cp1 first",
        {"to": "{folder}/stopped.db"},
        lambda lab, _operator, _folder: stops_one_by_one(lab),
    ),
    "etcd-readmit": Scenario(
        "cp2 off, removed from the members, and on again with its old data",
        {"role.back": "cp2"},
        lambda lab, operator, _folder: _left_out(lab, operator),
    ),
    "etcd-backup": Scenario(
        "healthy; the keys are asked for as well",
        {"to": "{folder}/saved.db", "keys_to": "{folder}/keys.tar"},
    ),
    "restore-cluster": Scenario(
        "every member killed, two wiped, one overwritten with noise",
        {"snapshot": "{folder}/snapshot.db", "accept_unreadable": "cp3"},
        _saved_then_destroyed,
    ),
    "rebuild-control-plane": Scenario(
        "everything on cp1 to cp3 stopped and wiped; sp1 is a bare machine",
        {
            "role.etcd": "sp1",
            "role.control_plane": "sp1",
            "snapshot": "{folder}/snapshot.db",
            "keys": "{folder}/keys.tar",
            "accept_unlisted": "cp1,cp2,cp3",
        },
        _gone,
    ),
    "control-plane-join": Scenario(
        "cp2 killed and wiped; sp1, a bare machine, takes its place",
        {"role.failed": "cp2", "role.new": "sp1", "keys": "{folder}/keys.tar"},
        _one_host_dies,
    ),
    "etcd-member-replace": Scenario(
        "cp2 killed and wiped; sp1 takes its place",
        {"role.failed": "cp2", "role.new": "sp1"},
        lambda lab, _operator, _folder: dies_with_its_data(lab, "cp2"),
    ),
    "etcd-grow": Scenario("healthy, two spare hosts", {"role.new": "spare"}),
    "etcd-shrink": Scenario(
        "healthy, five members", {"role.etcd": "etcd | spare", "role.leaving": "spare"}, _five
    ),
    "etcd-rolling": Scenario("healthy", {}),
    "etcd-upgrade": Scenario(
        "healthy; a newer release lies ready on each host",
        {"to": "{newest}", "by": INSTALL},
        _newer_ready,
    ),
    "etcd-defrag": Scenario(
        "databases with 20 MB that compaction has freed",
        {"least": "1"},
        lambda lab, _operator, _folder: is_full_of_holes(lab),
    ),
    "etcd-nospace": Scenario(
        "alarm NOSPACE raised by real writes",
        {},
        lambda lab, _operator, _folder: runs_out_of_space(lab),
    ),
    "etcd-quorum-rescue": Scenario(
        "cp2 and cp3 killed and wiped, cp1 alive without a quorum",
        {"to": "{folder}/survivor.db"},
        lambda lab, _operator, _folder: dies_for_good(lab),
    ),
    "etcd-corrupt-member": Scenario(
        "cp2 restored from another snapshot than the others; all healthy",
        {"role.bad": "cp2"},
        lambda lab, _operator, _folder: diverges(lab, "cp2"),
    ),
    "restore-cluster-seed": Scenario(
        "every member killed, two wiped, one overwritten with noise",
        {"snapshot": "{folder}/snapshot.db", "role.seed": "cp1", "accept_unreadable": "cp3"},
        _saved_then_destroyed,
    ),
    "backup-drill": Scenario(
        "healthy; the drill is on cp1, beside its live etcd",
        {"snapshot": "{folder}/snapshot.db", "role.drill": "cp1"},
        _saved,
    ),
    "control-plane-restart": Scenario("healthy", {}),
    "post-restore-reconcile": Scenario(
        "an API server that is dead is announced by a key without a lease",
        {},
        lambda lab, _operator, _folder: announces_a_dead_server(lab),
    ),
    "kube-certs-renew": Scenario(
        "certificates that end in nine days; new ones lie ready on each host",
        {"by": "cp -a /root/new/. /"},
        _ending,
    ),
    "apiserver-etcd-servers": Scenario(
        "every API server knows cp1's etcd alone",
        {},
        lambda lab, _operator, _folder: knows_one_member(lab),
    ),
}
"""Runbook -> its scenario. A test fails by name for a stock runbook that has none."""
