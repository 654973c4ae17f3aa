"""What hosts said in a dry-run: every answer once, and what of it a sealed plan pins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from drrun.execute.forecast import Reader
from drrun.execute.view import decoded
from drrun.spi import Fact
from drrun.values import HostName, Json


@dataclass(frozen=True, slots=True)
class Observed:
    """One fact of one host. `pinned` is None where the answer may move."""

    host: HostName
    fact: str
    answer: Json
    pinned: Json = None


@dataclass(slots=True)
class Observing:
    """A `Reader` that keeps what another one read. Safe from many threads."""

    reader: Reader
    _seen: dict[tuple[HostName, str], Observed] = field(default_factory=dict)

    def __call__(self, host: HostName, facts: Sequence[Fact[Any]]) -> list[Json] | None:
        """The other's answers."""
        answers = self.reader(host, facts)
        for fact, answer in zip(facts, answers or (), strict=False):
            pinned = fact.pinned(decoded(fact, answer))
            self._seen[(host, fact.key)] = Observed(host, fact.key, answer, pinned)
        return answers

    @property
    def found(self) -> tuple[Observed, ...]:
        """Everything that was read, in a stable order."""
        return tuple(self._seen[place] for place in sorted(self._seen))
