"""Read a few facts from a bolt database file without opening it as a database.

The controller has no etcd: this walks the pages from the newest sound meta page to a bucket's
last key, or over a small bucket. Nothing is locked, mapped or written.
Rule 1: every offset and count from the file is checked before it is followed.
Layout: go.etcd.io/bbolt page.go, bucket.go (version 2, little endian).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

MAGIC = 0xED0CDAED
_BRANCH, _LEAF = 0x01, 0x02
_HEADER = struct.Struct("<QHHI")  # id, flags, count, overflow
_META_BODY = struct.Struct("<IIIIQQQQQQ")  # magic, version, page size, flags, root, …, txid, sum
_BRANCH_ELEMENT = struct.Struct("<IIQ")  # pos, key size, page
_LEAF_ELEMENT = struct.Struct("<IIII")  # flags, pos, key size, value size
_BUCKET = struct.Struct("<QQ")  # root page, sequence
_DEEPEST, _LONGEST = 64, 1 << 28


@dataclass(frozen=True, slots=True)
class _Page:
    flags: int
    count: int
    body: bytes
    """The whole page, header included: element positions count from their element."""


class Bolt:
    """One bolt file. Every method raises ValueError when the file makes no sense."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._size = size
        self._page_size = 0
        self._root = self._newest_root()

    def last_key(self, bucket: bytes) -> bytes | None:
        """The greatest key of a bucket; None when the bucket is missing or empty."""
        page = self._bucket(bucket)
        for _ in range(_DEEPEST):
            if page is None or page.count == 0:
                return None
            if page.flags & _LEAF:
                return self._leaf(page, page.count - 1)[1]
            page = self._page(self._branch(page, page.count - 1)[1])
        raise ValueError("its pages go round in circles")

    def items(self, bucket: bytes, limit: int = 1000) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values of a small bucket, at most `limit`; nothing when it is missing."""
        page = self._bucket(bucket)
        if page is not None:
            for number, item in enumerate(self._walk(page, 0)):
                if number >= limit:
                    return
                yield item

    def _walk(self, page: _Page, depth: int) -> Iterator[tuple[bytes, bytes]]:
        if depth > _DEEPEST:
            raise ValueError("its pages go round in circles")
        for index in range(page.count):
            if page.flags & _LEAF:
                yield self._leaf(page, index)[1:]
            else:
                yield from self._walk(self._page(self._branch(page, index)[1]), depth + 1)

    def _newest_root(self) -> int:
        """The root page named by the sound meta page with the highest transaction."""
        found: list[tuple[int, int, int]] = []
        for offset in (0, *(1 << shift for shift in range(10, 17))):
            head = self._read(offset, _HEADER.size + _META_BODY.size)
            if len(head) < _HEADER.size + _META_BODY.size:
                continue
            body = head[_HEADER.size :]
            magic, version, page_size, _, root, _, _, _, txid, checksum = _META_BODY.unpack(body)
            if magic == MAGIC and version == 2 and _fnv(body[:-8]) == checksum:
                found.append((txid, root, page_size))
        if not found:
            raise ValueError("neither meta page is sound")
        _, root, self._page_size = max(found)
        if not 512 <= self._page_size <= 65536:
            raise ValueError(f"its page size is {self._page_size}")
        return root

    def _bucket(self, name: bytes) -> _Page | None:
        """The root page of a top-level bucket, which may lie inline in its parent."""
        page = self._page(self._root)
        for key, value in self._walk(page, 0):
            if key == name and len(value) >= _BUCKET.size:
                root, _ = _BUCKET.unpack_from(value)
                return self._page(root) if root else _page(value[_BUCKET.size :])
        return None

    def _page(self, number: int) -> _Page:
        offset = number * self._page_size
        _, _, _, overflow = _HEADER.unpack(self._exactly(offset, _HEADER.size))
        length = (overflow + 1) * self._page_size
        if length > _LONGEST:
            raise ValueError(f"page {number} is {length} bytes long")
        return _page(self._exactly(offset, length))

    def _branch(self, page: _Page, index: int) -> tuple[bytes, int]:
        at = _HEADER.size + index * _BRANCH_ELEMENT.size
        position, size, child = _BRANCH_ELEMENT.unpack_from(page.body, at)
        return page.body[at + position : at + position + size], child

    def _leaf(self, page: _Page, index: int) -> tuple[int, bytes, bytes]:
        at = _HEADER.size + index * _LEAF_ELEMENT.size
        flags, position, key_size, value_size = _LEAF_ELEMENT.unpack_from(page.body, at)
        start = at + position
        end = start + key_size + value_size
        if end > len(page.body):
            raise ValueError("an element reaches beyond its page")
        return flags, page.body[start : start + key_size], page.body[start + key_size : end]

    def _exactly(self, offset: int, length: int) -> bytes:
        found = self._read(offset, length)
        if len(found) != length:
            raise ValueError(f"it ends at {self._size} bytes, before a page that it names")
        return found

    def _read(self, offset: int, length: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(max(0, min(length, self._size - offset)))


def _page(body: bytes) -> _Page:
    if len(body) < _HEADER.size:
        raise ValueError("a page is too short")
    _, flags, count, _ = _HEADER.unpack_from(body)
    element = _LEAF_ELEMENT.size
    if not flags & (_LEAF | _BRANCH) or _HEADER.size + count * element > len(body):
        raise ValueError("a page is neither a branch nor a leaf")
    return _Page(flags, count, body)


def _fnv(data: bytes) -> int:
    """FNV-1a, 64 bits: the checksum of a meta page."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value
