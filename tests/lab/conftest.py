"""Real hosts for recoveries: one lab for all of them, put back to fresh whenever a test asks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from drrun_lab import Lab, Progress
from drrun_lab.operator import Operator
from drrun_lab.rehearsal import write_objects

NAME = "test"


@pytest.fixture(scope="session")
def booted() -> Iterator[Lab]:
    """Three control-plane hosts and a load balancer, gone when the session ends."""
    if os.geteuid() != 0:
        pytest.skip("booting hosts needs root")
    kept = NAME in Lab.names() and Lab.find(NAME).record.stage == "ready"
    # A kept one may be in any state: whoever uses it resets it first.
    lab = Lab.find(NAME, progress=Progress()) if kept else Lab.up(NAME, progress=Progress())
    yield lab
    if not os.environ.get("DRRUN_KEEP_LAB"):
        lab.down()


@pytest.fixture
def fresh(booted: Lab) -> Lab:
    """The lab as it was right after its first boot: whatever a test did before is forgotten."""
    booted.reset()
    return booted


@pytest.fixture(scope="module")
def healthy(booted: Lab) -> Lab:
    """The lab, fresh once for a module whose tests change nothing."""
    booted.reset()
    return booted


@pytest.fixture(scope="module")
def snapshot(healthy: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot of the healthy lab, with objects in it, made by drrun."""
    folder = tmp_path_factory.mktemp("snapshot")
    write_objects(healthy, "before", 10)
    path = folder / "snapshot.db"
    done = Operator(healthy.inventory, folder / "state").drrun(
        "etcd-backup.yaml", "-e", f"to={path}", "--yes", "--no-input"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return path


@pytest.fixture
def operator(booted: Lab, tmp_path: Path) -> Operator:
    """Somebody with drrun and a folder for runs of their own."""
    return Operator(booted.inventory, tmp_path / "state")
