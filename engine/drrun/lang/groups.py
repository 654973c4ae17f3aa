"""Groups of hosts and of other groups, flattened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from drrun.lang.diagnostics import Loc, suggest
from drrun.lang.ranges import expand
from drrun.lang.tree import MappingNode, Node, ScalarNode, SequenceNode
from drrun.values import CONTROLLER, HostName


class Report(Protocol):
    """Takes a mistake at a path of the inventory."""

    def __call__(self, loc: Loc, code: str, message: str, hint: str = "") -> None:
        """Take one mistake."""


@dataclass
class Groups:
    """The groups of an inventory's tree; mistakes go to `report`."""

    hosts: Mapping[HostName, object]
    root: Node
    report: Report
    members: dict[str, tuple[tuple[int, str], ...]] = field(default_factory=dict)
    """The expanded members of each group, each with the index of the entry it came of."""

    def flat(self) -> dict[str, tuple[HostName, ...]]:
        """Every group as hosts, in the inventory's order, each host once."""
        groups = self.root.get("groups") if isinstance(self.root, MappingNode) else None
        written = groups.entries if isinstance(groups, MappingNode) else {}
        for name, entry in written.items():
            self._named(name)
            self.members[name] = tuple(self._expanded(name, entry.value))
        for name in written:
            self._strangers(name)
        order = {host: index for index, host in enumerate(self.hosts)}
        cyclic: set[str] = set()
        flat: dict[str, tuple[HostName, ...]] = {}
        for name in written:
            hosts, cycle = self._walk(name)
            flat[name] = tuple(sorted(hosts, key=lambda host: order[host]))
            if cycle and not cyclic & set(cycle):
                cyclic |= set(cycle)
                index = next(at for at, member in self.members[name] if member == cycle[1])
                message = f"the group holds itself: {' → '.join(cycle)}"
                self.report(("groups", name, index), "group-cycle", message)
        return flat

    def _named(self, name: str) -> None:
        if HostName(name) in self.hosts:
            message = f"`{name}` is a host and cannot be a group as well"
            self.report(("groups", name), "duplicate-host", message)
        elif complaint := bad_name(name):
            self.report(("groups", name), "bad-name", complaint)

    def _expanded(self, name: str, node: Node) -> Iterator[tuple[int, str]]:
        for index, item in enumerate(node.items if isinstance(node, SequenceNode) else ()):
            if not isinstance(item, ScalarNode) or item.empty or item.broken:
                continue
            try:
                for member in expand(item.text):
                    yield index, member
            except ValueError as exc:
                self.report(("groups", name, index), "bad-range", str(exc))

    def _strangers(self, name: str) -> None:
        for index, member in self.members[name]:
            if member not in self.members and HostName(member) not in self.hosts:
                hint = suggest(member, (*self.members, *self.hosts), "known")
                message = f"`{member}` is neither a host nor a group"
                self.report(("groups", name, index), "unknown-host", message, hint)

    def _walk(self, name: str) -> tuple[set[HostName], tuple[str, ...]]:
        """Every host below `name`, and the way back to it when there is one.

        Each group is entered once: groups of groups of groups cost no more than their sum.
        """
        came: dict[str, str] = {}
        hosts: set[HostName] = set()
        cycle: tuple[str, ...] = ()
        waiting = [name]
        while waiting:
            group = waiting.pop(0)
            for _, member in self.members[group]:
                if member == name and not cycle:
                    cycle = (*_way(came, name, group), name)
                elif member in self.members and member not in came and member != name:
                    came[member] = group
                    waiting.append(member)
                elif HostName(member) in self.hosts:
                    hosts.add(HostName(member))
        return hosts, cycle


def _way(came: Mapping[str, str], first: str, last: str) -> tuple[str, ...]:
    way = [last]
    while way[-1] != first:
        way.append(came[way[-1]])
    return tuple(reversed(way))


def bad_name(name: str) -> str:
    """Why `name` cannot name a host or a group, or the empty text."""
    from drrun.lang.hosts import HostsError, Name
    from drrun.lang.hosts import parse as parse_hosts

    if name == CONTROLLER:
        return "`controller` is the machine that drrun runs on: choose another name"
    try:
        if isinstance(parse_hosts(name), Name):
            return ""
    except HostsError:
        pass
    return f"`{name}` cannot be a name here: letters, digits, dot, dash and underscore"
