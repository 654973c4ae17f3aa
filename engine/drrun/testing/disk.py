"""A disk that counts, breaks at the nth call, and knows what a power cut would leave of a file.

It is the real one underneath, so that a journal lies in a real file. What was written and not
synced is known to be at risk: `cut` takes it away, as the power would.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from pathlib import Path

from drrun.store.disk import SystemDisk


@dataclass
class FaultyDisk(SystemDisk):
    """`drrun.store.disk.Disk` that breaks at call number `at` (1 is the first; 0 never).

    `error` is the errno that it breaks with; without one a write takes half of its bytes. A sync that
    failed loses what it was for, and says yes when it is asked again, as Linux does.
    """

    at: int = 0
    error: int | None = None
    calls: list[str] = field(default_factory=list)
    """The name of each call so far."""
    _kept: dict[tuple[int, int], int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, fd: int, data: bytes) -> int:
        """Write, or break."""
        if not self._breaks("write"):
            return super().write(fd, data)
        if self.error is None:
            return super().write(fd, data[: len(data) // 2])
        raise OSError(self.error, os.strerror(self.error))

    def sync(self, fd: int) -> None:
        """Sync, or break and lose what was written since the last one."""
        if not self._breaks("sync"):
            self._kept[_identity(fd)] = os.fstat(fd).st_size
            return
        self._lose(fd)
        error = self.error or 5
        raise OSError(error, os.strerror(error))

    def reread(self, fd: int) -> bytes:
        """What there is; from now on all of it is safe."""
        found = super().reread(fd)
        self._kept[_identity(fd)] = len(found)
        return found

    def count(self, name: str) -> int:
        """How often it was asked to `write` or to `sync`."""
        return self.calls.count(name)

    def safe(self, path: Path) -> bytes:
        """The part of a file that a power cut leaves for certain."""
        fd = os.open(path, os.O_RDONLY)
        try:
            return path.read_bytes()[: self._kept.get(_identity(fd), 0)]
        finally:
            os.close(fd)

    def cut(self, path: Path, *, keep: int = 0, zeros: int = 0) -> None:
        """Cut the power: of what was not synced, `keep` bytes are left, and `zeros` unwritten ones."""
        whole, safe = path.read_bytes(), self.safe(path)
        path.write_bytes(whole[: len(safe) + keep] + b"\0" * zeros)

    def _lose(self, fd: int) -> None:
        os.ftruncate(fd, self._kept.get(_identity(fd), 0))

    def _breaks(self, name: str) -> bool:
        with self._lock:
            self.calls.append(name)
            return len(self.calls) == self.at


def _identity(fd: int) -> tuple[int, int]:
    found = os.fstat(fd)
    return found.st_dev, found.st_ino
