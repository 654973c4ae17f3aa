"""A desk: the command line over a world of fake hosts, a state folder and two files of its own."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from drrun.app import App
from drrun.cli.main import run
from drrun.ports import Prompt
from drrun.registry import GROUP, Registry
from drrun.store.folder import FolderStore
from drrun.testing.world import World, WorldTransport
from drrun.values import HostName

INVENTORY = """\
drrun_inventory: 1
name: test
hosts:
  h[1-3]:
groups:
  members: [h1, h2, h3]
"""

RUNBOOK = """\
drrun: 1
name: demo
title: Wipe and restore
objectives: {rto: 15m}
roles:
  members: {min: 1}
steps:
  - id: stop
    hosts: members
    uses: world.set
    with: {key: server, to: stopped}
  - id: wipe
    title: Replace the data
    hosts: members
    uses: world.wipe
    with: {key: data, to: restored}
  - id: start
    hosts: members
    uses: world.set
    with: {key: server, to: running}
  - id: agree
    hosts: members
    uses: world.agree
    with: {key: data}
"""

FAILING = """\
drrun: 1
name: failing
title: The second step fails
roles:
  members: {min: 1}
steps:
  - id: stop
    hosts: members
    uses: world.set
    with: {key: server, to: stopped}
  - id: fail
    hosts: members[1]
    uses: world.fail
    with: {code: "3"}
  - id: after
    hosts: members
    uses: world.set
    with: {key: server, to: running}
"""


@dataclass(frozen=True)
class Said:
    """What one command line gave."""

    code: int
    out: str
    err: str

    @property
    def plain(self) -> str:
        """Standard output without what differs from run to run."""
        return still(self.out)


def still(text: str) -> str:
    """The text without run ids, times and durations."""
    text = re.sub(r"r\d{8}-\d{6}-[0-9a-f]{4}", "RUN", text)
    text = re.sub(r"/\S*/RUN/", "STATE/RUN/", text)
    text = re.sub(r"plan=[0-9a-f]+", "plan=DIGEST", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME", text)
    return re.sub(r"\b\d+\.\d+s?\b", "N", text)


@dataclass
class Desk:
    """One operator's place: hosts, files, and the command line."""

    folder: Path
    capture: pytest.CaptureFixture[str]
    world: World = field(default_factory=World)

    def __post_init__(self) -> None:
        """Hosts that run and hold old data."""
        for host in ("h1", "h2", "h3"):
            self.world.of(HostName(host)).update(server="running", data="old")
        self.write("inventory.yaml", INVENTORY)
        self.write("demo.yaml", RUNBOOK)
        self.write("failing.yaml", FAILING)

    def write(self, name: str, text: str) -> None:
        """A file beside the others."""
        (self.folder / name).write_text(textwrap.dedent(text))

    def make(self, prompt: Prompt) -> App:
        """The engine over the world, one unit at a time."""
        return App(
            prompt=prompt,
            registry=Registry([EntryPoint("world", "drrun.testing.steps", GROUP)]),
            store=FolderStore(self.folder / "state"),
            transport=WorldTransport(self.world),
        )

    def __call__(self, *words: str) -> Said:
        """Run one command line."""
        self.capture.readouterr()
        code = run(words, self.make)
        said = self.capture.readouterr()
        return Said(code, said.out, said.err)


@pytest.fixture(name="desk")
def _desk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Desk:
    """A desk in a folder of its own; the environment says nothing."""
    for name in ("DRRUN_INVENTORY", "NO_COLOR", "TERM", "SUDO_USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DRRUN_STATE", str(tmp_path / "elsewhere"))
    monkeypatch.chdir(tmp_path)
    return Desk(tmp_path, capsys)
