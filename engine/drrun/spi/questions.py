"""What a step will need later, asked while it can still be mended: before anything is taken away.

A step that waits for a state in an outage, or calls a tool there, rests on facts that can be asked
today. An answer that is wrong on a healthy cluster is wrong in the outage, too; found there, it costs
the outage. Source: field reports of restores that stopped everything, and then waited in vain for a
port that had a name, a tool that was elsewhere, a login that nobody had.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from drrun.model.rule import FactRef
from drrun.spi.facts import Fact


class Where(Protocol):
    """A host as the inventory knows it: nothing is asked of it."""

    @property
    def name(self) -> str:
        """The inventory's name of the host, or `controller`."""
        ...

    @property
    def address(self) -> str:
        """What drrun connects to."""
        ...

    @property
    def layout(self) -> str:
        """`systemd`, `static-pod`, `k3s` or `commands`."""
        ...

    @property
    def vars(self) -> Mapping[str, Any]:
        """The inventory's vars for this host."""
        ...


@dataclass(frozen=True, slots=True)
class Question:
    """A fact that a step rests on later, and what it must be now.

    Rule 1: what is down is not asked: `up` says what must hold for the question to make sense. A
    question without it is one that a file or a tool answers, whatever runs.
    Rule 2: it is a guard, read again by every run and never compared as a fact of a sealed plan.
    """

    name: str
    """What -e accept_answers takes, with @HOST behind it: short, lower case, a colon between words."""
    fact: Fact[Any]
    must: Any
    """The value, or a Predicate."""
    because: str
    """What waits for it, and what an operator would see in the outage."""
    hint: str = ""
    up: Sequence[tuple[Fact[Any] | FactRef, Any]] = ()
    """Facts of the same host and the values that they must have, all of them, for it to be asked. By
    name where the fact is another plugin's."""
    mended: bool = False
    """Whether a step before the first stop may put it right: a dry-run then believes that step's change."""
