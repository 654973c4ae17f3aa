"""A run's folder: plan.json, journal.jsonl, output/. One writer, held by flock for its life.

On any write error the journal is poisoned and never tried again on the same descriptor: after EIO
Linux may mark pages clean, and a second fsync would lie (durability study §2).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from drrun.errors import JournalDamaged, Refused, StoreError, TakenOver, UsageError
from drrun.execute.sealed import Sealed, decode
from drrun.journal.chain import Read, Record, encode, line_digest, read
from drrun.journal.events import Event, RunAttached, RunStarted
from drrun.plan.plan import Plan
from drrun.store import lock
from drrun.store.disk import (
    Disk,
    Stamps,
    SystemDisk,
    stamp,
    sync_folder,
    unreadable,
    unwritable,
    write_once,
)
from drrun.store.outputs import OutputFolder
from drrun.values import Digest, RunId, canonical

JOURNAL, PLAN, OUTPUT = "journal.jsonl", "plan.json", "output"
SEALED = "sealed.drrun"
"""The sealed plan that a run was begun with."""


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run as it lies on disk."""

    run: RunId
    folder: Path
    plan: Plan
    records: tuple[Record, ...]
    live: bool
    """Whether a controller holds it now."""

    @property
    def events(self) -> tuple[Event, ...]:
        """The run's events."""
        return tuple(record.event for record in self.records)

    @property
    def outputs(self) -> OutputFolder:
        """What its commands printed."""
        return OutputFolder(self.folder / OUTPUT)

    @property
    def sealed(self) -> Sealed | None:
        """The sealed plan that it was applied from. Raises PlanDamaged when that was changed."""
        path = self.folder / SEALED
        return decode(path.read_bytes(), str(path)) if path.exists() else None


class FolderJournal:
    """`drrun.ports.Journal` on a folder. Safe from many threads; syncs are shared."""

    def __init__(
        self, folder: Path, fd: int, lock_fd: int, found: Read, *, disk: Disk, stamps: Stamps
    ) -> None:
        self.folder = folder
        self.torn = found.torn
        """What there was of a last record that a crash had cut short; it is trimmed by now."""
        self._fd, self._lock_fd = fd, lock_fd
        self._disk, self._stamps = disk, stamps
        self._events = [record.event for record in found.records]
        self._head, self._seq = found.head, len(found.records)
        self._epoch = found.records[-1].epoch if found.records else 0
        self._broken: StoreError | None = None
        self._write = threading.Lock()
        self._sync = threading.Lock()
        self._synced = self._seq
        self.outputs = OutputFolder(folder / OUTPUT, disk)

    @property
    def head(self) -> Digest:
        """The chain's last digest."""
        return self._head

    def append(self, event: Event, *, durable: bool) -> None:
        """Write one record; wait for the disk when `durable`."""
        with self._write:
            self._refuse_if_broken()
            self._refuse_if_taken_over()
            if isinstance(event, RunAttached):
                self._epoch = event.epoch
            line = encode(
                event, seq=self._seq, prev=self._head, stamp=self._stamps(), epoch=self._epoch
            )
            with self._poisoning(JOURNAL):
                taken = self._disk.write(self._fd, line)
                if taken != len(line):
                    # Not continued: what follows a record that was cut belongs to no chain.
                    raise OSError(f"the disk took {taken} of a record's {len(line)} bytes")
            self._head, self._seq = line_digest(line), self._seq + 1
            self._events.append(event)
            mine = self._seq
        if durable:
            self._flush(mine)

    def sync(self) -> None:
        """Wait for the disk."""
        with self._write:
            mine = self._seq
        self._flush(mine)

    def _flush(self, mine: int) -> None:
        """Group commit: one fdatasync serves every record written before it."""
        with self._sync:
            if self._synced >= mine:
                return
            with self._write:
                self._refuse_if_broken()
                upto = self._seq
            with self._poisoning(JOURNAL):
                self._disk.sync(self._fd)
            self._synced = upto

    @contextlib.contextmanager
    def _poisoning(self, name: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._broken = unwritable(self.folder / name, error, self.folder.name)
            raise self._broken from error

    def _refuse_if_broken(self) -> None:
        if self._broken is not None:
            raise self._broken

    def _refuse_if_taken_over(self) -> None:
        """A takeover puts a copy in the journal's place: ours then has no name any more."""
        if os.fstat(self._fd).st_nlink == 0:
            self._broken = TakenOver(
                f"the run {self.folder.name} was taken over by another controller",
                hint=f"`drrun status {self.folder.name}` shows who has it",
            )
            raise self._broken

    def events(self) -> Sequence[Event]:
        """All events so far."""
        with self._write:
            return tuple(self._events)

    def save_output(self, name: str, content: bytes) -> None:
        """Append to an output file, unless another controller follows that command by now."""
        self._refuse_if_broken()
        self._refuse_if_taken_over()
        with self._poisoning(OUTPUT):
            self.outputs.append(name, content)

    def sync_outputs(self, names: Sequence[str]) -> None:
        """Wait for the disk."""
        with self._poisoning(OUTPUT):
            self.outputs.sync(names)

    def close(self) -> None:
        """Give the run back."""
        _close(self._fd, self._lock_fd)


class FolderStore:
    """All runs of one operator account, a folder each."""

    def __init__(self, root: Path, *, disk: Disk | None = None, stamps: Stamps = stamp) -> None:
        self.root = root
        self._disk, self._stamps = disk or SystemDisk(), stamps

    def folder(self, run: str) -> Path:
        """Where a run lies."""
        return self.root / run

    def outputs(self, run: str) -> OutputFolder:
        """What its commands printed."""
        return OutputFolder(self.folder(run) / OUTPUT)

    def create(self, plan: Plan, sealed: bytes = b"") -> FolderJournal:
        """A new run's journal; `sealed` is the plan that it was reviewed as, kept beside it.

        Raises Refused when there is such a run: of two that begin one at once, one does. Raises
        StoreError, which leaves nothing that counts as a run.
        """
        folder = self.folder(plan.run)
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            if not _made(folder):
                raise Refused(
                    f"the run {plan.run} was begun already: a sealed plan is applied once",
                    hint=f"`drrun status {plan.run}` shows it; to do it again, seal a new plan",
                )
            (folder / OUTPUT).mkdir(mode=0o700)
            opened = self._opened(folder, lock.take(folder))
            if sealed:
                write_once(folder / SEALED, sealed)
            # Last: a folder without a plan is no run, and a run is never seen without its lock.
            write_once(folder / PLAN, canonical(plan.to_json()))
            sync_folder(self.root)
        except OSError as error:
            raise unwritable(self.root, error) from error
        return opened

    def open(self, run: RunId) -> tuple[Plan, FolderJournal]:
        """A run to go on with. Raises UsageError, Refused (somebody has it) or StoreError."""
        folder, plan = self.folder(run), self.load(run).plan
        try:
            return plan, self._opened(folder, lock.take(folder))
        except OSError as error:
            raise unwritable(folder, error, run) from error

    def prove_writable(self, run: RunId) -> None:
        """Write what a takeover will write, and take it away again. Raises StoreError."""
        folder = self.folder(run)
        probe = folder / f"{JOURNAL}.probe"
        try:
            write_once(probe, (folder / JOURNAL).read_bytes())
            probe.unlink()
        except OSError as error:
            raise unwritable(folder, error, run) from error

    def take_over(self, run: RunId) -> tuple[Plan, FolderJournal]:
        """A run to go on with although somebody holds it: he writes into a file without a name.

        Call it only when every host was fenced: what the old controller journaled before that is
        in the copy, and what it journals later it can no longer do (design §6, locks).
        """
        folder, plan = self.folder(run), self.load(run).plan
        try:
            lock_fd = lock.take_anew(folder)
            write_once(folder / JOURNAL, (folder / JOURNAL).read_bytes())
            return plan, self._opened(folder, lock_fd)
        except OSError as error:
            raise unwritable(folder, error, run) from error

    def forget(self, run: RunId) -> None:
        """Remove a run's folder for good. Call it only while holding the run. Raises StoreError."""
        folder = self.folder(run)
        try:
            (folder / PLAN).unlink()  # first: what is half removed is no run any more
            shutil.rmtree(folder)
        except OSError as error:
            raise StoreError(f"{folder} cannot be removed: {error.strerror or error}") from error

    def _opened(self, folder: Path, lock_fd: int) -> FolderJournal:
        """The journal, read anew from the disk and trimmed of a torn tail. Raises OSError."""
        path, fd = folder / JOURNAL, -1
        try:
            fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC, 0o600)
            found = read(self._disk.reread(fd), str(path))
            if found.torn:
                os.ftruncate(fd, found.good)
                self._disk.sync(fd)
            sync_folder(folder)
        except (OSError, StoreError):
            _close(fd, lock_fd)
            raise
        return FolderJournal(folder, fd, lock_fd, found, disk=self._disk, stamps=self._stamps)

    def load(self, run: str) -> StoredRun:
        """A run, to look at. Raises UsageError when there is none, StoreError, JournalDamaged."""
        folder = self.folder(run)
        path = folder / JOURNAL
        try:
            raw = (folder / PLAN).read_bytes()
            content = path.read_bytes() if path.exists() else b""
            live = lock.held(folder)
        except FileNotFoundError as error:
            raise UsageError(f"there is no run {run!r}", hint="`drrun runs` lists them") from error
        except OSError as error:
            raise unreadable(folder, error) from error
        records = read(content, str(path)).records
        return StoredRun(RunId(run), folder, _plan(folder / PLAN, raw, records), records, live)

    def live(self, run: str) -> bool:
        """Whether a controller holds the run now. Raises StoreError."""
        try:
            return lock.held(self.folder(run))
        except OSError as error:
            raise unreadable(self.folder(run), error) from error

    def runs(self) -> Sequence[RunId]:
        """Every run's id, the newest first. Raises StoreError."""
        try:
            if not self.root.is_dir():
                return []
            found = [p.name for p in self.root.iterdir() if (p / PLAN).exists()]
        except OSError as error:
            raise unreadable(self.root, error) from error
        return [RunId(name) for name in sorted(found, reverse=True)]

    def find(self, run: str | None) -> StoredRun:
        """A run by id or unique prefix; the newest one when not named. Raises UsageError."""
        runs = self.runs()
        fitting = [r for r in runs if run is None or r == run or r.startswith(run)]
        exact = [r for r in fitting if r == run]
        if not fitting:
            what = "there is no run yet" if run is None else f"there is no run {run!r}"
            raise UsageError(what, hint="`drrun runs` lists them")
        if run is not None and len(fitting) > 1 and not exact:
            raise UsageError(f"{run!r} fits {len(fitting)} runs: {', '.join(fitting[:4])}")
        return self.load((exact or fitting)[0])


def _close(*fds: int) -> None:
    for fd in fds:
        with contextlib.suppress(OSError):
            os.close(fd)


def _plan(path: Path, raw: bytes, records: Sequence[Record]) -> Plan:
    """The plan that the run began with, and no other. Raises JournalDamaged."""
    hint = f"nothing was changed; put {path} back from a copy"
    began = records[0].event if records else None
    if isinstance(began, RunStarted) and hashlib.sha256(raw).hexdigest() != began.plan:
        raise JournalDamaged(f"{path} is not the plan that the run began with", hint=hint)
    try:
        return Plan.from_json(json.loads(raw))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise JournalDamaged(f"{path} cannot be read: {error}", hint=hint) from error


def _made(folder: Path) -> bool:
    """Make a run's folder; False when there is one: of two that begin a run at once, one does."""
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        return False
    return True
