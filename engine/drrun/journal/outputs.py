"""What a run's commands printed, beside its journal: bytes by name, read by ranges.

Rule 1: nobody holds a whole output in memory: it may be of any size.
Rule 2: bytes stay bytes until a person reads them. Then what is no UTF-8, and what would move a
terminal's cursor, is spelt out as a backslash, an x and two digits.
"""

from __future__ import annotations

import codecs
import hashlib
import io
import re
from collections.abc import Iterable, Iterator
from typing import Protocol

BLOCK = 256 * 1024
"""Bytes that are read at once."""
TAIL = 4096
"""Bytes at an output's end that are searched for its last words."""
STREAMS = {"out": "stdout", "err": "stderr"}
"""The two streams of a command: what files call them, and what people do."""

UNSAFE = tuple(
    code
    for first, end in ((0, 0x09), (0x0B, 0x20), (0x7F, 0xA0), (0x200E, 0x2010), (0x2028, 0x202F))
    for code in range(first, end)
) + tuple(range(0x2066, 0x206A))
"""Code points that move a terminal's cursor, or turn a line around."""
_BYTES = {0xDC00 + byte: f"\\x{byte:02x}" for byte in range(0x80, 0x100)}
"""What `surrogateescape` makes of bytes that are no UTF-8, spelt out: a table is ten times as fast."""
_SPELT = _BYTES | {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in UNSAFE}
_HALF = re.compile(rb"\A[\x80-\xbf]{1,3}")
"""What a cut may leave of a character."""


class Outputs(Protocol):
    """A run's outputs by name (`TOKEN.out`, `TOKEN.err`). What was never saved has the size 0."""

    def size(self, name: str) -> int:
        """How many bytes are kept under `name`. Raises StoreError."""
        ...

    def read(self, name: str, start: int, size: int) -> bytes:
        """At most `size` bytes from `start` on; none only at the end. Raises StoreError."""
        ...


def blocks(outputs: Outputs, name: str) -> Iterator[bytes]:
    """An output block by block, from its beginning to where it ends now."""
    start = 0
    while block := outputs.read(name, start, BLOCK):
        yield block
        start += len(block)


def hashed(outputs: Outputs, name: str) -> hashlib._Hash:
    """The sha256 of an output, ready to take in what comes after it."""
    found = hashlib.sha256()
    for block in blocks(outputs, name):
        found.update(block)
    return found


def as_text(pieces: Iterable[bytes]) -> Iterator[str]:
    """Bytes as text for people, whatever they are: safe to print, lines end with a line feed."""
    decoder = io.IncrementalNewlineDecoder(_utf8(), translate=True)
    for piece in pieces:
        yield decoder.decode(piece).translate(_SPELT)
    yield decoder.decode(b"", final=True).translate(_SPELT)


def as_data(pieces: Iterable[bytes]) -> Iterator[str]:
    """Bytes as text for programs: as they are, but for bytes that are no UTF-8."""
    decoder = _utf8()
    for piece in pieces:
        yield decoder.decode(piece).translate(_BYTES)
    yield decoder.decode(b"", final=True).translate(_BYTES)


def _utf8() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")("surrogateescape")


def tail(outputs: Outputs, name: str) -> tuple[str, ...]:
    """The lines of the last 4 KiB, without blank ones around; one that is not whole has a `…`."""
    start = max(0, outputs.size(name) - TAIL)
    found = outputs.read(name, start, TAIL)
    text = "".join(as_text([_HALF.sub(b"", found, count=1) if start else found])).strip()
    lines = text.split("\n") if text else []
    if start and lines:
        lines[0] = f"…{lines[0]}"
    return tuple(lines)


def count_lines(outputs: Outputs, name: str) -> int:
    """How many lines an output has; the last one counts without its line feed, too."""
    ends, last = 0, b"\n"
    for block in blocks(outputs, name):
        ends, last = ends + block.count(b"\n"), block
    return ends + (not last.endswith(b"\n"))
