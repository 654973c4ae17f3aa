"""A controller and a host for whole runs: the real `drrun` command, a real sshd, nothing of theirs shared.

As root, drrun's folder on a host is /var/lib/drrun: here both see one of their own in its place, by
a mount that nobody else sees. Others have it under their home folder, which is the site's.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.unit.transport.conftest import Sshd, running_sshd

from drrun.journal.chain import read
from drrun.journal.events import ChangeFinished, Event

BASE = Path("/var/lib/drrun")
MEASURE = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[2:], stdin=subprocess.DEVNULL)
with open(sys.argv[1], "w") as told:
    told.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
sys.exit(done.returncode if done.returncode >= 0 else 128 - done.returncode)
"""
"""Runs a command and tells its peak. From a small process: a child counts its parent's size, too."""


@dataclass(frozen=True)
class Said:
    """One command line: its exit code, what it said, and its peak in MB."""

    code: int
    out: str
    err: str
    peak: float


@dataclass(frozen=True)
class Site:
    """One operator's place, and its host `h1`."""

    folder: Path
    sshd: Sshd
    enter: tuple[str, ...]

    @property
    def environment(self) -> Mapping[str, str]:
        """What drrun is started with."""
        return {
            **os.environ,
            "HOME": str(self.folder),
            "DRRUN_STATE": str(self.folder / "state"),
            "DRRUN_INVENTORY": str(self.folder / "inventory.yaml"),
        }

    def runbook(self, steps: str) -> Path:
        """A runbook of these steps, which are written as YAML or JSON."""
        path = self.folder / "runbook.yaml"
        path.write_text(
            "drrun: 1\nname: site\ntitle: A site's run\nroles: {members: {min: 1}}\n" + steps
        )
        return path

    def steps(self, *steps: Mapping[str, Any], hosts: str = "members") -> Path:
        """A runbook of these steps, each after the one before, ids s1, s2, s3."""
        book = [{"id": f"s{n}", "hosts": hosts, **step} for n, step in enumerate(steps, 1)]
        return self.runbook(f"steps: {json.dumps(book)}\n")

    def words(self, *words: object) -> list[str]:
        """The command line that starts drrun here."""
        command = Path(sys.executable).with_name("drrun")
        return [*self.enter, str(command), *map(str, words)]

    @contextlib.contextmanager
    def begun(self, *words: object) -> Iterator[subprocess.Popen[bytes]]:
        """A drrun at work; killed at the end, as by a lost machine."""
        with (
            (self.folder / "said").open("wb") as said,
            subprocess.Popen(
                self.words(*words),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
            ) as process,
        ):
            try:
                yield process
            finally:
                process.kill()

    def drrun(self, *words: object) -> Said:
        """Run drrun to its end. Its output goes by way of files: it may be large."""
        out, err, peak = (self.folder / name for name in ("out", "err", "peak"))
        with out.open("wb") as stdout, err.open("wb") as stderr:
            done = subprocess.run(
                [sys.executable, "-c", MEASURE, str(peak), *self.words(*words)],
                env=self.environment,
                stdout=stdout,
                stderr=stderr,
                timeout=120,
                check=False,
            )
        kib = int(peak.read_text())
        return Said(done.returncode, last(out), last(err), kib / 1024)

    @property
    def run(self) -> Path:
        """The newest run's folder."""
        return max((self.folder / "state" / "runs").iterdir())

    @property
    def events(self) -> list[Event]:
        """The newest run's journal, as far as it is written."""
        return [record.event for record in read((self.run / "journal.jsonl").read_bytes()).records]

    @property
    def finished(self) -> list[ChangeFinished]:
        """The ends of its changes."""
        return [event for event in self.events if isinstance(event, ChangeFinished)]

    def printed(self, stream: str) -> int:
        """How many bytes of a stream of its commands are kept by now."""
        with contextlib.suppress(ValueError, FileNotFoundError):
            return sum(path.stat().st_size for path in self.run.glob(f"output/*.{stream}"))
        return 0

    def kept(self, done: ChangeFinished, stream: str = "out") -> bytes:
        """What a change printed, as the run's folder has it."""
        path = self.run / "output" / f"{done.token}.{stream}"
        return path.read_bytes() if path.exists() else b""


def last(path: Path) -> str:
    """A file's last 64 KiB as text."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 65536))
        return file.read().decode("utf-8", "surrogateescape")


@contextlib.contextmanager
def a_site(folder: Path) -> Iterator[Site]:
    """Everything for whole runs, up and ready."""
    (folder / "sshd").mkdir()
    with _apart(folder) as (within, enter), running_sshd(folder / "sshd", within=within) as sshd:
        (folder / "inventory.yaml").write_text(
            "drrun_inventory: 1\nname: site\n"
            f'ssh: {{user: {sshd.user}, port: "{sshd.port}", identity: {sshd.folder}/user, '
            f"known_hosts: {sshd.known_hosts}, become: none}}\n"
            "hosts: {h1: {address: 127.0.0.1}}\ngroups: {members: [h1]}\n"
        )
        yield Site(folder, sshd, tuple(word.format(pid=sshd.process.pid) for word in enter))


@contextlib.contextmanager
def _apart(folder: Path) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """The commands that begin, and that enter, a view of the file system with its own BASE."""
    if os.geteuid():
        yield (), ()
        return
    if not shutil.which("unshare") or not shutil.which("nsenter"):
        pytest.skip("needs unshare and nsenter: apt-get install util-linux")
    known = BASE.exists()
    BASE.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / "base").mkdir(mode=0o700)
    script = f'mount --bind "{folder}/base" {BASE} && exec "$@"'
    try:
        yield (
            ("unshare", "--mount", "sh", "-c", script, "sh"),
            ("nsenter", "--mount=/proc/{pid}/ns/mnt", "--"),
        )
    finally:
        if not known:
            with contextlib.suppress(OSError):
                BASE.rmdir()
