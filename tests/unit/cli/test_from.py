"""`--from STEP`: a run may begin later, and what it leaves out is not proved by that."""

from __future__ import annotations

from tests.unit.cli.conftest import Desk

from drrun.values import HostName

WORDS = ("demo.yaml", "-i", "inventory.yaml", "--yes", "--no-input")


def test_from_is_refused_where_the_state_does_not_hold(desk: Desk) -> None:
    """The stop is left out and the servers run: the dry-run and the run refuse, exit 5."""
    for more in (("--dry-run",), ()):
        said = desk(*WORDS, "--from", "wipe", *more)
        assert said.code == 5
        assert "must be stopped: wiping under a live server loses data" in said.out + said.err
    assert desk.world.of(HostName("h1"))["data"] == "old"


def test_from_goes_on_where_the_state_holds(desk: Desk) -> None:
    """Somebody stopped them by hand: the rest runs, and nothing before it."""
    for host in ("h1", "h2", "h3"):
        desk.world.of(HostName(host))["server"] = "stopped"
    said = desk(*WORDS, "--from", "wipe")
    assert said.code == 0, said
    assert "stop" not in said.plain.split("wipe")[0].split("seconds")[-1]
    assert desk.world.of(HostName("h3"))["data"] == "restored"


def test_from_names_the_steps_that_there_are(desk: Desk) -> None:
    """A step that is not there: exit 2, and the nearest one."""
    said = desk(*WORDS, "--from", "wpie")
    assert said.code == 2
    assert "wipe" in said.err
