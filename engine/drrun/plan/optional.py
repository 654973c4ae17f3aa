"""Steps on roles that may be empty (`min: 0`): without a host they are left out, and their place is kept.

A step that waits for one that is left out waits for what that one would have waited for.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from drrun.lang.hosts import Name, names, parse, resolve
from drrun.model.runbook import Runbook
from drrun.values import CONTROLLER, HostName


def left_out(
    runbook: Runbook,
    roles: Mapping[str, tuple[HostName, ...]],
    hosts: Sequence[HostName],
) -> Mapping[str, int]:
    """Steps that name a role which may be empty, and is, and nobody else: id -> place."""
    empty = {n for n, spec in runbook.roles.items() if spec.min == 0 and not roles.get(n)}
    return {
        step.id: place
        for place, step in enumerate(runbook.steps)
        if empty and _nobody(step.hosts, empty, roles, hosts)
    }


def _nobody(
    text: str,
    empty: Collection[str],
    roles: Mapping[str, tuple[HostName, ...]],
    hosts: Sequence[HostName],
) -> bool:
    """Whether an expression means nobody because of an empty role. Raises AuthorError."""
    if text == CONTROLLER or not any(
        isinstance(part, Name) and part.name in empty for part in names(parse(text))
    ):
        return False
    return not resolve(text, roles, hosts)
