"""The field suite: clusters as people have them, each case by its number, on real hosts.

`make test-field` runs what is here, and whatever else carries `@pytest.mark.field("3")`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from tests.field.counting import BROKE, HELD, MARKED, Cases, known

from drrun_lab import Lab, LabSpec, Progress
from drrun_lab.operator import Operator

HERE = Path(__file__).parent
CASES = pytest.StashKey[Cases]()
LABS = {"booted", "kubeadm"}
"""Fixtures that boot hosts: whoever asks for one has the marker `lab`, and half an hour."""

Case = Callable[[str], AbstractContextManager[None]]


def pytest_configure(config: pytest.Config) -> None:
    """One count a session."""
    config.stash[CASES] = Cases()
    config.pluginmanager.register(Counting(config.stash[CASES]))


class Counting:
    """Sees the tests of the whole session, wherever they stand."""

    def __init__(self, cases: Cases) -> None:
        self.cases = cases

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count what a test's cases came to."""
        self.cases.saw(report.when, report.outcome, report.user_properties)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here says which case it proves; those that boot hosts are lab tests."""
    for item in items:
        for mark in item.iter_markers(MARKED):
            item.user_properties += [(MARKED, known(case)) for case in mark.args]
        if HERE not in item.path.parents:
            continue
        names = getattr(item, "fixturenames", ())
        if "case" in names:
            item.add_marker(pytest.mark.field)
        elif not any(name == MARKED for name, _ in item.user_properties):
            raise pytest.UsageError(f'{item.nodeid} says no case: @pytest.mark.field("3")')
        if LABS & set(names):
            item.add_marker(pytest.mark.lab)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(1800))


def pytest_unconfigure(config: pytest.Config) -> None:
    """The figure is the last line, after pytest's own, of a session that was asked for it."""
    cases = config.stash.get(CASES, None)
    if cases is not None and any(Path(arg.split("::")[0]).name == HERE.name for arg in config.args):
        print("\n".join(["", *cases.lines]))


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Case:
    """Several cases proved in one test, one after the other, each under its own `with`."""

    @contextmanager
    def proving(number: str) -> Iterator[None]:
        told = request.node.user_properties
        try:
            yield
        except BaseException:
            told.append((BROKE, known(number)))
            raise
        told.append((HELD, known(number)))

    return proving


def _lent(name: str, spec: LabSpec) -> Iterator[Lab]:
    """A lab for a module; one that was kept is used again."""
    if os.geteuid() != 0:
        pytest.skip("booting hosts needs root")
    kept = name in Lab.names() and Lab.find(name).record.stage == "ready"
    lab = Lab.find(name, progress=Progress()) if kept else Lab.up(name, spec, progress=Progress())
    yield lab
    if not os.environ.get("DRRUN_KEEP_LAB"):
        lab.down()


@pytest.fixture(scope="module")
def booted() -> Iterator[Lab]:
    """Three members as units of systemd, a spare and a load balancer; in any state."""
    yield from _lent("field", LabSpec(spares=1))


@pytest.fixture(scope="module")
def kubeadm() -> Iterator[Lab]:
    """Three nodes of kubeadm's and a load balancer; in any state."""
    yield from _lent("fieldpods", LabSpec(layout="kubeadm"))


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
def operator(request: pytest.FixtureRequest, tmp_path: Path) -> Operator:
    """Somebody with drrun and a folder for runs of their own, for the lab that the test has."""
    lab: Lab = request.getfixturevalue("kubeadm" if "kubeadm" in request.fixturenames else "booted")
    return Operator(lab.inventory, tmp_path / "state")
