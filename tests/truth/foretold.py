"""What a forecast leaves behind: the facts that it says will hold when the run is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from drrun.execute.forecast import Overlay
from drrun.execute.view import decoded
from drrun.spi import Fact
from drrun.values import HostName, Json, NotKnown

Ask = Callable[[HostName, Fact[Any]], Json]


@dataclass(slots=True)
class Foretold(Overlay):
    """An overlay that keeps the facts themselves, so that they can be asked again."""

    facts: dict[tuple[HostName, str], Fact[Any]] = field(default_factory=dict)

    def set(self, host: HostName, fact: Fact[Any], value: object) -> None:
        """As ever, and remembered."""
        # Not super(): a dataclass with slots is another class than the one that is written here.
        Overlay.set(self, host, fact, value)
        self.facts[(host, fact.key)] = fact

    @property
    def last(self) -> Iterator[tuple[HostName, Fact[Any], Any]]:
        """Host, fact and value of everything whose value is told to the end."""
        for (host, key), (value, _about) in self.values.items():
            if not isinstance(value, NotKnown):
                yield host, self.facts[host, key], value

    def against(self, ask: Ask) -> tuple[int, list[str]]:
        """How many there are, and those that are otherwise now."""
        lies, total = [], 0
        for host, fact, value in self.last:
            total += 1
            now = decoded(fact, ask(host, fact))
            if now != value:
                lies.append(f"at the end {fact.key} of {host} is {now!r}, told was {value!r}")
        return total, lies
