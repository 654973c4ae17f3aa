"""Stock runbooks on a cluster of three, bound as operators bind them: with hosts that are gone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from drrun.lang.inventory import load_inventory
from drrun.lang.load import load_runbook
from drrun.model.fencing import Fencing
from drrun.places import stock_runbooks
from drrun.plan.bind import bind
from drrun.plan.compile import compile_plan
from drrun.plan.plan import Plan
from drrun.registry import Registry
from drrun.values import HostName, RunId, StepId

INVENTORY = """
drrun_inventory: 1
name: three
hosts:
  cp[1-3]:
groups:
  etcd: [cp1, cp2, cp3]
  control_plane: [cp1, cp2, cp3]
"""


def planned(name: str, answers: dict[str, str], gone: Sequence[str] = ()) -> Plan:
    """The plan of a stock runbook, with hosts fenced. Raises AuthorError with every mistake."""
    return bound(stock_runbooks() / f"{name}.yaml", INVENTORY, answers, gone)


def bound(path: Path, text: str, answers: dict[str, str], gone: Sequence[str] = ()) -> Plan:
    """The plan of a runbook on the hosts of an inventory. Raises AuthorError with every mistake."""
    loaded = load_runbook(path)
    inventory = load_inventory(Path("inventory.yaml"), text)
    fenced = [Fencing(HostName(host), "power", "cut", "ann") for host in gone]
    binding = bind(loaded, inventory, answers, fenced=fenced)
    return compile_plan(
        loaded, inventory, binding, Registry(), run=RunId("r-test"), versions={}
    ).plan


@pytest.mark.parametrize("gone", [["cp1"], ["cp3"], ["cp2", "cp3"]])
def test_a_rescue_goes_on_without_the_hosts_that_are_fenced(gone: list[str]) -> None:
    """One or two of three: no unit is on them, and nothing is demanded of them."""
    plan = planned("etcd-quorum-rescue", {}, gone)
    assert not {str(host) for unit in plan.units for host in unit.hosts} & set(gone)


@pytest.mark.parametrize("gone", ["cp1", "cp2", "cp3"])
def test_a_restore_goes_on_without_a_host_that_is_fenced(gone: str, tmp_path: Path) -> None:
    """The rules that a restore carries ask no fenced host for a process or an API server."""
    snapshot = tmp_path / "s.db"
    snapshot.write_bytes(b"x")
    plan = planned("restore-cluster", {"snapshot": str(snapshot)}, [gone])
    assert not [unit for unit in plan.units if gone in unit.hosts]


def test_a_member_is_replaced_on_its_own_host() -> None:
    """The host that was stopped starts again by joining: the rules see that."""
    plan = planned("etcd-member-replace", {"role.failed": "cp2", "role.new": "cp2"})
    assert [str(host) for host in plan.units_of[StepId("join")][0].hosts] == ["cp2"]


def test_a_bad_member_is_rebuilt_on_its_own_host() -> None:
    """The same for one that differs from the others."""
    plan = planned("etcd-corrupt-member", {"role.bad": "cp2"})
    assert [str(host) for host in plan.units_of[StepId("join")][0].hosts] == ["cp2"]


def test_the_seed_is_one_of_the_members(tmp_path: Path) -> None:
    """The restore is of the seed alone, the others join."""
    snapshot = tmp_path / "s.db"
    snapshot.write_bytes(b"x")
    plan = planned("restore-cluster-seed", {"snapshot": str(snapshot), "role.seed": "cp2"})
    assert [u.hosts for u in plan.units_of[StepId("install")]] == [("cp2",)]
    assert plan.units_of[StepId("join")][0].hosts == ("cp1", "cp3")
