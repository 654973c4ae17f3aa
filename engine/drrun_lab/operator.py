"""drrun as an operator uses it: the command in a process of its own, with a folder of its own.

Rule 1: nothing here imports the engine; what a run did is read from its output and its journal.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from drrun.errors import LabError

_DIGEST = 64
"""A line of a journal is a sha256 in hex, a space, and JSON."""


@dataclass(frozen=True, slots=True)
class Happened:
    """One line of a run's journal: when, what, and its fields."""

    utc: datetime
    type: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Operator:
    """Somebody with drrun, an inventory, and a folder where runs are kept."""

    inventory: Path
    state: Path

    def command(self, *words: str) -> list[str]:
        """The command line: `drrun` beside this Python, else its module."""
        beside = Path(sys.executable).with_name("drrun")
        return [str(beside), *words] if beside.exists() else [sys.executable, "-m", "drrun", *words]

    @property
    def environment(self) -> dict[str, str]:
        """What drrun is started with: this inventory, this folder, no colours."""
        own = {"DRRUN_STATE": str(self.state), "DRRUN_INVENTORY": str(self.inventory)}
        return {**os.environ, **own, "NO_COLOR": "1"}

    def drrun(self, *words: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run drrun to its end and keep what it said; not checked. Nobody is there to be asked."""
        return subprocess.run(
            self.command(*words),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Start drrun and return at once; its standard output is a pipe to read lines from."""
        return subprocess.Popen(
            self.command(*words),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def runs(self) -> list[str]:
        """The ids of the runs in the folder, the oldest first."""
        folder = self.state / "runs"
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def journal(self, run: str) -> list[Happened]:
        """What the journal of a run holds. A torn last line is left out, as a resume does."""
        path = self.state / "runs" / run / "journal.jsonl"
        return list(_lines(path))

    def newest(self) -> str:
        """The newest run. Raises LabError when there is none."""
        runs = self.runs()
        if not runs:
            raise LabError(f"no run was started: {self.state} is empty")
        return runs[-1]


def _lines(path: Path) -> Iterator[Happened]:
    for line in path.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n"):
            return
        record = json.loads(line[_DIGEST + 1 :])
        stamp = datetime.fromisoformat(record["utc"])
        when = stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)
        yield Happened(when, record["type"], record["body"])
