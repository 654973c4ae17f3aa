"""A lost host of a control plane: a new machine takes its place, etcd, API server and controllers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.lab.test_recovery import made, predicted
from tests.recoveries.states import BARE, MEMBERS, urls
from tests.recoveries.test_members import listed, servers
from tests.recoveries.test_rebuild import keys_saved

from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Operator
from drrun_lab.prober import Prober

from .conftest import Matrix

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]
LATER = "date +%s >>/etc/kubernetes/pki/ca.crt"
"""The authority of the cluster is another one than the archive's."""


def foretold(operator: Operator, *words: str) -> str:
    """What the dry-run says is what the run does, change for change; returns what the run told.

    Only what a host without certificates would be answered is promised on a condition.
    """
    forecast = operator.drrun(*words, "--dry-run", "--output", "json", timeout=300)
    assert forecast.returncode == 0, forecast.stdout + forecast.stderr
    done = operator.drrun(*words, "--yes", "--no-input", timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    open_ = predicted(forecast.stdout, conditional=True)
    assert {name.partition("-")[0] for _, _, name in open_} <= {"add", "promote", "mark"}
    was = made(operator.journal(operator.newest()), forecast.stdout)
    assert [one for one in was if one not in open_] == predicted(forecast.stdout)
    return done.stdout + done.stderr


@pytest.fixture(name="bereaved")
def _bereaved(fresh: Lab, operator: Operator, tmp_path: Path) -> Iterator[tuple[Lab, Path]]:
    """Keys were saved; sp1 is a machine with units and nothing else."""
    rehearsal.each(fresh, BARE, ["sp1"])
    yield fresh, keys_saved(operator, tmp_path)
    fresh.power_on("cp2")


def test_a_lost_host_is_replaced_by_a_new_machine(
    bereaved: tuple[Lab, Path], operator: Operator, matrix: Matrix
) -> None:
    """A8: cp2 is off for good; sp1 has its vote and an API server, and no acknowledged write is lost."""
    lab, keys = bereaved
    words = ("control-plane-join.yaml", "-e", "role.new=sp1", "-e", f"keys={keys}")
    with matrix.cell("replace a lost host by a new machine, API server and all", lab) as remarks:
        with Prober(lab) as prober:
            lab.power_cut("cp2")
            told = foretold(operator, *words, "-e", "role.failed=cp2", "-e", "gone=true")
        assert f"{lab.layout.host('sp1').address}:6443" in told
        assert set(listed(lab, "cp1")) == {"cp1", "cp3", "sp1"}
        assert not any(listed(lab, "cp1").values())
        assert servers(lab, "cp1", "cp3", "sp1") == {urls(lab, "cp1", "cp3", "sp1")}
        assert rehearsal.disagreement(rehearsal.members(lab, ["cp1", "cp3", "sp1"])) == ""
        assert prober.lost() == []
        remarks.append(f"0 acknowledged writes lost, longest gap {prober.gap():.1f} s")


def test_keys_of_another_time_are_refused_before_any_change(
    bereaved: tuple[Lab, Path], operator: Operator
) -> None:
    """An authority was replaced since the keys were saved: the new machine would be believed by nobody."""
    lab, keys = bereaved
    rehearsal.each(lab, LATER, MEMBERS)
    words = ("control-plane-join.yaml", "-e", "role.new=sp1", "-e", f"keys={keys}")
    refused = operator.drrun(*words, "--yes", "--no-input")
    told = refused.stdout + refused.stderr
    assert refused.returncode == 5, told
    assert "ca.crt differ" in told
    assert not [e for e in operator.journal(operator.newest()) if e.type == "change.intended"]
