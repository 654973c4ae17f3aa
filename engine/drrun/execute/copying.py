"""Copies as a fact and a change: content-addressed, resumed by offset, verified by sha256.

The bytes go to `DEST.drrun-part`, readable by root alone. One small change checks their digest and
puts them in place by rename, so a copy that was cut leaves the old file as it was.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ClassVar

from drrun.errors import StepFailed
from drrun.execute.view import Change, Copy
from drrun.ports import Line
from drrun.spi import Fact, sh
from drrun.values import Command, Repeat, Reply

CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class FileSum(Fact[str]):
    """The sha256 of a file on a host; empty when there is none."""

    name: ClassVar[str] = "file.sum"
    timeout: ClassVar[float] = 600.0
    path: str

    def about(self) -> tuple[str, ...]:
        """The file."""
        return (f"file:{self.path}",)

    def ask(self) -> Command:
        """Hash it where it lies."""
        return sh('[ ! -e "$F" ] || sha256sum < "$F"', F=self.path)

    def parse(self, reply: Reply) -> str:
        """The hash, or nothing."""
        if reply.exit:
            raise ValueError(reply.complaint)
        words = reply.text.split()
        return words[0] if words else ""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A copy on its way to a host."""

    copy: Copy
    sha256: str

    @property
    def part(self) -> str:
        """Where the bytes gather: named by content, so that a resume finds its own."""
        return f"{self.copy.dest}.drrun-{self.sha256[:12]}.part"

    def change(self) -> Change:
        """Verify and put in place. Sending it twice does no harm."""
        text = (
            'set -e\nif [ -e "$P" ]; then\n'
            '  got=$(sha256sum < "$P"); got=${got%% *}\n'
            '  [ "$got" = "$S" ] || { echo "the copy has sha256 $got, not $S" >&2; exit 1; }\n'
            '  chmod "$M" "$P"; [ -z "$O" ] || chown "$O" "$P"\n'
            '  sync "$P" 2>/dev/null || :\n  mv -f "$P" "$D"\nfi\n'
            'got=$(sha256sum < "$D"); [ "${got%% *}" = "$S" ]'
        )
        command = sh(
            text, P=self.part, D=self.copy.dest, S=self.sha256, M=self.copy.mode, O=self.copy.owner
        )
        return Change(
            self.copy.name,
            command,
            {FileSum(self.copy.dest): self.sha256},
            repeat=Repeat.SAFE,
            timeout=900.0,
            within=60.0,
        )


def sha256_of(path: Path) -> str:
    """A file of the controller. Raises StepFailed, naming it."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StepFailed(f"cannot read {path}: {error.strerror}") from error


def send(line: Line, incoming: Incoming) -> None:
    """Bring the part file up to the whole; goes on from what is there already."""
    size = incoming.copy.source.stat().st_size
    probe = sh(
        'd=${P%/*}; [ -d "$d" ] || { echo "no folder $d" >&2; exit 9; }\n'
        '[ ! -e "$P" ] || wc -c < "$P"',
        P=incoming.part,
    )
    reply = line.ask(probe.script(), timeout=30)
    if reply.exit:
        raise StepFailed(f"{line.host}: cannot copy to {incoming.copy.dest}: {reply.complaint}")
    match = re.match(rb"\s*(\d+)", reply.stdout)
    there = int(match[1]) if match else 0
    offset = there if there <= size else 0
    with incoming.copy.source.open("rb") as source:
        source.seek(offset)
        line.append(incoming.part, source, offset=offset, timeout=60 + size / 1e6)


def receive(line: Line, source: str, dest: Path, expected: str) -> None:
    """Fetch a file of the host into `dest`, by way of a part file. Raises StepFailed."""
    part = dest.with_name(f"{dest.name}.{expected[:12]}.part")
    dest.parent.mkdir(parents=True, exist_ok=True)
    offset = part.stat().st_size if part.exists() else 0
    with part.open("ab") as file:
        part.chmod(0o600)
        line.fetch(source, _writer(file), offset=offset, timeout=3600)
    got = sha256_of(part)
    if got != expected:
        part.unlink()
        raise StepFailed(f"{line.host}: {source} has sha256 {expected}, what came has {got}")
    part.replace(dest)


def _writer(file: BinaryIO) -> Callable[[bytes], None]:
    def write(block: bytes) -> None:
        file.write(block)

    return write
