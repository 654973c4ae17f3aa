"""A run's folder: plan.json, journal.jsonl, output/. One writer, held by flock for its life.

On any write error the journal is poisoned and never tried again on the same descriptor: after EIO
Linux may mark pages clean, and a second fsync would lie (durability study §2).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic_ns

from drrun.errors import Refused, StoreError, TakenOver, UsageError
from drrun.execute.sealed import Sealed, decode
from drrun.journal.chain import Read, Record, encode, line_digest, read
from drrun.journal.events import Event, RunAttached
from drrun.plan.plan import Plan
from drrun.store.outputs import OutputFolder
from drrun.values import Digest, RunId, canonical

JOURNAL, PLAN, OUTPUT, LOCK = "journal.jsonl", "plan.json", "output", "lock"
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

    def __init__(self, folder: Path, fd: int, lock_fd: int, found: Read) -> None:
        self.folder = folder
        self._fd, self._lock_fd = fd, lock_fd
        self._events = [record.event for record in found.records]
        self._head, self._seq = found.head, len(found.records)
        self._epoch = found.records[-1].epoch if found.records else 0
        self._broken: StoreError | None = None
        self._write = threading.Lock()
        self._sync = threading.Lock()
        self._synced = self._seq
        self.outputs = OutputFolder(folder / OUTPUT)

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
            utc = datetime.now(UTC).isoformat(timespec="milliseconds")
            line = encode(
                event,
                seq=self._seq,
                prev=self._head,
                utc=utc,
                mono_ns=monotonic_ns(),
                epoch=self._epoch,
            )
            with self._poisoning():
                if os.write(self._fd, line) != len(line):
                    raise OSError(28, "the record was cut short")
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
            with self._poisoning():
                os.fdatasync(self._fd)
            self._synced = upto

    @contextlib.contextmanager
    def _poisoning(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._broken = StoreError(
                f"the journal {self.folder / JOURNAL} cannot be written: {error.strerror}",
                hint="nothing more is started; mend the disk, then `drrun resume`",
            )
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
        with self._poisoning():
            self.outputs.append(name, content)

    def sync_outputs(self, names: Sequence[str]) -> None:
        """Wait for the disk."""
        with self._poisoning():
            self.outputs.sync(names)

    def close(self) -> None:
        """Give the run back."""
        for fd in (self._fd, self._lock_fd):
            with contextlib.suppress(OSError):
                os.close(fd)


class FolderStore:
    """All runs of one operator account, a folder each."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, run: str) -> Path:
        """Where a run lies."""
        return self.root / run

    def outputs(self, run: str) -> OutputFolder:
        """What its commands printed."""
        return OutputFolder(self.folder(run) / OUTPUT)

    def create(self, plan: Plan, sealed: bytes = b"") -> FolderJournal:
        """A new run's journal; `sealed` is the plan that it was reviewed as, kept beside it.

        Raises Refused when there is such a run: of two that begin one at once, one does.
        """
        folder = self.folder(plan.run)
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.mkdir(mode=0o700)
            (folder / OUTPUT).mkdir(mode=0o700)
            if sealed:
                _write_once(folder / SEALED, sealed)
            _write_once(folder / PLAN, canonical(plan.to_json()))
            _sync_folder(self.root)
        except FileExistsError as error:
            raise Refused(
                f"the run {plan.run} was begun already: a sealed plan is applied once",
                hint=f"`drrun status {plan.run}` shows it; to do it again, seal a new plan",
            ) from error
        except OSError as error:
            raise StoreError(
                f"cannot keep a run under {self.root}: {error.strerror}",
                hint="set DRRUN_STATE to a folder that can be written",
            ) from error
        return self._journal(folder)

    def open(self, run: RunId) -> tuple[Plan, FolderJournal]:
        """A run to go on with. Raises UsageError, Refused (somebody has it) or JournalDamaged."""
        return self.load(run).plan, self._journal(self.folder(run))

    def take_over(self, run: RunId) -> tuple[Plan, FolderJournal]:
        """A run to go on with although somebody holds it: he writes into a file without a name.

        Call it only when every host was fenced: what the old controller journaled before that is
        in the copy, and what it journals later it can no longer do (design §6, locks).
        """
        folder = self.folder(run)
        plan = self.load(run).plan
        fresh = folder / f"{LOCK}.{os.getpid()}"
        lock_fd = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fresh.replace(folder / LOCK)
        copy = folder / f"{JOURNAL}.{os.getpid()}"
        _write_once(copy, (folder / JOURNAL).read_bytes())
        copy.replace(folder / JOURNAL)
        return plan, self._opened(folder, lock_fd)

    def _journal(self, folder: Path) -> FolderJournal:
        lock_fd = os.open(folder / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(lock_fd, 200, 0).decode(errors="replace").strip()
            os.close(lock_fd)
            raise Refused(
                f"the run {folder.name} is being driven by {holder or 'another drrun'}",
                hint=f"`drrun watch {folder.name}` follows it; if that controller is lost, "
                f"`drrun takeover {folder.name}`",
            ) from error
        return self._opened(folder, lock_fd)

    def _opened(self, folder: Path, lock_fd: int) -> FolderJournal:
        os.ftruncate(lock_fd, 0)
        os.pwrite(lock_fd, f"pid {os.getpid()}\n".encode(), 0)
        path = folder / JOURNAL
        fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
        found = read(path.read_bytes())
        if found.torn:
            os.ftruncate(fd, found.good)
        os.fsync(fd)
        _sync_folder(folder)
        return FolderJournal(folder, fd, lock_fd, found)

    def load(self, run: str) -> StoredRun:
        """A run, to look at. Raises UsageError when there is none, JournalDamaged."""
        folder = self.folder(run)
        try:
            plan = Plan.from_json(json.loads((folder / PLAN).read_bytes()))
            path = folder / JOURNAL
            content = path.read_bytes() if path.exists() else b""
        except FileNotFoundError as error:
            raise UsageError(f"there is no run {run!r}", hint="`drrun runs` lists them") from error
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"the plan of {run} cannot be read: {error}") from error
        return StoredRun(plan.run, folder, plan, read(content).records, _held(folder))

    def runs(self) -> Sequence[RunId]:
        """Every run's id, the newest first."""
        if not self.root.is_dir():
            return []
        found = [p.name for p in self.root.iterdir() if (p / PLAN).exists()]
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


def _held(folder: Path) -> bool:
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


def _write_once(path: Path, content: bytes) -> None:
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    finally:
        os.close(fd)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
