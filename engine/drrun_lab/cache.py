"""What is slow to make and the same for every lab: built once, kept outside the checkout.

Rule 1: an entry is named by its recipe's digest; another recipe is another entry.
Rule 2: an entry appears whole, by rename, or not at all; what a killed build left is swept by
the next one, which holds the same lock.
Rule 3: an entry never changes once it is there: hosts are mounted on it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from drrun.errors import LabError
from drrun_lab.progress import Progress

_RECORD = "record.json"
_GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Recipe:
    """How an entry is made. `text` holds all that its content depends on; `room` is in bytes."""

    name: str
    text: str
    room: int

    @property
    def key(self) -> str:
        """The entry's folder name: readable, and different for every different recipe."""
        return f"{self.name}-{hashlib.sha256(self.text.encode()).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A finished piece: its folder, and the versions of what went into it."""

    folder: Path
    record: Mapping[str, str]


class Cache:
    """A folder of finished entries, shared by all labs and all processes of this machine."""

    def __init__(self, root: Path, progress: Progress) -> None:
        self.root = root
        self._progress = progress

    def find(self, recipe: Recipe) -> Entry | None:
        """The entry, if it was ever finished."""
        folder = self.root / recipe.key
        try:
            record = json.loads((folder / _RECORD).read_text())
        except FileNotFoundError:
            return None
        return Entry(folder, {str(k): str(v) for k, v in record.items()})

    def obtain(self, recipe: Recipe, build: Callable[[Path], Mapping[str, str]]) -> Entry:
        """Return the entry, building it first if it is not there.

        `build` fills an empty folder and returns the versions it used. Two processes that ask
        for one entry build it once. Raises LabError when the disk has no room for the build.
        """
        if entry := self.find(recipe):
            return entry
        self.root.mkdir(parents=True, exist_ok=True)
        with locked(self.root / f".{recipe.name}.lock", self._progress, f"a build of {recipe.key}"):
            if entry := self.find(recipe):
                return entry
            self._check_room(recipe)
            return self._make(recipe, build)

    def _make(self, recipe: Recipe, build: Callable[[Path], Mapping[str, str]]) -> Entry:
        began = time.monotonic()
        self._progress.say(f"building {recipe.key}")
        draft = self.root / f".building-{recipe.name}"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        try:
            record = dict(build(draft))
            (draft / _RECORD).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
            # A rename that reaches the disk before the data would be a whole-looking husk.
            os.sync()
            draft.rename(self.root / recipe.key)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        self._progress.say(f"built {recipe.key} in {time.monotonic() - began:.0f} s")
        return Entry(self.root / recipe.key, record)

    def _check_room(self, recipe: Recipe) -> None:
        free = shutil.disk_usage(self.root).free
        if free < recipe.room:
            raise LabError(
                f"{self.root} has {free / _GIB:.1f} GiB free; building {recipe.name} needs "
                f"{recipe.room / _GIB:.1f} GiB",
                hint="free some space, or set DRRUN_LAB_CACHE to a folder on a larger disk",
            )


@contextmanager
def locked(path: Path, progress: Progress, what: str) -> Iterator[None]:
    """Hold an exclusive lock on a file; say so when somebody else has it and wait for them.

    The kernel drops the lock with the process, so a killed holder never blocks the next.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("a") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress.say(f"waiting for another process that holds {what}")
                fcntl.flock(handle, fcntl.LOCK_EX)
            if not _is_at(handle.fileno(), path):
                continue  # whoever held it has removed the file: this lock guards nothing
            yield
            return


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
