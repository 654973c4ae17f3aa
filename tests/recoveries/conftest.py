"""The recovery suite: every stock recovery on real clusters, with a matrix of what was seen."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.recoveries import page
from tests.recoveries.cells import PASS, SCENARIOS, Cell, keep

from drrun_lab import Lab, LabSpec, Progress
from drrun_lab.layout import EtcdLine
from drrun_lab.operator import Operator


@dataclass
class Matrix:
    """All the cells of a session."""

    cells: list[Cell] = field(default_factory=list)

    @contextmanager
    def cell(self, scenario: str, lab: Lab) -> Iterator[list[str]]:
        """Time a scenario; what is put into the list is remarked in the table."""
        assert scenario in SCENARIOS, "declare it in tests/recoveries/cells.py"
        began, remarks, result = time.monotonic(), list[str](), "failed"
        try:
            yield remarks
            result = PASS
        finally:
            spec = lab.layout.spec
            etcd = lab.record.versions.get("etcd-server", spec.etcd)
            took = round(time.monotonic() - began, 1)
            kind = (scenario, spec.layout, spec.etcd, etcd)
            day = time.strftime("%Y-%m-%d", time.gmtime())
            self.cells.append(Cell(*kind, result, took, "; ".join(remarks), day))


MATRIX = pytest.StashKey[Matrix]()


def pytest_configure(config: pytest.Config) -> None:
    """One matrix a session."""
    config.stash[MATRIX] = Matrix()


@pytest.fixture
def matrix(request: pytest.FixtureRequest) -> Matrix:
    """The session's matrix."""
    return request.config.stash[MATRIX]


def pytest_unconfigure(config: pytest.Config) -> None:
    """Print the matrix; keep it and write the page when asked to."""
    matrix = config.stash[MATRIX]
    if not matrix.cells:
        return
    if os.environ.get("DRRUN_WRITE_RECOVERIES"):
        keep(matrix.cells)
        page.PAGE.write_text(page.page())
    passed = sum(cell.result == PASS for cell in matrix.cells)
    table = "\n".join([page.row(page.COLUMNS), *page.table(matrix.cells)])
    print(f"\n{table}\nrecoveries: {passed} of {len(matrix.cells)}")


def _lent(name: str, spec: LabSpec) -> Iterator[Lab]:
    """A lab for a module; one that was kept is used again."""
    kept = name in Lab.names() and Lab.find(name).record.stage == "ready"
    lab = Lab.find(name, progress=Progress()) if kept else Lab.up(name, spec, progress=Progress())
    yield lab
    if not os.environ.get("DRRUN_KEEP_LAB"):
        lab.down()


@pytest.fixture(scope="module", name="booted", params=["3.5", "3.4"])
def _booted(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Three control-plane hosts with two spares and a load balancer; kept ones are used again."""
    if os.geteuid() != 0:
        pytest.skip("booting hosts needs root")
    line: EtcdLine = request.param
    name = f"rec{line.replace('.', '')}"
    yield from _lent(name, LabSpec(etcd=line, spares=2))


@pytest.fixture(scope="module", params=["3.5", "3.4"])
def kubeadm(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Three nodes and a load balancer, booted from the saved cluster if there is one."""
    if os.geteuid() != 0:
        pytest.skip("booting hosts needs root")
    line: EtcdLine = request.param
    spec = LabSpec(layout="kubeadm", etcd=line)
    lab = Lab.up(f"pods{line.replace('.', '')}", spec, progress=Progress())
    yield lab
    if not os.environ.get("DRRUN_KEEP_LAB"):
        lab.down()


@pytest.fixture(scope="module", params=["3.5", "3.4"])
def spared(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Three nodes, a load balancer, and three more hosts that have joined nothing; kept ones are used again."""
    if os.geteuid() != 0:
        pytest.skip("booting hosts needs root")
    line: EtcdLine = request.param
    name = f"spare{line.replace('.', '')}"
    yield from _lent(name, LabSpec(layout="kubeadm", etcd=line, spares=3))


@pytest.fixture
def fresh(booted: Lab) -> Lab:
    """The lab as it was right after its first boot."""
    booted.reset()
    return booted


@pytest.fixture
def pods(kubeadm: Lab) -> Lab:
    """The cluster as kubeadm left it."""
    kubeadm.reset()
    return kubeadm


@pytest.fixture
def spare_pods(spared: Lab) -> Lab:
    """The cluster as kubeadm left it, its spares new."""
    spared.reset()
    return spared


@pytest.fixture
def operator(request: pytest.FixtureRequest, tmp_path: Path) -> Operator:
    """Somebody with drrun and a folder for runs of their own, for the lab that the test has."""
    named = (name for name in ("spared", "kubeadm") if name in request.fixturenames)
    lab: Lab = request.getfixturevalue(next(named, "booted"))
    return Operator(lab.inventory, tmp_path / "state")
