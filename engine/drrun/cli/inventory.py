"""`drrun inventory show`: an inventory as drrun reads it."""

from __future__ import annotations

from cyclopts import App

from drrun.cli.options import InventoryPath, Look, find_inventory
from drrun.cli.terminal import terminal
from drrun.lang.inventory import load_inventory
from drrun.model.inventory import Inventory, Target
from drrun.report.words import columns, fold, safe

inventory = App(name="inventory", help="Show an inventory as drrun reads it.")


@inventory.command
def show(path: InventoryPath = None, /, *, look: Look = Look()) -> int:  # noqa: B008 - frozen
    """Show hosts, how they are reached, and groups. Hosts are not asked.

    Args:
        path: The inventory; else $DRRUN_INVENTORY, else ./inventory.yaml.
        look: How it is shown.
    """
    screen = terminal(look)
    found = load_inventory(find_inventory(path))
    if screen.json:
        screen.give({"type": "inventory", "path": found.path, **found.describe()})
    else:
        screen.say(_screen(found))
    return 0


def _screen(found: Inventory) -> str:
    uid = f" · cluster {found.cluster_uid}" if found.cluster_uid else ""
    rows = [["host", "address", "user", "port", "as root", "layout", "through"]]
    rows += [_row(target) for target in found.targets.values()]
    groups = {n: hosts for n, hosts in found.groups.items() if n not in found.targets}
    lines = [f"{found.name} · {safe(found.path)}{uid}", "", *columns(rows)]
    if groups:
        named = [[name, fold(hosts)] for name, hosts in groups.items()]
        lines += ["", *columns([["group", "hosts"], *named])]
    return "\n".join(lines)


def _row(target: Target) -> list[str]:
    return [
        target.name,
        target.address,
        target.user or "(ssh's)",
        str(target.port or "(ssh's)"),
        target.become,
        target.layout,
        target.jump or "",
    ]
