"""The journal's lines: `sha256 SP canonical-json LF`, chained by `prev`.

A torn tail (the last record cut short by a crash) is told from damage in the middle: the first is
trimmed and noted, the second is refused with its offset. Measured: a flipped byte in the middle
of a SQLite WAL silently loses every later transaction; here it is found (durability study, §2).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from drrun.errors import JournalDamaged
from drrun.journal.events import Event, body, revive
from drrun.values import Digest, Json, canonical

FORMAT = 1
GENESIS = Digest("0" * 64)


@dataclass(frozen=True, slots=True)
class Record:
    """One event with its place in the chain and its time."""

    seq: int
    prev: Digest
    utc: str
    mono_ns: int
    epoch: int
    event: Event
    digest: Digest


@dataclass(frozen=True, slots=True)
class Read:
    """What a journal's bytes hold. `torn` counts the bytes of a last record that was cut short."""

    records: tuple[Record, ...]
    good: int
    """The length of the verified part, in bytes."""
    torn: int

    @property
    def head(self) -> Digest:
        """The digest of the last record."""
        return self.records[-1].digest if self.records else GENESIS


def encode(event: Event, *, seq: int, prev: Digest, utc: str, mono_ns: int, epoch: int) -> bytes:
    """One line."""
    payload = canonical(
        {
            "v": FORMAT,
            "seq": seq,
            "prev": prev,
            "utc": utc,
            "mono_ns": mono_ns,
            "epoch": epoch,
            "type": event.type,
            "body": body(event),
        }
    )
    return hashlib.sha256(payload).hexdigest().encode() + b" " + payload + b"\n"


def line_digest(line: bytes) -> Digest:
    """The digest that a line begins with."""
    return Digest(line[:64].decode("ascii"))


def read(content: bytes) -> Read:
    """Verify a whole journal. Raises JournalDamaged, with the offset, on damage before the tail."""
    records: list[Record] = []
    prev, at = GENESIS, 0
    while at < len(content):
        end = content.find(b"\n", at)
        record = _verify(content[at:end], len(records), prev) if end >= 0 else None
        if record is None:
            if end >= 0 and end != len(content) - 1:
                raise JournalDamaged(
                    f"the journal is damaged at byte {at} (record {len(records)})",
                    hint="restore the run's folder from a copy; nothing after that byte is trusted",
                )
            return Read(tuple(records), at, len(content) - at)
        records.append(record)
        prev, at = record.digest, end + 1
    return Read(tuple(records), at, 0)


def _verify(line: bytes, seq: int, prev: Digest) -> Record | None:
    if len(line) < 66 or line[64:65] != b" ":
        return None
    payload = line[65:]
    if hashlib.sha256(payload).hexdigest().encode() != line[:64]:
        return None
    raw: Mapping[str, Json] = json.loads(payload)
    if raw["seq"] != seq or raw["prev"] != prev:
        return None
    fields = raw["body"]
    if not isinstance(fields, dict):
        return None
    return Record(
        seq=seq,
        prev=prev,
        utc=str(raw["utc"]),
        mono_ns=int(str(raw["mono_ns"])),
        epoch=int(str(raw["epoch"])),
        event=revive(str(raw["type"]), fields),
        digest=line_digest(line),
    )
