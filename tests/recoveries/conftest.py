"""The recovery suite: every stock recovery on real clusters, with a matrix of what was seen."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drrun_lab import Lab, LabSpec, Progress
from drrun_lab.layout import EtcdLine
from drrun_lab.operator import Operator

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "recoveries.md"


@dataclass(frozen=True)
class Cell:
    """One scenario on one kind of cluster: how it ended, and in how many seconds."""

    scenario: str
    layout: str
    etcd: str
    result: str
    seconds: float
    remark: str


@dataclass
class Matrix:
    """All the cells of a session."""

    cells: list[Cell] = field(default_factory=list)
    remark: str = ""

    @contextmanager
    def cell(self, scenario: str, lab: Lab) -> Iterator[list[str]]:
        """Time a scenario; what is put into the list is remarked in the table."""
        began, remarks, result = time.monotonic(), list[str](), "failed"
        try:
            yield remarks
            result = "pass"
        finally:
            etcd = lab.record.versions.get("etcd-server", lab.layout.spec.etcd)
            took = round(time.monotonic() - began, 1)
            self.cells.append(Cell(scenario, "systemd", etcd, result, took, "; ".join(remarks)))

    def table(self) -> str:
        """The cells as Markdown."""
        head = (
            "| scenario | layout | etcd | result | seconds | remarks |\n|---|---|---|---|---|---|\n"
        )
        rows = (
            f"| {c.scenario} | {c.layout} | {c.etcd} | {c.result} | {c.seconds} | {c.remark} |\n"
            for c in self.cells
        )
        return head + "".join(rows)


MATRIX = pytest.StashKey[Matrix]()


def pytest_configure(config: pytest.Config) -> None:
    """One matrix a session."""
    config.stash[MATRIX] = Matrix()


@pytest.fixture
def matrix(request: pytest.FixtureRequest) -> Matrix:
    """The session's matrix."""
    return request.config.stash[MATRIX]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Print the matrix; when every scenario ran, write the page."""
    matrix = config.stash[MATRIX]
    if not matrix.cells:
        return
    passed = sum(cell.result == "pass" for cell in matrix.cells)
    print(f"\n{matrix.table()}\nrecoveries: {passed} of {len(matrix.cells)}")
    if os.environ.get("DRRUN_WRITE_RECOVERIES"):
        PAGE.write_text(
            "# Recoveries, as they were seen\n\n"
            "Written by `make test-recoveries`, which runs every scenario on real hosts: booted\n"
            "machines with systemd, sshd, etcd and kube-apiserver 1.20.2 behind haproxy.\n\n"
            f"{matrix.table()}\n"
            "Not run: the layout static-pod (kubeadm), k3s and rke2 are not driven yet.\n"
        )


@pytest.fixture(scope="module", name="booted", params=["3.5", "3.4"])
def _booted(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Three control-plane hosts with two spares and a load balancer; kept ones are used again."""
    if os.geteuid() != 0:
        pytest.skip("booting hosts needs root")
    line: EtcdLine = request.param
    name = f"rec{line.replace('.', '')}"
    kept = name in Lab.names() and Lab.find(name).record.stage == "ready"
    spec = LabSpec(etcd=line, spares=2)
    lab = Lab.find(name, progress=Progress()) if kept else Lab.up(name, spec, progress=Progress())
    yield lab
    if not os.environ.get("DRRUN_KEEP_LAB"):
        lab.down()


@pytest.fixture
def fresh(booted: Lab) -> Lab:
    """The lab as it was right after its first boot."""
    booted.reset()
    return booted


@pytest.fixture
def operator(booted: Lab, tmp_path: Path) -> Operator:
    """Somebody with drrun and a folder for runs of their own."""
    return Operator(booted.inventory, tmp_path / "state")
