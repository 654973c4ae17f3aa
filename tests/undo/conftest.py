"""The undo suite: every change before the point of no return is failed on its host, and undone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.undo.scene import Scene

from drrun_lab import Lab, LabSpec, Progress

HERE = Path(__file__).parent
BACK = pytest.StashKey[dict[str, bool]]()
LEFT_OUT = {
    "disarm": "changes something only where a snapshot carries NOSPACE; its undo is none",
    "start-first-apiserver": "is the point of no return: refused, in unit/cli/test_undo",
    "etcd.member.join, etcd.member.remove, etcd.data.aside": "a member that joined or left stays so: their undo says so",
    "rebuild-control-plane": "staged and undone in recoveries/test_rebuild and test_rebuild_pods",
    "etcd-upgrade": "undone half-way in recoveries/test_upgrade",
    "a full disk": "in lab/test_faults, and unit/steps/test_pods, test_flags, test_plain",
}
"""What is left out of this suite, and where it stands instead."""


def pytest_configure(config: pytest.Config) -> None:
    """One count a session."""
    config.stash[BACK] = {}
    config.pluginmanager.register(Counting(config.stash[BACK]))


class Counting:
    """Counts the cases of this folder."""

    def __init__(self, back: dict[str, bool]) -> None:
        self.back = back

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A case is back when its test passed, and so did what is around it."""
        ran = report.when == "call" or report.failed
        if "tests/undo/" in report.nodeid and ran and not report.skipped:
            self.back[report.nodeid] = self.back.get(report.nodeid, True) and report.passed


def pytest_unconfigure(config: pytest.Config) -> None:
    """What is left out, and as the last line the figure."""
    back = config.stash.get(BACK, {})
    if not back:
        return
    print("\n".join(["", "left out:", *(f"  {name}: {why}" for name, why in LEFT_OUT.items())]))
    print(f"undo: {sum(back.values())} of {len(back)} back")


def _lent(name: str, spec: LabSpec, folder: Path) -> Iterator[Scene]:
    """A lab for a module, in use; one that was kept is used again."""
    if os.geteuid() != 0:
        pytest.skip("booting hosts needs root")
    kept = name in Lab.names() and Lab.find(name).record.stage == "ready"
    lab = Lab.find(name, progress=Progress()) if kept else Lab.up(name, spec, progress=Progress())
    yield Scene(lab, folder)
    if not os.environ.get("DRRUN_KEEP_LAB"):
        lab.down()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Three members as units of systemd, behind a load balancer."""
    yield from _lent("undo", LabSpec(), tmp_path_factory.mktemp("undo"))


@pytest.fixture(scope="module")
def pods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Three nodes of kubeadm's, behind a load balancer."""
    yield from _lent("undopods", LabSpec(layout="kubeadm"), tmp_path_factory.mktemp("undopods"))
