"""Failure policies against real processes: the local transport, the shipped agent, stock steps."""

from __future__ import annotations

import os
import textwrap
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drrun.execute.decide import Finish
from drrun.execute.drive import Driver
from drrun.execute.hosts import Hosts
from drrun.execute.recorder import Recorder
from drrun.journal.events import ChangeIntended, RunAttached
from drrun.journal.state import RunState
from drrun.lang.inventory import load_inventory
from drrun.lang.load import load_runbook
from drrun.machine import SystemClock
from drrun.plan.bind import bind
from drrun.plan.compile import compile_plan
from drrun.plan.plan import Plan
from drrun.registry import Registry
from drrun.testing.world import Answers, MemoryJournal, World
from drrun.transport.agent import AgentSetting
from drrun.transport.local import LocalTransport
from drrun.values import RunId

from .conftest import HEAD, INVENTORY

STOCK = Registry()


@dataclass
class Shell:
    """A runbook over this machine's /bin/sh, standing in for the hosts h1 to h3."""

    folder: Path
    plan: Plan = field(init=False)
    journal: MemoryJournal = field(default_factory=lambda: MemoryJournal(World()))

    def write(self, steps: str) -> None:
        """Compile the runbook; FOLDER stands for the test's own folder."""
        text = textwrap.dedent(steps).replace("FOLDER", str(self.folder))
        loaded = load_runbook(Path("t.yaml"), f"{HEAD}steps:\n{textwrap.indent(text, '  ')}")
        inventory = load_inventory(Path("inventory.yaml"), INVENTORY)
        binding = bind(loaded, inventory, {})
        self.plan = compile_plan(
            loaded, inventory, binding, STOCK, run=RunId("r-shell"), versions={}
        ).plan

    def drive(self) -> Finish:
        """One controller, to the end."""
        state = RunState.of(self.plan, self.journal.events())
        recorder, stop = Recorder(self.journal, state), threading.Event()
        setting = AgentSetting(base=str(self.folder / "base"))
        hosts = Hosts(self.plan, LocalTransport(setting))
        try:
            hosts.fence(state.epoch + 1, "tester")
            recorder.record(
                RunAttached(epoch=state.epoch + 1, operator="t", controller="t", pid=1, version="0")
            )
            clock = SystemClock(stop)
            return Driver(recorder, hosts, STOCK, clock, Answers(), 4, stop).drive()
        finally:
            hosts.close()

    @property
    def undone(self) -> list[tuple[str, str]]:
        """(unit, change) of each change of the undo, in order."""
        found = [e for e in self.journal.written if isinstance(e, ChangeIntended) and e.undo]
        return [(str(e.unit), e.name) for e in found]


@pytest.fixture(name="here")
def _here(tmp_path: Path) -> Shell:
    """A shell with a folder of its own."""
    return Shell(tmp_path)


def lives(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in {"Z", "X"}


DEAF = """
- id: hang
  hosts: members[0]
  uses: script
  POLICY
  with:
    timeout: 1s
    script: |
      trap '' TERM
      sh -c 'trap "" TERM; sleep 300 & echo $! >>FOLDER/pids; wait' &
      echo $$ $! >>FOLDER/pids
      echo began
      while :; do sleep 1; done
"""


def still_there(here: Shell) -> list[int]:
    """Which of the three processes that the deaf command began still run."""
    pids = [int(word) for word in (here.folder / "pids").read_text().split()]
    assert len(pids) == 3
    return [pid for pid in pids if lives(pid)]


def test_a_timeout_ends_every_process_of_a_deaf_command(here: Shell) -> None:
    """Shell, child and grandchild ignore TERM: all are gone. What is safe failed."""
    here.write(DEAF.replace("POLICY", "repeat: safe"))
    finish = here.drive()
    assert (finish.status, finish.exit_code) == ("failed", 1)
    assert "ended after its timeout of 1.0s" in finish.why
    assert still_there(here) == []


def test_what_a_timeout_killed_is_unknown_and_not_run_a_second_time(here: Shell) -> None:
    """What may never be repeated is unknown, after a resume as well; nobody runs it again."""
    here.write(DEAF.replace("POLICY", "on_unknown: ask"))
    for _ in range(2):
        finish = here.drive()
        assert (finish.status, finish.exit_code) == ("waiting", 6)
        assert still_there(here) == []


def test_the_steps_timeout_ends_a_command_without_one_of_its_own(here: Shell) -> None:
    """`timeout:` of the step bounds the attempt, though the script would be given ten minutes."""
    here.write(
        """
        - {id: a, hosts: "members[0]", uses: script, timeout: 1s, repeat: safe,
           with: {script: "echo $$ >FOLDER/pid; sleep 300"}}
        """
    )
    assert here.drive().exit_code == 1
    assert not lives(int((here.folder / "pid").read_text()))


def test_undo_brings_files_back_in_reverse_order(here: Shell) -> None:
    """Two copies over one file, one after the other, and one beside it: each undone by its own.

    Before each had a name of its own for what it set aside, the last undo removed the file.
    """
    (here.folder / "one").write_text("one")
    (here.folder / "two").write_text("two")
    (here.folder / "live").write_text("live")
    here.write(
        """
        - {id: one, hosts: "members[0]", uses: copy, with: {source: FOLDER/one, dest: FOLDER/live}}
        - {id: new, hosts: "members[1]", uses: copy, with: {source: FOLDER/two, dest: FOLDER/new}}
        - {id: same, hosts: "members[2]", uses: copy, with: {source: FOLDER/two, dest: FOLDER/new}}
        - {id: over, hosts: "members[0]", uses: copy, with: {source: FOLDER/two, dest: FOLDER/live}}
        - {id: look, hosts: "members[0]", uses: script, repeat: safe,
           with: {script: "cat FOLDER/live FOLDER/new >FOLDER/seen; exit 3"}, on_failure: undo}
        - {id: after, hosts: "members[0]", uses: script, repeat: safe, always: true,
           with: {script: "cat FOLDER/live >FOLDER/after"}}
        """
    )
    finish = here.drive()
    assert (finish.status, finish.exit_code) == ("undone", 8)
    assert (here.folder / "seen").read_text() == "twotwo"
    assert (here.folder / "after").read_text() == "live"
    assert (here.folder / "live").read_text() == "live"
    assert not (here.folder / "new").exists()
    # `same` found the file there and only set a copy aside: it takes nothing back.
    assert here.undone == [(unit, "put-back") for unit in ("over@h1", "new@h2", "one@h1")]
    assert finish.why == "undone, but left as it is: look@h1"


def test_retries_wait_on_the_real_clock_and_then_succeed(here: Shell) -> None:
    """The third attempt finds what the first two left."""
    here.write(
        """
        - {id: a, hosts: "members[0]", uses: script, repeat: safe, retries: {attempts: 3, delay: 50ms},
           with: {script: "echo x >>FOLDER/tries; [ $(grep -c x FOLDER/tries) = 3 ]"}}
        """
    )
    assert here.drive().exit_code == 0
    assert (here.folder / "tries").read_text() == "x\n" * 3


def test_the_step_type_file_keeps_what_each_step_set_aside(here: Shell) -> None:
    """Two `file` steps on one path: both are undone, and the first content is back."""
    live, user = here.folder / "live", Path(f"/proc/{os.getpid()}")
    live.write_text("live")
    owner = f"{user.owner()}:{user.group()}"
    live.chmod(0o640)
    here.write(
        f"""
        - {{id: a, hosts: "members[0]", uses: file, with: {{path: FOLDER/live, content: a, owner: "{owner}"}}}}
        - {{id: b, hosts: "members[0]", uses: file, with: {{path: FOLDER/live, content: b, owner: "{owner}"}}}}
        - {{id: c, hosts: "members[0]", uses: command, repeat: safe, with: {{argv: ["false"]}}, on_failure: undo}}
        """
    )
    assert here.drive().exit_code == 8
    assert (live.read_text(), live.stat().st_mode & 0o777) == ("live", 0o640)
