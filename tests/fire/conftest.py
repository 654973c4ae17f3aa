"""Real controllers on this machine: processes with terminals, signals and disks of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from drrun.store.folder import FolderStore, StoredRun
from drrun_lab.waiting import until

ROOT = Path(__file__).parents[2]
WORDS = ("one", "two", "three", "four")
RUNBOOK = """\
drrun: 1
name: fire
title: Four words, each of them once
inputs:
  file: {required: true, help: Where the words go}
  gate: {required: true, help: What the second word waits for}
  code: {type: int, default: 0, help: How the third one ends}
steps:
  - {id: one, hosts: controller, uses: fire.once, on_unknown: ask, with: {file: "{{ inputs.file }}", word: one}}
  - {id: two, hosts: controller, uses: fire.once, on_unknown: ask, with: {file: "{{ inputs.file }}", word: two, gate: "{{ inputs.gate }}"}}
  - {id: three, hosts: controller, uses: fire.once, on_unknown: ask, with: {file: "{{ inputs.file }}", word: three, code: "{{ inputs.code }}"}}
  - {id: four, hosts: controller, uses: fire.once, on_unknown: ask, with: {file: "{{ inputs.file }}", word: four}}
"""
INVENTORY = """\
drrun_inventory: 1
name: here
hosts:
  here:
groups:
  all: [here]
"""
HEARD = ("env", "--default-signal=INT,HUP")
"""Signals are as at a terminal, whatever whoever runs the tests has put aside."""
PATIENCE = 120.0
"""Seconds after which what a test waits for will not come any more."""


@dataclass
class Fire:
    """One operator on this machine: a state folder, a host folder, and processes."""

    folder: Path
    state: Path
    started: list[subprocess.Popen[Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """The files of a run."""
        (self.folder / "fire.yaml").write_text(RUNBOOK)
        (self.folder / "inventory.yaml").write_text(INVENTORY)

    @property
    def gate(self) -> Path:
        """What the second word waits for."""
        return self.folder / "gate"

    @property
    def store(self) -> FolderStore:
        """Where the runs are."""
        return FolderStore(self.state / "runs")

    @property
    def run(self) -> StoredRun:
        """The newest run."""
        return self.store.find(None)

    @property
    def kinds(self) -> list[str]:
        """The types of its events."""
        return [event.type for event in self.run.events]

    def env(self) -> dict[str, str]:
        """What the processes are told."""
        more = {"DRRUN_STATE": str(self.state), "FIRE_BASE": str(self.folder / "host")}
        kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
        return {**kept, "TERM": "xterm", **more}

    def words(self, *words: str) -> list[str]:
        """A command line."""
        return [sys.executable, "-m", "tests.fire.drive", *words]

    def runbook(self, *more: str) -> list[str]:
        """The command line that starts the run."""
        given = {"file": self.folder / "words", "gate": self.gate}
        pairs = [word for key, value in given.items() for word in ("-e", f"{key}={value}")]
        inventory = str(self.folder / "inventory.yaml")
        return self.words(str(self.folder / "fire.yaml"), "-i", inventory, *pairs, *more)

    def start(self, words: list[str], **more: Any) -> subprocess.Popen[Any]:
        """A process, which the test's end takes down."""
        given: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE}
        given |= {"stderr": subprocess.PIPE, "cwd": ROOT, "env": self.env()}
        process = subprocess.Popen([*HEARD, *words], **(given | more))
        self.started.append(process)
        return process

    def do(self, words: list[str]) -> subprocess.CompletedProcess[str]:
        """A process from its start to its end."""
        return subprocess.run(
            [*HEARD, *words],
            cwd=ROOT,
            env=self.env(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def at_the_gate(self) -> None:
        """Wait until the second command runs on the host."""
        begun = self.folder / "words.begun"
        until(
            lambda: begun.exists() and "two" in begun.read_text(),
            timeout=PATIENCE,
            awaiting="the command at the gate",
        )

    def open_gate(self) -> None:
        """Let it go on."""
        self.gate.touch()

    def counted(self) -> Counter[str]:
        """What the host holds: each word, and how often."""
        path = self.folder / "words"
        return Counter(path.read_text().split()) if path.exists() else Counter()

    def proved(self) -> None:
        """The run is done, and every word is there once."""
        assert self.kinds[-1] == "run.finished"
        assert self.counted() == Counter(WORDS)

    def close(self) -> None:
        """End what still runs."""
        self.gate.touch()
        for process in self.started:
            process.kill()
            with suppress(ValueError):
                process.communicate()


@pytest.fixture(name="fire")
def _fire(tmp_path: Path) -> Iterator[Fire]:
    """An operator with a folder of his own."""
    fire = Fire(tmp_path, tmp_path / "state")
    try:
        yield fire
    finally:
        fire.close()
