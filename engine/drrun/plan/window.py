"""When a critical region may begin: a window of the day, and what it is expected to take (hazard H2).

The region is all that comes behind the safe point, and the whole run where there is none.
Rule 1: it is admitted once, before it begins. Nothing of this ever stops it half-way.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from drrun.values import span

_DAY = 86_400
_TEXT = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")


@dataclass(frozen=True, slots=True)
class Window:
    """A span of every day, in seconds since midnight UTC; it may pass midnight."""

    opens: int
    closes: int

    @classmethod
    def parse(cls, text: str) -> Window:
        """`22:00-02:00`. Raises ValueError."""
        found = _TEXT.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is no window: write 22:00-02:00, in UTC")
        numbers = [
            int(part) * unit for part, unit in zip(found.groups(), (3600, 60) * 2, strict=True)
        ]
        opens, closes = numbers[0] + numbers[1], numbers[2] + numbers[3]
        if opens == closes:
            raise ValueError(f"{text!r} is open for no time, or always: leave it out then")
        return cls(opens, closes)

    def left(self, now: float) -> float:
        """Seconds until it closes; 0 while it is closed. `now` is in seconds since the epoch."""
        return max(0.0, self._length - self._since(now))

    def opens_in(self, now: float) -> float:
        """Seconds until it opens; 0 while it is open."""
        return 0.0 if self.left(now) else _DAY - self._since(now)

    @property
    def _length(self) -> int:
        return (self.closes - self.opens) % _DAY

    def _since(self, now: float) -> float:
        return (now - self.opens) % _DAY


def expected(regions: Sequence[float], undos: Sequence[float]) -> Mapping[str, float]:
    """What earlier runs say: p95 in seconds, and of how many; without any, what is left out is not known."""
    found: dict[str, float] = {}
    for name, took in (("region", regions), ("undo", undos)):
        if took:
            found |= {name: sorted(took)[ceil(0.95 * len(took)) - 1], f"{name}_runs": len(took)}
    return found


def refusal(window: str, takes: Mapping[str, float], now: float) -> str:
    """Why the region may not begin now; empty when it may."""
    found = Window.parse(window)
    left = found.left(now)
    if not left:
        return f"the window {window} UTC is closed: it opens in {span(found.opens_in(now))}"
    needed = takes.get("region", 0.0) + takes.get("undo", 0.0)
    if needed > left:
        return f"the window {window} UTC closes in {span(left)}, and {words(takes)}"
    return ""


def words(takes: Mapping[str, float]) -> str:
    """What is expected, as a part of a sentence; what nobody has seen is said to be not known."""
    if "region" not in takes:
        return "how long it takes is not known: no earlier run of it is kept here"
    said = f"it takes {span(takes['region'])} (p95 of {takes['region_runs']:.0f})"
    if "undo" not in takes:
        return f"{said}; its undo was never seen"
    return f"{said}, its undo {span(takes['undo'])} (p95 of {takes['undo_runs']:.0f})"
