"""`drrun readmit`: bring a host back that a run went without."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from drrun.cli.driving import story_of
from drrun.cli.options import InventoryPath, Look
from drrun.cli.prompt import TerminalPrompt
from drrun.cli.run import run
from drrun.cli.terminal import terminal
from drrun.cli.wiring import engine
from drrun.errors import DrrunError
from drrun.values import RunId

RUNBOOK = "etcd-readmit"


def readmit(
    host: str,
    /,
    *,
    inventory: InventoryPath = None,
    extra: Annotated[list[str] | None, Parameter(name=["--extra", "-e"])] = None,
    dry_run: Annotated[bool, Parameter(name=["--dry-run", "-n"])] = False,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"])] = False,
    confirm: str = "",
    no_input: Annotated[bool, Parameter(name="--no-input")] = False,
    look: Look = Look(),  # noqa: B008 - frozen
) -> int:
    """Bring a fenced host back: what runs there is stopped, its data set aside; it joins anew.

    Runs the stock runbook etcd-readmit with role.back=HOST. Reports of the run that went without
    the host say so when this one is done.

    Args:
        host: The host, as the inventory calls it, switched on and reachable.
        inventory: The inventory; else $DRRUN_INVENTORY, else ./inventory.yaml.
        extra: KEY=VALUE: role.ROLE=GROUP where the inventory's groups are called otherwise. Repeatable.
        dry_run: Ask the hosts, change nothing, say what would be done.
        yes: Agree to what is set aside.
        confirm: Agree, by the inventory's name: refused when it is another one.
        no_input: Never ask; what needs a person waits (exit 6).
        look: How it is shown.
    """
    without = _went_without(host)
    screen = terminal(look)
    if without:
        screen.tell(f"{host} was left out by {', '.join(without)}")
    else:
        screen.tell(f"no run of this account went without {host}: it is brought back all the same")
    return run(
        RUNBOOK,
        inventory=inventory,
        extra=[f"role.back={host}", *(extra or ())],
        dry_run=dry_run,
        yes=yes,
        confirm=confirm,
        no_input=no_input,
        look=look,
    )


def _went_without(host: str) -> list[RunId]:
    """The runs of this account that went without the host, and were not told since that it is back."""
    store = engine(TerminalPrompt(allowed=False)).store
    found = []
    for name in store.runs():
        try:
            story = story_of(store.load(name))
        except DrrunError:  # a damaged run says nothing
            continue
        if any(word.host == host for _, word in story.absent):
            found.append(name)
    return found
