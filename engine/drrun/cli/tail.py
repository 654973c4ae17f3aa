"""Following a journal that another process writes, read-only: each new line is verified as it comes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from drrun.errors import JournalDamaged
from drrun.journal.chain import GENESIS, Record, line_digest
from drrun.journal.events import revive


@dataclass
class Tail:
    """The end of one journal. `news` gives what was added since the last call."""

    path: Path
    _at: int = 0
    _head: str = GENESIS
    _rest: bytes = b""

    def news(self) -> tuple[Record, ...]:
        """The new whole records; half a line waits for its other half. Raises JournalDamaged."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._at)
                fresh = file.read()
        except FileNotFoundError:
            return ()
        self._at += len(fresh)
        *lines, self._rest = (self._rest + fresh).split(b"\n")
        return tuple(self._record(line) for line in lines)

    def _record(self, line: bytes) -> Record:
        payload = line[65:]
        if hashlib.sha256(payload).hexdigest().encode() != line[:64]:
            raise JournalDamaged(f"{self.path}: a record does not verify", hint="`drrun status`")
        raw = json.loads(payload)
        if raw["prev"] != self._head:
            raise JournalDamaged(f"{self.path}: record {raw['seq']} breaks the chain")
        self._head = line_digest(line)
        return Record(
            seq=raw["seq"],
            prev=raw["prev"],
            utc=raw["utc"],
            mono_ns=raw["mono_ns"],
            epoch=raw["epoch"],
            event=revive(raw["type"], raw["body"]),
            digest=line_digest(line),
        )
