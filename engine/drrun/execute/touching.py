"""Which facts a change may have made other than they were.

Rule 1: what a change touches leaves marks at places: a component of one host, or (`@x`) of the whole
cluster. A fact is no longer known when one of its own places bears a mark.
Rule 2: where nobody can say what a change does, or what a fact asks, nothing is taken for known.
"""

from __future__ import annotations

from collections.abc import Iterable

from drrun.values import ANYTHING, OPAQUE, HostName

Place = tuple[HostName | None, str]
"""A component, and the host whose it is; None: the cluster's."""


def marks(host: HostName, components: Iterable[str]) -> frozenset[Place]:
    """The marks of a change on a host that touches these components."""
    found: set[Place] = {_place(host, part) for part in components}
    if (host, ANYTHING) in found:
        found.add((None, ANYTHING))  # what the cluster has in common may be another, too
    found.add((None, OPAQUE))
    return frozenset(found)


def places(host: HostName, about: Iterable[str]) -> frozenset[Place]:
    """Where a mark makes a host's fact about these components unknown."""
    found: set[Place] = {_place(host, part) for part in about}
    if any(of is None for of, _ in found):
        found.add((None, ANYTHING))
    found.add((host, ANYTHING))
    return frozenset(found)


def _place(host: HostName, component: str) -> Place:
    return (None if component.startswith("@") else host), component
