"""What the suite is to show, and what was seen of it: a cell for each scenario, layout and etcd.

A cell that was seen is kept in seen.json with its day; one that was not says why.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

SEEN = Path(__file__).with_name("seen.json")
LAYOUTS = ("systemd", "kubeadm")
ETCDS = ("3.4", "3.5")
PASS = "pass"


@dataclass(frozen=True, slots=True)
class Cell:
    """One scenario on one kind of cluster: how it ended, on which day, in how many seconds."""

    scenario: str
    layout: str
    line: str
    etcd: str
    result: str
    seconds: float
    remark: str
    day: str

    @property
    def key(self) -> str:
        """What it is a cell of."""
        return f"{self.scenario} | {self.layout} | {self.line}"


@dataclass(frozen=True, slots=True)
class Scenario:
    """A recovery: the acceptance check that it shows ("" for none), and where it is not run."""

    check: str = ""
    without: Mapping[str, str] = field(default_factory=dict)
    """Layout -> why it is not run there."""


_WHOLE = {"kubeadm": "members and API servers share their hosts: the row above is that"}

SCENARIOS: Mapping[str, Scenario] = {
    "restore all members from a snapshot": Scenario("A1"),
    "a member that does not start: refused by the gate, undone": Scenario("A5"),
    "an API server that does not stop: refused, undone": Scenario("A3"),
    "a client that watched before the restore": Scenario("A11"),
    "restore onto mount points, with the log elsewhere": Scenario("A13"),
    "restore where the hosts' own commands run everything": Scenario(
        "", {"kubeadm": "a layout of its own: no kubelet runs it"}
    ),
    "restore a database of 2 GB": Scenario(),
    "restore a cluster of a single host": Scenario("A1"),
    "save from stopped members, restore that": Scenario("A1"),
    "restore one member, the others join": Scenario(),
    "a fourth API server that nobody listed": Scenario(),
    "writers paused by name, resumed at all-clear": Scenario(),
    "writers in pods, paused by name": Scenario(),
    "kubelets of workers, one of two away": Scenario(),
    "NOSPACE: compact, defragment, disarm": Scenario("A6"),
    "rescue from one live survivor of three": Scenario("A7"),
    "rescue from one stopped survivor, two fenced": Scenario("A7"),
    "grow the rescued member to three again": Scenario("A7"),
    "replace a dead member, repaired, by itself": Scenario("A8"),
    "replace a dead member by another host": Scenario("A8"),
    "replace a lost host by a new machine, API server and all": Scenario("A8", _WHOLE),
    "grow from 3 to 5": Scenario("A9"),
    "shrink from 5 to 3": Scenario("A9"),
    "shrink to one member, grow to three again": Scenario("A9"),
    "another tool restored: what is left over is told and mended": Scenario("A12"),
    "drill on a member: restored, booted, counted": Scenario("A14"),
    "drill on a spare: restored, booted, counted": Scenario("A14"),
    "restart all members one by one": Scenario(),
    "upgrade all members: 3.4 to 3.5, 3.5 to its newest": Scenario(
        "", {"kubeadm": "refused: `kubeadm upgrade` changes the image of its etcd"}
    ),
    "restart the control plane, one host at a time": Scenario(),
    "tell every API server of all members": Scenario(),
    "expired certificates: the cluster is dead, and back without a restore": Scenario("A10"),
    "certificates that end soon, renewed under a writer": Scenario(),
    "three members, three snapshots: healthy, and refused": Scenario(),
    "a diverged member is found and rebuilt": Scenario(),
    "keys saved apart; a host with others is refused": Scenario(),
    "all hosts gone: rebuilt on others from keys and snapshot": Scenario(),
}

ELSEWHERE = {
    "A2": "damaged, cut, empty, foreign snapshots, another one on one host: refused before any stop, "
    "by `make test` (tests/lab/test_refused.py, test_killed.py) and `make test-recoveries`",
    "A4": "killed after every journal append and every remote effect, and resumed: `make test-crash`",
    "A12": "leftovers of an emergency are found by `etcd-preflight` (unit tests); proxies are not in the "
    "environment of any question; a planted masterlease goes with the restore of a single host",
}


def wanted() -> Iterator[tuple[str, str, str, str]]:
    """Scenario, layout, line of etcd, and why it cannot run (empty when it can)."""
    for name, scenario in SCENARIOS.items():
        for layout in LAYOUTS:
            for line in ETCDS:
                yield name, layout, line, scenario.without.get(layout, "")


def seen() -> dict[str, Cell]:
    """The kept cells, by what they are cells of."""
    raw = json.loads(SEEN.read_text()) if SEEN.exists() else []
    return {cell.key: cell for cell in (Cell(**one) for one in raw)}


def keep(cells: list[Cell]) -> None:
    """Keep these; the newer one of a kind counts."""
    known = {**seen(), **{cell.key: cell for cell in cells}}
    rows = [dataclasses.asdict(known[key]) for key in sorted(known)]
    SEEN.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
