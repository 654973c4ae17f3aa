"""What a run's folder asks of the machine under it: few calls, so that a test can break each.

Rule 1: a sync that failed is never tried again. After an EIO Linux takes the pages for clean, and
the next fsync of the same file says yes although they are lost (durability study, §2; the suite
sees a kernel do it, in tests/fire).
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Protocol, TypeAlias

from drrun.errors import StoreError
from drrun.journal.chain import Stamp


class Disk(Protocol):
    """The calls by which a run gets to the disk. Each may raise OSError."""

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """Write, and say how many bytes were taken."""
        ...

    def sync(self, fd: int) -> None:
        """Wait until all that was written to the file is on the disk."""
        ...

    def reread(self, fd: int) -> bytes:
        """The whole file as the disk holds it, not as memory remembers it."""
        ...


class SystemDisk:
    """`Disk` of this machine."""

    def write(self, fd: int, data: bytes | memoryview) -> int:
        """By one call of write."""
        return os.write(fd, data)

    def sync(self, fd: int) -> None:
        """By one call of fdatasync."""
        os.fdatasync(fd)

    def reread(self, fd: int) -> bytes:
        """Let go of what is cached first: it may be of a write that failed."""
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        found, at = [], 0
        while block := os.pread(fd, 1 << 20, at):
            found.append(block)
            at += len(block)
        return b"".join(found)


Stamps: TypeAlias = Callable[[], Stamp]
"""What gives a record its time."""


def stamp() -> Stamp:
    """Now, by this machine. What it slept is in the monotonic time too: an outage goes on then."""
    utc = datetime.now(UTC).isoformat(timespec="milliseconds")
    mono = time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
    return Stamp(utc, mono, boot_id())


@cache
def boot_id() -> str:
    """This machine's boot: monotonic times compare within one. Empty where there is none to read."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


@cache
def machine() -> str:
    """This machine's name."""
    return socket.gethostname()


REMEDIES: Mapping[int, str] = {
    errno.ENOSPC: "free space on its file system",
    errno.EDQUOT: "this account's quota is used up: free space, or raise it",
    errno.EROFS: "its file system is read-only (`dmesg` says why): make it writable again",
    errno.EIO: "its disk fails (`dmesg` says more): mend it, or copy the runs to a sound one and "
    "name that by DRRUN_STATE",
    errno.EACCES: "it belongs to another account, or is protected",
    errno.EPERM: "it belongs to another account, or is protected",
}
"""What the operator mends, by the kernel's word."""


def unwritable(path: Path, error: OSError, run: str = "") -> StoreError:
    """The error of a run whose folder cannot be written any more."""
    remedy = REMEDIES.get(error.errno or 0, "see why")
    return StoreError(
        f"{path} cannot be written: {error.strerror or error}",
        hint=f"{remedy}; then `drrun resume {run}`: commands on hosts go on meanwhile"
        if run
        else f"{remedy}, or set DRRUN_STATE to a folder that can be written",
    )


def unreadable(path: Path, error: OSError) -> StoreError:
    """The error of a run whose folder cannot be read."""
    remedy = REMEDIES.get(error.errno or 0, "see why")
    return StoreError(f"{path} cannot be read: {error.strerror or error}", hint=remedy)


def write_once(path: Path, content: bytes) -> None:
    """A new file, whole and on the disk, or none. Raises OSError."""
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fd = os.open(fresh, os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the folder's names are on the disk. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
