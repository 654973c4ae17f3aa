"""A disk that counts, breaks at the nth call, and knows what a power cut would leave of a run.

It is the real one underneath, so that a run lies in real files. What was written and not synced is
known to be at risk: `cut` takes it away, as the power would.
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
    """Each call so far: `write` or `sync`, and the file's name."""
    _kept: dict[Path, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Write, or break."""
        if not self._breaks("write", fd):
            return super().write(fd, data)
        if self.error is None:
            return super().write(fd, data[: len(data) // 2])
        raise OSError(self.error, os.strerror(self.error))

    def sync(self, fd: int) -> None:
        """Sync, or break and lose what was written since the last one."""
        path = _file(fd)
        if not self._breaks("sync", fd):
            self._kept[path] = os.fstat(fd).st_size
            return
        if path.is_file():
            os.truncate(path, self._kept.get(path, 0))
        error = self.error or 5
        raise OSError(error, os.strerror(error))

    def reread(self, fd: int) -> bytes:
        """What there is; from now on all of it is safe."""
        found = super().reread(fd)
        self._kept[_file(fd)] = len(found)
        return found

    def count(self, call: str) -> int:
        """How often it was asked to `write` or to `sync`."""
        return sum(each.startswith(call) for each in self.calls)

    def safe(self, path: Path) -> bytes:
        """The part of a file that a power cut leaves for certain."""
        return path.read_bytes()[: self._kept.get(path.resolve(), 0)]

    def cut(self, path: Path, *, keep: int = 0, zeros: int = 0) -> None:
        """Cut the power: of what was not synced, `keep` bytes are left, and `zeros` unwritten ones."""
        whole, safe = path.read_bytes(), self.safe(path)
        path.write_bytes(whole[: len(safe) + keep] + b"\0" * zeros)

    def _breaks(self, call: str, fd: int) -> bool:
        with self._lock:
            self.calls.append(f"{call} {_file(fd).name}")
            return len(self.calls) == self.at


def _file(fd: int) -> Path:
    """The file that a descriptor is of."""
    return Path(f"/proc/self/fd/{fd}").readlink()
