"""What one job prints, kept as it comes: on disk, hashed block by block, never whole in memory."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Self

from drrun.errors import TooLarge
from drrun.journal.events import ChangeFinished
from drrun.journal.outputs import STREAMS, Outputs, hashed, tail
from drrun.ports import Journal
from drrun.values import VALUE_LIMIT, Digest, Reply

COMPLAINT = 500
"""Characters of a command's last line that an event carries."""


@dataclass(slots=True)
class Printed:
    """A job's two streams, up to what is kept of them so far."""

    journal: Journal
    token: str
    sizes: dict[str, int] = field(default_factory=dict)
    sums: dict[str, hashlib._Hash] = field(default_factory=dict)

    @classmethod
    def of(cls, journal: Journal, token: str) -> Self:
        """What is kept already, by this controller or one before it."""
        printed = cls(journal, token)
        for stream in STREAMS:
            name = f"{token}.{stream}"
            printed.sums[stream] = hashed(journal.outputs, name)
            printed.sizes[stream] = journal.outputs.size(name)
        return printed

    def save(self, stream: str, block: bytes) -> None:
        """Keep what came next."""
        self.journal.save_output(f"{self.token}.{stream}", block)
        self.sums[stream].update(block)
        self.sizes[stream] += len(block)

    def settle(self) -> None:
        """All of it is on the disk on return: then the host may forget it."""
        printed = [f"{self.token}.{stream}" for stream, size in self.sizes.items() if size]
        if printed:
            self.journal.sync_outputs(printed)

    def digest(self, stream: str) -> Digest:
        """The sha256 of what is kept."""
        return Digest(self.sums[stream].hexdigest())

    @property
    def complaint(self) -> str:
        """The last line on stderr, else on stdout."""
        for stream in ("err", "out"):
            for line in reversed(tail(self.journal.outputs, f"{self.token}.{stream}")):
                return line[-COMPLAINT:]
        return ""


def reply_of(outputs: Outputs, finished: ChangeFinished) -> Reply:
    """A change's stdout, to make a value of. Raises TooLarge when it is too much for one, or cut."""
    if finished.out_cut or finished.out_size > VALUE_LIMIT:
        more = " and more" if finished.out_cut else ""
        raise TooLarge(
            f"{finished.host}: {finished.name} printed {finished.out_size} bytes{more}, "
            f"and a value is made of {VALUE_LIMIT} at most",
            hint="the change was made; `drrun logs` has what it printed",
        )
    stdout = outputs.read(f"{finished.token}.out", 0, VALUE_LIMIT)
    return Reply(finished.code, stdout, b"")
