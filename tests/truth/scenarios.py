"""Every stock runbook with the state of a real cluster that it is for, and how it is asked for then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.recoveries.states import (
    BARE,
    GONE,
    dies_for_good,
    dies_with_its_data,
    diverges,
    is_full_of_holes,
    knows_one_member,
    runs_out_of_space,
)

from drrun.errors import LabError
from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Operator

Happens = Callable[[Lab, Operator, Path], None]


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


def _gone(lab: Lab, operator: Operator, folder: Path) -> None:
    """Snapshot and keys were saved, then every host lost all that it had; sp1 is a bare machine."""
    rehearsal.write_objects(lab, "before", 20)
    files = ("-e", f"to={folder}/snapshot.db", "-e", f"keys_to={folder}/keys.tar")
    _must(operator, "etcd-backup.yaml", *files)
    rehearsal.each(lab, GONE, [host.name for host in lab.layout.members])
    rehearsal.each(lab, BARE, ["sp1"])


def _five(_lab: Lab, operator: Operator, _folder: Path) -> None:
    """The spares are members as well."""
    _must(operator, "etcd-grow.yaml", "-e", "role.new=spare")


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
    """`{folder}` is a folder of the scenario's own on the controller."""
    happens: Happens = _nothing

    def answers(self, folder: Path) -> dict[str, str]:
        """The inputs, with the folder in them."""
        return {name: value.format(folder=folder) for name, value in self.inputs.items()}


PENDING: Mapping[str, str] = {}
"""Stock runbooks without figures, and why: told by name wherever the figure is told."""

SCENARIOS: Mapping[str, Scenario] = {
    "etcd-preflight": Scenario("healthy", {}),
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
    "apiserver-etcd-servers": Scenario(
        "every API server knows cp1's etcd alone",
        {},
        lambda lab, _operator, _folder: knows_one_member(lab),
    ),
}
"""Runbook -> its scenario. A test fails by name for a stock runbook that has none."""
