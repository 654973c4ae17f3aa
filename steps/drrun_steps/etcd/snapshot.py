"""What a snapshot file is worth: its seal, its structure, its revision.

`snapshot status` is not an integrity check: it reads the structure and prints a *new* checksum; a
byte flipped inside a value passes (recovery.md 0.3, measured). The seal is the rule of etcd's
`snapshot save`: the last 32 bytes are the sha256 of all before them.
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Literal

from drrun.spi import Command, Fact, Json, Look, Reply, sh
from drrun_steps.etcd.bolt import MAGIC, Bolt
from drrun_steps.etcd.tools import OFFLINE, TOOLS

Problem = Literal["", "missing", "empty", "truncated", "foreign", "unsealed", "damaged", "broken"]

_SEAL = 32
_SECTOR = 512


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot file. `problem` is empty when seal and structure are sound.

    `revision` is etcd's; `version` the cluster's version that it was taken from (may be empty);
    `nospace` says that it carries a NOSPACE alarm, which would block writes after a restore.
    """

    problem: Problem
    why: str = ""
    sha256: str = ""
    size: int = 0
    revision: int = 0
    keys: int = 0
    version: str = ""
    nospace: bool = False
    age: float = 0.0
    """Seconds since it was taken: by its manifest, else since the file was last written."""


@dataclass(frozen=True, slots=True)
class SnapshotFile(Look[Snapshot]):
    """A snapshot file on the controller, read here in pure Python (2 GB in about 2 s)."""

    name: ClassVar[str] = "etcd.snapshot.file"
    timeout: ClassVar[float] = 600.0
    path: str

    def about(self) -> tuple[str, ...]:
        """The file, which a step on any host may bring here."""
        return (f"@file:{self.path}",)

    def look(self) -> Snapshot:
        """Everything that is wrong with the file is in the answer."""
        path = Path(self.path).expanduser()
        if not path.is_file():
            return Snapshot("missing", why=f"{path} is not a file")
        size = path.stat().st_size
        if size == 0:
            return Snapshot("empty", why=f"{path} has no bytes")
        with path.open("rb") as file:
            whole, sealed = _digests(file, size)
            found = _judge(file, size, whole, sealed=sealed)
        return replace(found, age=round(max(0.0, time.time() - _taken(path, whole)), 1))

    def pinned(self, answer: Snapshot) -> Json:
        """The file's bytes, and nothing of its age."""
        return {"sha256": answer.sha256, "problem": answer.problem}


def _taken(path: Path, sha256: str) -> float:
    """When it was saved, in seconds since the epoch. A copy's own time says little."""
    try:
        manifest = json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))
        if manifest["sha256"] == sha256:
            return datetime.fromisoformat(manifest["taken"]).timestamp()
    except (OSError, ValueError, LookupError, TypeError):
        pass
    return path.stat().st_mtime


def _digests(file: BinaryIO, size: int) -> tuple[str, bool]:
    """The sha256 of the whole file, and whether its last 32 bytes seal the rest."""
    running, left = hashlib.sha256(), max(0, size - _SEAL)
    while left > 0 and (block := file.read(min(1 << 20, left))):
        running.update(block)
        left -= len(block)
    inner, seal = running.digest(), file.read()
    running.update(seal)
    return running.hexdigest(), inner == seal


def _judge(file: BinaryIO, size: int, whole: str, *, sealed: bool) -> Snapshot:
    file.seek(0)
    head = file.read(20)
    if len(head) < 20 or int.from_bytes(head[16:20], "little") != MAGIC:
        return Snapshot("foreign", "it does not begin as a bolt database", whole, size)
    if not sealed and size % _SECTOR == 0:
        return Snapshot("unsealed", "it has no sha256 at its end", whole, size)
    if size % _SECTOR != _SEAL:
        return Snapshot("truncated", f"{size} bytes is no whole number of pages", whole, size)
    if not sealed:
        return Snapshot("damaged", "its sha256 does not match its content", whole, size)
    try:
        bolt = Bolt(file, size - _SEAL)
        return Snapshot(
            "",
            sha256=whole,
            size=size,
            revision=_revision(bolt),
            version=_version(bolt),
            nospace=any(b"\x10\x01" in key for key, _ in bolt.items(b"alarm")),
        )
    except ValueError as exc:
        return Snapshot("broken", str(exc), whole, size)


def _revision(bolt: Bolt) -> int:
    """The last key's main revision; a compaction may have removed the last key itself."""
    last = bolt.last_key(b"key") or bytes(8)
    compacted = [value for key, value in bolt.items(b"meta") if key == b"scheduledCompactRev"]
    return max(int.from_bytes(value[:8], "big") for value in [last, *compacted])


def _version(bolt: Bolt) -> str:
    found = dict(bolt.items(b"cluster"))
    return found.get(b"clusterVersion", b"").decode("ascii", "replace")


_CHECK = (
    TOOLS
    + OFFLINE
    + r"""
[ -f "$FILE" ] || { echo problem=missing; exit 0; }
size=$(stat -c %s -- "$FILE")
echo "size=$size"
[ "$size" -gt 32 ] || { echo problem=empty; exit 0; }
sum=$(head -c $((size - 32)) -- "$FILE" | sha256sum | cut -c 1-64)
seal=$(tail -c 32 -- "$FILE" | od -An -v -tx1 | tr -d ' \n')
echo "sha256=$(sha256sum <"$FILE" | cut -c 1-64)"
[ $((size % 512)) = 32 ] || { echo problem=truncated; exit 0; }
[ "$sum" = "$seal" ] || { echo problem=damaged; exit 0; }
status=$(offline snapshot status "$FILE" -w json 2>&1) || { echo problem=broken; echo "why=$status"; exit 0; }
echo "status=$status"
"""
)


@dataclass(frozen=True, slots=True)
class HostSnapshot(Fact[Snapshot]):
    """A snapshot file on a host: its seal by coreutils, its structure by etcd's own tool."""

    name: ClassVar[str] = "etcd.snapshot"
    timeout: ClassVar[float] = 600.0
    path: str

    def about(self) -> tuple[str, ...]:
        """The file on this host."""
        return (f"file:{self.path}",)

    def ask(self) -> Command:
        """Reads the file three times, writes nothing."""
        return sh(_CHECK, FILE=self.path, LIMIT=600)

    def parse(self, reply: Reply) -> Snapshot:
        """Everything that is wrong with the file is in the answer."""
        if reply.exit != 0:
            raise ValueError(f"cannot check {self.path}: {reply.complaint!r}")
        said = dict(line.partition("=")[::2] for line in reply.text.splitlines())
        status = json.loads(said.get("status", "{}"))
        problem: Any = said.get("problem", "")
        return Snapshot(
            problem,
            why=said.get("why", problem)[:300],
            sha256=said.get("sha256", ""),
            size=int(said.get("size", 0)),
            revision=status.get("revision", 0),
            keys=status.get("totalKey", 0),
        )

    def pinned(self, answer: Snapshot) -> Json:
        """The file's bytes."""
        return {"sha256": answer.sha256, "problem": answer.problem}


FACTS: tuple[type[Fact[Any]], ...] = (SnapshotFile, HostSnapshot)
