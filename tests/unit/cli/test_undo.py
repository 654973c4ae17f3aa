"""Undo on the command line: refused behind the point of no return, with the ways forward."""

from __future__ import annotations

from tests.unit.cli.conftest import RUNBOOK, Desk

NO_RETURN = RUNBOOK.replace(
    "  - id: start\n", "  - id: start\n    point_of_no_return: true\n"
).replace(
    "    uses: world.agree\n    with: {key: data}", "    uses: world.agree\n    with: {key: odd}"
)


def test_behind_the_point_of_no_return_undo_is_refused(desk: Desk) -> None:
    """Exit 5: which step crossed it, and both ways on; nothing is touched (hazard H7)."""
    desk.write("demo.yaml", NO_RETURN)
    desk.world.values = {host: {**keys, "odd": host} for host, keys in desk.world.values.items()}
    assert desk("demo.yaml", "--yes").code == 5
    before = dict(desk.world.effects)
    run = desk("runs").out.splitlines()[1].split()[0]
    said = desk("abort", run, "--undo")
    assert said.code == 5
    assert "has crossed its point of no return (start@" in said.err
    assert "drrun resume" in said.err
    assert "last-chance backup" in said.err
    assert desk.world.effects == before


def test_in_front_of_it_undo_brings_everything_back(desk: Desk) -> None:
    """The same run without that point is undone: exit 8."""
    desk.write("demo.yaml", NO_RETURN.replace("    point_of_no_return: true\n", ""))
    desk.world.values = {host: {**keys, "odd": host} for host, keys in desk.world.values.items()}
    assert desk("demo.yaml", "--yes").code == 5
    run = desk("runs").out.splitlines()[1].split()[0]
    assert desk("abort", run, "--undo").code == 8
    assert {keys["data"] for keys in desk.world.values.values()} == {"old"}
