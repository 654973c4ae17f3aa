"""The lock of a run: one writer, by flock on a file that says who it is.

Rule 1: the lock ends with the process that holds it, however that dies; its file stays.
Rule 2: whoever only looks takes it shared, for an instant; a writer is never refused for that.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from drrun.errors import Refused
from drrun.store.disk import machine

LOCK = "lock"
LOOKS = 10_000
"""How often a writer lets those who only look go first."""


def take(folder: Path) -> int:
    """The lock's descriptor, to be closed by the caller. Raises Refused (somebody writes), OSError."""
    while True:
        fd = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        if not _alone(fd):
            holder = os.pread(fd, 200, 0).decode(errors="replace").strip()
            os.close(fd)
            raise Refused(
                f"the run {folder.name} is being driven by {holder or 'another drrun'}",
                hint=f"`drrun watch {folder.name}` follows it; if that controller is lost, "
                f"`drrun takeover {folder.name}`",
            )
        if os.fstat(fd).st_nlink:
            return _signed(fd)
        os.close(fd)  # a takeover put another file in its place meanwhile


def take_anew(folder: Path) -> int:
    """The lock although somebody holds it: by a new file in its place. Raises OSError."""
    fresh = folder / f"{LOCK}.{os.getpid()}"
    fd = os.open(fresh, os.O_CREAT | os.O_TRUNC | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fresh.replace(folder / LOCK)
    return _signed(fd)


def held(folder: Path) -> bool:
    """Whether somebody writes the run now. Raises OSError."""
    try:
        fd = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _alone(fd: int) -> bool:
    """Lock the file, unless another writer has it."""
    for _ in range(LOOKS):
        with suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        fcntl.flock(fd, fcntl.LOCK_UN)
        os.sched_yield()
    return False


def _signed(fd: int) -> int:
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"pid {os.getpid()} on {machine()}\n".encode(), 0)
    return fd
