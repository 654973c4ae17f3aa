"""What real hosts answered: etcd 3.4.23 and 3.5.16 and systemd 252, recorded."""

from __future__ import annotations

import gzip
from pathlib import Path

from drrun.spi import Reply

_HERE = Path(__file__).parent / "recorded"


def recorded(name: str) -> Reply:
    """A recorded answer that ended well."""
    return Reply(0, (_HERE / f"{name}.txt").read_bytes(), b"")


def said(text: str, *, code: int = 0, err: str = "") -> Reply:
    """An answer made up for a test."""
    return Reply(code, text.encode(), err.encode())


def snapshot(name: str) -> bytes:
    """A snapshot that a real etcd saved."""
    return gzip.decompress((_HERE / f"snapshot-{name}.db.gz").read_bytes())
