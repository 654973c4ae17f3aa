"""The smallest cluster there is, and the most common one: a single host."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import get_args

import pytest

from drrun_lab import Lab, LabSpec, Progress, rehearsal
from drrun_lab.layout import EtcdLine, Supervision
from drrun_lab.operator import Operator

from .conftest import Matrix
from .states import announced, announces_a_dead_server

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]


KINDS: list[tuple[Supervision, EtcdLine]] = [
    *product(get_args(Supervision), get_args(EtcdLine)),
]


@pytest.fixture(name="single", params=KINDS, ids="-".join)
def _single(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """One host with all of a control plane, and a load balancer."""
    if os.geteuid() != 0:
        pytest.skip("booting hosts needs root")
    layout, line = request.param
    spec = LabSpec(etcd=line, hosts=1, layout=layout)
    lab = Lab.up(f"single-{layout}-{line.replace('.', '')}", spec, progress=Progress())
    yield lab
    lab.down()


def test_the_only_host_is_restored(single: Lab, matrix: Matrix, tmp_path: Path) -> None:
    """Nobody else to compare with: the snapshot's objects are back, none of later.

    A12: the snapshot announces an API server that is dead; after the restore nobody does.
    """
    operator = Operator(single.inventory, tmp_path / "state")
    path = tmp_path / "snapshot.db"
    before = rehearsal.write_objects(single, "before", 20)
    announces_a_dead_server(single)
    saved = operator.drrun("etcd-backup.yaml", "-e", f"to={path}", "--yes", "--no-input")
    assert saved.returncode == 0, saved.stdout + saved.stderr
    rehearsal.write_objects(single, "after", 10)
    with matrix.cell("restore a cluster of a single host", single) as remarks:
        words = ("restore-cluster.yaml", "-e", f"snapshot={path}", "-e", "accept_loss=1000")
        forecast = operator.drrun(*words, "--dry-run")
        assert forecast.returncode == 0, forecast.stdout + forecast.stderr
        done = operator.drrun(*words, "--yes", "--no-input", timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        assert rehearsal.read_objects(single) == before
        assert announced(single) == {single.layout.host("cp1").address}
        remarks.append(
            "20 objects of the snapshot, none of 10 later ones; a dead API server is announced no more"
        )
