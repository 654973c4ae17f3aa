"""Following a journal that another process writes, read-only: each new line is verified as it comes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from drrun.journal.chain import GENESIS, Record, Unfit, damaged, verify
from drrun.values import Digest


@dataclass
class Tail:
    """The end of one journal. `news` gives what was added since the last call."""

    path: Path
    _at: int = 0
    _seq: int = 0
    _head: Digest = GENESIS

    def news(self) -> tuple[Record, ...]:
        """The new whole records. Raises JournalDamaged.

        Half a line is read again with the next call: it may get its other half, or be trimmed by
        the controller that takes the run up.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self._at)
                fresh = file.read()
        except FileNotFoundError:
            return ()
        *lines, _half = fresh.split(b"\n")
        return tuple(self._record(line) for line in lines)

    def _record(self, line: bytes) -> Record:
        try:
            record = verify(line, self._seq, self._head)
        except Unfit as why:
            raise damaged(str(self.path), self._seq, self._at, why) from why
        self._at += len(line) + 1
        self._seq, self._head = self._seq + 1, record.digest
        return record
