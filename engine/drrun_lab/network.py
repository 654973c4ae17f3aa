"""The lab's own bridge on this machine, and cutting single hosts off it.

Rule 1: traffic stays on the bridge: hosts get no route out of their /24.
Rule 2: a cut is a drop on the host's bridge port, both ways, silent: like a pulled cable seen
from the other end, and without the host noticing a lost carrier.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from ipaddress import IPv4Network

from drrun.errors import LabError
from drrun_lab.commands import attempt, run
from drrun_lab.layout import Layout, candidates

_FILTER = """\
table bridge {name} {{
  set cut {{ type ifname; }}
  chain forward {{ type filter hook forward priority 0; iifname @cut drop; oifname @cut drop; }}
  chain input {{ type filter hook input priority 0; iifname @cut drop; }}
  chain output {{ type filter hook output priority 0; oifname @cut drop; }}
}}
"""


def free_subnet(name: str, taken: Iterable[IPv4Network]) -> IPv4Network:
    """The first of a name's subnets that no route, address or other lab here overlaps.

    Raises LabError when all of them are taken.
    """
    used = [*taken, *_routed()]
    for subnet in candidates(name):
        if not any(subnet.overlaps(other) for other in used):
            return subnet
    raise LabError(
        f"no free subnet for lab {name}: every candidate in 10.64.0.0/10 overlaps a route",
        hint="look at `ip route`; another lab name has other candidates",
    )


def raise_bridge(layout: Layout) -> None:
    """Make the bridge and its filter if they are not there. Idempotent."""
    name = layout.bridge
    if not attempt(["ip", "link", "show", "dev", name]).ok:
        run(["ip", "link", "add", name, "type", "bridge"])
    address = f"{layout.controller_address}/{layout.subnet.prefixlen}"
    run(["ip", "address", "replace", address, "dev", name])
    run(["ip", "link", "set", name, "up"])
    if not attempt(["nft", "list", "table", "bridge", name]).ok:
        run(["nft", "-f", "-"], stdin=_FILTER.format(name=name))


def remove_bridge(bridge: str) -> None:
    """Remove the bridge and its filter if they are there."""
    attempt(["ip", "link", "delete", bridge])
    attempt(["nft", "delete", "table", "bridge", bridge])


def cut(layout: Layout, ports: Iterable[str]) -> None:
    """Drop everything from and to these ports of the bridge."""
    names = ", ".join(f'"{port}"' for port in ports)
    run(["nft", "add", "element", "bridge", layout.bridge, "cut", f"{{ {names} }}"])


def mend(layout: Layout, port: str) -> None:
    """Let one port's traffic pass again. A port that was not cut is fine."""
    element = ["element", "bridge", layout.bridge, "cut", f'{{ "{port}" }}']
    run(["nft", "add", *element])
    run(["nft", "delete", *element])


def mend_all(layout: Layout) -> None:
    """Let everybody's traffic pass again."""
    run(["nft", "flush", "set", "bridge", layout.bridge, "cut"])


def _routed() -> list[IPv4Network]:
    """Every network that this machine has an address in or a route to, the default one apart."""
    found: list[IPv4Network] = []
    for route in json.loads(run(["ip", "-json", "-4", "route", "show", "table", "all"]) or "[]"):
        target = str(route.get("dst", "default"))
        if target != "default" and route.get("type", "unicast") != "broadcast":
            found.append(IPv4Network(target, strict=False))
    return found
