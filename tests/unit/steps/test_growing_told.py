"""The forecast of etcd-grow, member after member: nothing that is known gets lost on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.unit.steps.test_stock_without_hosts import bound

from drrun.execute.dry import Dry
from drrun.places import stock_runbooks
from drrun.registry import Registry
from drrun.spi import Fact
from drrun.values import HostName, Json
from drrun_steps.etcd.config import Config
from drrun_steps.etcd.disk import DataDir
from drrun_steps.etcd.live import Agreement, Member, Members, Status
from drrun_steps.etcd.membership import Membership
from drrun_steps.etcd.program import Program

INVENTORY = """
drrun_inventory: 1
name: five
hosts:
  cp[1-3]:
  sp[1-2]:
groups:
  etcd: [cp1, cp2, cp3]
  control_plane: [cp1, cp2, cp3]
"""
VOTERS = tuple(
    Member(
        id=str(n),
        name=f"cp{n}",
        peer_urls=(f"https://cp{n}:2380",),
        client_urls=(f"https://cp{n}:2379",),
        learner=False,
    )
    for n in (1, 2, 3)
)


def _said(host: HostName, fact: Fact[Any]) -> object:
    """What a healthy cluster of three answers, and two spares that are stopped and empty."""
    spare = host.startswith("sp")
    config = Config(
        found=True,
        name=str(host),
        data_dir="/var/lib/etcd",
        peer_urls=f"https://{host}:2380",
        client_url=f"https://{host}:2379",
    )
    answers: dict[str, object] = {
        "etcd.membership": Membership(VOTERS, ("1", "2", "3"), leader="1", quorum=True),
        "etcd.members": Members(answers=True, quorum=True, members=VOTERS),
        "etcd.config": config,
        "etcd.status": Status(answers=True, leads=host == "cp1", revision=5, has_leader=True),
        "etcd.agreement": Agreement(hashes=("a", "a", "a")),
        "etcd.program": Program("unit", "/usr/bin/etcd", "3.5.16"),
        "etcd.seat": "absent",
        "etcd.data": DataDir("empty"),
        "service.state": "stopped" if spare else "running",
        "service.held": False,
        "service.flag": ("as before",),
    }
    return answers[fact.name]


def _reader(host: HostName, facts: Sequence[Fact[Any]]) -> list[Json]:
    return [fact.answers.dump_python(_said(host, fact), mode="json") for fact in facts]


def test_every_member_that_joins_is_told_with_all_its_changes() -> None:
    """The first one's seat says nothing of the second's: both are told to the end, and what follows."""
    plan = bound(stock_runbooks() / "etcd-grow.yaml", INVENTORY, {"role.new": "sp1 | sp2"})
    told = Dry(plan, Registry(), _reader).forecast()
    assert not [unit for unit in told.units if unit.unknown or unit.refused]
    joined = [change.name for change in told.changes if change.step == "join"]
    each = ["set-initial-cluster", "set-initial-cluster-state", "add", "start", "promote"]
    assert joined == [f"{name}-{host}" for host in ("sp1", "sp2") for name in each]
    assert [str(c.host) for c in told.changes if c.step == "servers"] == [
        *("cp1", "cp1", "cp2", "cp2", "cp3", "cp3")
    ]
