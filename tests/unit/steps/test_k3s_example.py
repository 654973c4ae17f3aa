"""The k3s example: what a dry-run tells of it, with facts as three k3s servers would answer them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.unit.steps.recorded_answers import snapshot
from tests.unit.steps.test_stock_without_hosts import bound

from drrun.execute.dry import Dry, Forecast
from drrun.places import stock_runbooks
from drrun.registry import Registry
from drrun.spi import CONTROLLER, Fact, Look
from drrun.values import HostName, Json

BOOK = stock_runbooks() / "examples" / "k3s-restore.yaml"
INVENTORY = """
drrun_inventory: 1
name: edge
layout: k3s
hosts:
  s[1-3]:
groups:
  server: [s1, s2, s3]
"""
FLAG = 'command.check(argv=["test","!","-e","/var/lib/rancher/k3s/server/db/reset-flag"])'
ANSWERS: dict[str, Json] = {
    "service.state(service=k3s)": "running",
    "service.held(service=k3s)": False,
    "file.sum(path=/var/tmp/drrun-k3s-restore.db)": "",
    FLAG: True,
}
"""Fact -> what every server says before a restore. A question that is not here fails the test."""


def forecast(tmp_path: Path, **differently: Json) -> Forecast:
    """What a dry-run foretells; the snapshot is a real one, and is really read."""
    path = tmp_path / "snapshot.db"
    path.write_bytes(snapshot("35"))
    plan = bound(BOOK, INVENTORY, {"snapshot": str(path)})

    def answer(host: HostName, fact: Fact[Any]) -> Json:
        if host == CONTROLLER and isinstance(fact, Look):
            found: Json = fact.answers.dump_python(fact.look(), mode="json")
            return found
        return {**ANSWERS, **differently}[fact.key]

    def reader(host: HostName, facts: Sequence[Fact[Any]]) -> list[Json]:
        return [answer(host, fact) for fact in facts]

    return Dry(plan, Registry(), reader).forecast()


def test_every_server_is_stopped_and_held_before_the_first_is_reset(tmp_path: Path) -> None:
    """The first change is the copy; then three holds and stops, then the reset, and nothing guessed after."""
    told = forecast(tmp_path)
    assert not told.refusals
    made = [
        (str(c.host), c.name) for unit in told.units for c in unit.changes if unit.step != "bring"
    ]
    stops = [(host, change) for host in ("s1", "s2", "s3") for change in ("hold", "stop")]
    assert made == [*stops, ("s1", "run")]
    assert [c.preview for c in told.changes][-1] == (
        "k3s server --cluster-reset --cluster-reset-restore-path=/var/tmp/drrun-k3s-restore.db"
    )
    behind = [unit for unit in told.units if unit.step in {"aside", "start-first", "join"}]
    assert len(behind) == 5
    assert all(unit.unknown for unit in behind)


def test_the_flag_of_an_earlier_reset_is_found_before_anything_stops(tmp_path: Path) -> None:
    """k3s does not reset twice: refused while every server still runs."""
    told = forecast(tmp_path, **{FLAG: False})
    assert "k3s does not reset twice" in told.refusals[0].refused
    assert not [unit for unit in told.units if unit.step == "stop"]
