"""A part of a long suite, chosen by a seed: the same part for the same seed, another one for the next.

`make test-recoveries SAMPLE=2 SEED=abc` sets DRRUN_SAMPLE and DRRUN_SEED, which only this module
reads. pytest takes the same as `--sample 2 --seed abc`. A test that goes through many things by
itself asks the fixture `sampling` which of them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

Thing = TypeVar("Thing")

LONGEST = 1800
"""Seconds: a test that may take longer than half an hour is not sampled."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """`count` of many by `seed`; everything when the count is 0. Raises ValueError below 0."""

    count: int = 0
    seed: str = ""

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError(f"a sample has a size, not {self.count}")

    @classmethod
    def asked(cls) -> Sampling:
        """What the environment asks for."""
        return cls(int(os.environ.get("DRRUN_SAMPLE") or 0), os.environ.get("DRRUN_SEED", ""))

    def __bool__(self) -> bool:
        return self.count > 0

    def of(self, things: Iterable[Thing], name: Callable[[Thing], object] = str) -> list[Thing]:
        """The chosen ones in their order, by sha256 of the seed and each one's name."""
        all_of_them = list(things)
        if not self:
            return all_of_them

        def rank(index: int) -> str:
            return hashlib.sha256(f"{self.seed} {name(all_of_them[index])}".encode()).hexdigest()

        chosen = sorted(range(len(all_of_them)), key=rank)[: self.count]
        return [all_of_them[index] for index in sorted(chosen)]

    def told(self, total: int) -> str:
        """What is printed: `sample: 5 of 142, seed abc`; empty when it is everything."""
        return f"sample: {min(self.count, total)} of {total}, seed {self.seed}" if self else ""
