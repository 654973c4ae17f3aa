"""A run's outputs as files of one folder: appended to, read by ranges."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from drrun.errors import StoreError
from drrun.store.disk import Disk, SystemDisk


@dataclass(frozen=True, slots=True)
class OutputFolder:
    """`drrun.journal.outputs.Outputs` on a folder. Every call opens its file anew: a run has many."""

    folder: Path
    disk: Disk = field(default_factory=SystemDisk)

    def path(self, name: str) -> Path:
        """Where an output lies: a file's name made from a token or a unit's id."""
        return self.folder / re.sub(r"[^A-Za-z0-9._@\[\]-]", "_", name)

    def append(self, name: str, content: bytes) -> None:
        """Write at the end. Raises OSError."""
        flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(self.path(name), flags, 0o600)
        try:
            view = memoryview(content)
            while view:
                view = view[self.disk.write(fd, view) :]
        finally:
            os.close(fd)

    def sync(self, names: Sequence[str]) -> None:
        """These and their folder's entries onto the disk. Raises OSError."""
        for path in (*map(self.path, names), self.folder):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                self.disk.sync(fd)
            finally:
                os.close(fd)

    def size(self, name: str) -> int:
        """Its size now."""
        try:
            return self.path(name).stat().st_size
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise self._unreadable(name, error) from error

    def read(self, name: str, start: int, size: int) -> bytes:
        """A range of it."""
        try:
            with self.path(name).open("rb", buffering=0) as file:
                file.seek(start)
                return file.read(size)
        except FileNotFoundError:
            return b""
        except OSError as error:
            raise self._unreadable(name, error) from error

    def _unreadable(self, name: str, error: OSError) -> StoreError:
        return StoreError(
            f"the output {self.path(name)} cannot be read: {error.strerror}",
            hint="it is a file of the run's folder; is it yours?",
        )
