"""Hosts that the operator has fenced: gone for this run, by a person's word and nobody's guess.

Rule 1: a host that merely does not answer is never passed over. Somebody made sure that it cannot
act (hazard H8), says how and on what evidence, and answers for it by name.
Rule 2: a fenced host that shows any sign of life is refused: two of it would split the cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from drrun.values import HostName

Unreached = Literal["stop", "skip-fenced"]

METHODS: Mapping[str, str] = {
    "power": "powered off or unplugged",
    "hypervisor": "stopped or destroyed at its hypervisor",
    "network": "cut off: nothing of it reaches the others",
}
"""How a host can be fenced."""

READMIT = "host.readmit"
"""The step type that proves, last of all, that a host which had been fenced takes part again."""


@dataclass(frozen=True, slots=True)
class Fencing:
    """One fenced host: how it was made sure that it cannot act, on what evidence, by whom."""

    host: HostName
    method: str
    reason: str
    by: str

    @property
    def words(self) -> str:
        """`power: PDU 3 outlet 4 is off; ann`."""
        return f"{self.method}: {self.reason}; {self.by}"


def names(fencings: Iterable[Fencing]) -> frozenset[HostName]:
    """The hosts."""
    return frozenset(fencing.host for fencing in fencings)
