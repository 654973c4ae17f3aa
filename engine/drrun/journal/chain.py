"""The journal's lines: `sha256 SP canonical-json LF`, chained by `prev`.

A torn tail (the last record cut short by a crash) is told from damage: the first is trimmed and
noted, the second is refused with its line. Measured: a flipped byte in the middle of a SQLite WAL
silently loses every later transaction; here it is found (durability study, §2).

Rule 1: a tail is torn when its line feed is missing, or when blocks of it were never written and
read as NUL, which no record holds. Nothing that was waited for can be among it.
Rule 2: a whole line that does not verify is damage, wherever it stands: no crash writes one.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from drrun.errors import JournalDamaged
from drrun.journal.events import Event, body, revive
from drrun.values import Digest, canonical

FORMAT = 1
GENESIS = Digest("0" * 64)
UNWRITTEN = b"\0\0"
"""What blocks that were never written read as. A single NUL may be a letter with a flipped bit."""


class Unfit(ValueError):
    """A line is not the record that belongs in its place; the text says why."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """When a record was written: for people, and for measuring.

    `utc` is the controller's wall clock, which may jump. `mono_ns` never goes back as long as
    `boot`, the controller's boot id, stays the same.
    """

    utc: str
    mono_ns: int
    boot: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """One event with its place in the chain and its time."""

    seq: int
    prev: Digest
    stamp: Stamp
    epoch: int
    event: Event
    digest: Digest

    @property
    def utc(self) -> str:
        """The wall clock when it was written."""
        return self.stamp.utc


@dataclass(frozen=True, slots=True)
class Read:
    """What a journal's bytes hold. `torn` is what there is of a last record that was cut short."""

    records: tuple[Record, ...]
    good: int
    """The length of the verified part, in bytes."""
    torn: bytes

    @property
    def head(self) -> Digest:
        """The digest of the last record."""
        return self.records[-1].digest if self.records else GENESIS


def encode(event: Event, *, seq: int, prev: Digest, stamp: Stamp, epoch: int) -> bytes:
    """One line."""
    payload = canonical(
        {
            "v": FORMAT,
            "seq": seq,
            "prev": prev,
            "utc": stamp.utc,
            "mono_ns": stamp.mono_ns,
            "boot": stamp.boot,
            "epoch": epoch,
            "type": event.type,
            "body": body(event),
        }
    )
    return hashlib.sha256(payload).hexdigest().encode() + b" " + payload + b"\n"


def line_digest(line: bytes) -> Digest:
    """The digest that a line begins with."""
    return Digest(line[:64].decode("ascii"))


def read(content: bytes, path: str = "journal.jsonl") -> Read:
    """Verify a whole journal. Raises JournalDamaged, with line and byte, on all but a torn tail."""
    records: list[Record] = []
    prev, at = GENESIS, 0
    while at < len(content):
        end = content.find(b"\n", at)
        if end < 0:
            break
        try:
            record = verify(content[at:end], len(records), prev)
        except Unfit as why:
            if end == len(content) - 1 and UNWRITTEN in content[at:end]:
                break
            raise damaged(path, len(records), at, why) from why
        records.append(record)
        prev, at = record.digest, end + 1
    return Read(tuple(records), at, content[at:])


def damaged(path: str, good: int, at: int, why: Unfit) -> JournalDamaged:
    """The error for a line that does not verify, after `good` lines and `at` bytes that do."""
    hint = f"nothing was changed; put {path} back from a copy"
    if good:
        hint += (
            f"\nwithout a copy, go on behind line {good}, the last that verifies: "
            f"cp {path} {path}.damaged; head -n {good} {path}.damaged >{path}; drrun resume "
            f"{PurePath(path).parent.name} (hosts run no command twice; people are asked again)"
        )
    return JournalDamaged(f"{path} is damaged in line {good + 1} (byte {at}): {why}", hint=hint)


def verify(line: bytes, seq: int, prev: Digest) -> Record:
    """The record of one line (without its line feed) in its place.

    Raises Unfit, and JournalDamaged on what a newer drrun wrote.
    """
    payload = line[65:]
    if line[64:65] != b" " or not payload:
        raise Unfit("it is no record")
    if hashlib.sha256(payload).hexdigest().encode() != line[:64]:
        raise Unfit("its text does not have the digest that it begins with")
    try:
        return _placed(json.loads(payload), line_digest(line), seq, prev)
    except Unfit:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unfit("it verifies, and yet is no record of drrun's") from error


def _placed(raw: dict[str, Any], digest: Digest, seq: int, prev: Digest) -> Record:
    if raw["v"] > FORMAT:
        raise JournalDamaged(
            f"the journal has the format {raw['v']}, this version reads up to {FORMAT}",
            hint="read it with the version of drrun that wrote it, or a newer one",
        )
    if raw["seq"] < seq:
        raise Unfit(f"record {raw['seq']} stands there again, instead of record {seq}")
    if raw["seq"] > seq:
        raise Unfit(f"record {raw['seq']} stands there, record {seq} is missing or was moved")
    if raw["prev"] != prev:
        raise Unfit("it does not continue the line before it")
    return Record(
        seq=seq,
        prev=prev,
        stamp=Stamp(str(raw["utc"]), int(raw["mono_ns"]), str(raw.get("boot", ""))),
        epoch=int(raw["epoch"]),
        event=revive(str(raw["type"]), raw["body"]),
        digest=digest,
    )
