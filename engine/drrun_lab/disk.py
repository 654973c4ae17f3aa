"""Small file systems that can really be full: ext4 in a file, mounted over a folder.

Rule 1: whatever was mounted is unmounted when the block ends, or nobody could remove the folder.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from drrun_lab.commands import attempt, run
from drrun_lab.waiting import until

_FILLER = ".filler"
_SLOW = 4 << 20
"""Bytes that are filled by writing: file systems keep books on large allocations."""
_OFTEN = 0.02
"""Seconds between two looks at a disk that is kept full."""


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A mounted file system that nothing else uses."""

    folder: Path

    @property
    def free(self) -> int:
        """Bytes that are left."""
        told = os.statvfs(self.folder)
        return told.f_bavail * told.f_frsize

    def fill(self) -> None:
        """Leave no byte. Idempotent: what became free meanwhile is taken as well."""
        descriptor = os.open(self.folder / _FILLER, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        try:
            if self.free > _SLOW:  # all but the end at once: a fault is to hit at one moment
                end = os.fstat(descriptor).st_size
                os.posix_fallocate(descriptor, end, self.free - _SLOW)
            for size in (1 << 16, 1 << 12, 1):
                while _wrote(descriptor, size):
                    pass
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def kept_full(self) -> Iterator[None]:
        """Leave no byte while the block lasts: an etcd that ends gives back what it had laid by."""
        over = threading.Event()

        def go() -> None:
            while not over.wait(_OFTEN):
                self.fill()

        self.fill()
        filling = threading.Thread(target=go, name="filling", daemon=True)
        filling.start()
        try:
            yield
        finally:
            over.set()
            filling.join()

    def clear(self) -> None:
        """Give back what `fill` took. Idempotent."""
        (self.folder / _FILLER).unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Put a file system of this size in the place of a folder; what was in the folder is in it.

    When the block ends, the folder is as it was before. Raises LabError when it cannot be made, or
    when somebody still uses it at the end.
    """
    image = folder.with_name(f".{folder.name}.img")
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    try:
        # No blocks kept for root: full is full for everybody.
        run(["mkfs.ext4", "-q", "-m", "0", "-F", str(image)])
        aside = folder.with_name(f".{folder.name}.aside")
        aside.mkdir()
        with _mounted(image, aside):
            run(["cp", "--archive", "--sparse=always", f"{folder}/.", str(aside)], timeout=120)
        aside.rmdir()
        with _mounted(image, folder):
            yield SmallDisk(folder)
    finally:
        image.unlink()


@contextmanager
def _mounted(image: Path, folder: Path) -> Iterator[None]:
    run(["mount", "-o", "loop", str(image), str(folder)])
    try:
        yield
    finally:
        until(
            lambda: attempt(["umount", str(folder)]).ok,
            timeout=20,
            awaiting=f"everybody to let go of {folder}",
        )


def _wrote(descriptor: int, size: int) -> bool:
    """Write so many bytes, if there is room for all of them."""
    try:
        return os.write(descriptor, bytes(size)) == size
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False
