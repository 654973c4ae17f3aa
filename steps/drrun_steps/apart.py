"""Undoing many things of which none needs another: one that fails keeps no other away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from drrun.spi import StepFailed, Unreachable


@dataclass(slots=True)
class Apart:
    """Collects what fails. What became of a change that nobody knows ends it at once: somebody has to say."""

    lost: list[str] = field(default_factory=list)

    @contextmanager
    def each(self) -> Iterator[None]:
        """One of them."""
        try:
            yield
        except (StepFailed, Unreachable) as error:
            self.lost.append(error.message)

    def told(self) -> None:
        """Raises StepFailed with all that failed."""
        if self.lost:
            raise StepFailed("; ".join(self.lost))
