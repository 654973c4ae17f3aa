"""Which field case each test proves, and how many of those that ran hold.

A case is a number of the list of field cases, "1" to "48", or a defect of today's versions, "v1" to
"v13". A case holds when every test that ran for it passed; one whose tests were all skipped was not
run, and is listed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["passed", "failed", "skipped"]
MARKED, HELD, BROKE = "field", "field held", "field broke"
"""Names of properties: cases of a test by its marker, and those that a test told while it ran."""

_LAST = {"": 48, "v": 13}


def known(case: str) -> str:
    """The case itself; raises ValueError when there is none of that number."""
    told = re.fullmatch(r"(v?)([1-9][0-9]?)", case)
    if told is None or int(told[2]) > _LAST[told[1]]:
        raise ValueError(f"{case!r} is no field case: '1' to '48', or 'v1' to 'v13'")
    return case


@dataclass(slots=True)
class Cases:
    """All that was seen in a session."""

    seen: dict[str, set[Outcome]] = field(default_factory=dict)

    def saw(self, when: str, outcome: Outcome, properties: Iterable[tuple[str, object]]) -> None:
        """One phase of one test (`when`: setup, call, teardown) that carries these properties."""
        for name, case in properties:
            if name == MARKED and (when == "call" or outcome != "passed"):
                self._add(str(case), outcome)
            elif name in {HELD, BROKE} and when == "call":
                self._add(str(case), "passed" if name == HELD else "failed")

    def _add(self, case: str, outcome: Outcome) -> None:
        self.seen.setdefault(known(case), set()).add(outcome)

    @property
    def lines(self) -> list[str]:
        """What is printed: what failed, what was not run, and as the last line `field: N of N`."""
        ran = {case: seen for case, seen in self.seen.items() if seen != {"skipped"}}
        failed = [case for case, seen in ran.items() if "failed" in seen]
        told = []
        if failed:
            told.append(f"field cases that failed: {_listed(failed)}")
        if skipped := self.seen.keys() - ran.keys():
            told.append(f"field cases that were not run: {_listed(skipped)}")
        if ran:
            told.append(f"field cases that ran: {_listed(ran)}")
        return [*told, f"field: {len(ran) - len(failed)} of {len(ran)}"]


def _listed(cases: Iterable[str]) -> str:
    return ", ".join(sorted(cases, key=lambda case: (case.startswith("v"), int(case.lstrip("v")))))
