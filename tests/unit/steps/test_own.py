"""Services that a command on the host runs: the guide's own script, with real processes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from drrun.spi import Command, Fact, Refused, Reply
from drrun.testing import FakeHost
from drrun_steps.etcd.config import EtcdConfig
from drrun_steps.service.dead_end import ServiceDeadEnd
from drrun_steps.service.facts import ServiceHeld, ServiceInstance, ServiceReady, ServiceState
from drrun_steps.service.flags import ServiceFlag, set_flag
from drrun_steps.service.steps import Start, Stop, restart

T = TypeVar("T")
NAME = "etcd"
STATE, HELD, READY = ServiceState(NAME), ServiceHeld(NAME), ServiceReady(NAME)
GUIDE = Path(__file__).parents[3] / "docs/how-to/other-supervisors.md"


def script_of_the_guide() -> str:
    """What an operator copies."""
    found = re.search(r"```sh\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    assert found
    return found[1]


class Place:
    """A folder that the scripts take for a host with commands of its own."""

    def __init__(self, folder: Path, shell: tuple[str, ...]) -> None:
        self.shell, self.folder = shell, folder
        self.command = folder / "services" / NAME
        for made in (self.command.parent, folder / "words", folder / "run", folder / "data"):
            made.mkdir()
        self.says("sleep", "1000")
        self.is_now(script_of_the_guide())

    def says(self, *words: str) -> None:
        """What the service is started with."""
        (self.folder / "words" / NAME).write_text("\n".join(words) + "\n")

    def is_now(self, script: str) -> None:
        """The host's command for the service."""
        script = script.replace("/run/", f"{self.folder}/run/")
        self.command.write_text(script.replace("/var/log/", f"{self.folder}/run/"))
        self.command.chmod(0o755)

    def run(self, command: Command) -> Reply:
        """The script as the host would run it, the folder elsewhere."""
        script = command.script().decode()
        script = script.replace("/etc/drrun/services", str(self.command.parent))
        done = subprocess.run(
            self.shell,
            input=script.encode(),
            capture_output=True,
            env={"PATH": f"{os.environ['PATH']}:/sbin:/usr/sbin"},
            check=False,
            timeout=60,
        )
        return Reply(done.returncode, done.stdout, done.stderr)

    def read(self, fact: Fact[T]) -> T:
        """A fact's answer."""
        return fact.parse(self.run(fact.ask()))

    def do(self, step: Stop | Start) -> list[str]:
        """Run a step: what it asks is asked of this folder, what it changes is changed here."""
        answers: dict[Fact[Any], Any] = {STATE: self.read(STATE), HELD: self.read(HELD)}
        host = FakeHost("cp1", answers, layout="commands")
        step.run(host)
        for change in host.changes:
            done = self.run(change.command)
            assert done.exit == 0, done.complaint
        return host.change_names


@pytest.fixture
def place(shell: tuple[str, ...], tmp_path: Path) -> Iterator[Place]:
    """One a shell; what was started is ended."""
    if not shutil.which("start-stop-daemon", path="/sbin:/usr/sbin"):
        pytest.skip("start-stop-daemon is not installed")
    if os.geteuid() != 0:
        pytest.skip("start-stop-daemon --chuid needs root")
    place = Place(tmp_path, shell)
    yield place
    subprocess.run([place.command, "lift"], check=False)
    place.is_now(script_of_the_guide())
    subprocess.run([place.command, "stop"], check=False, capture_output=True, timeout=60)


def test_it_is_started_stopped_and_held(place: Place) -> None:
    """A real process comes and goes; a hold makes a start fail, and service.start lifts it."""
    assert (place.read(STATE), place.read(READY), place.read(HELD)) == ("stopped", False, False)
    assert place.do(Start(service=NAME)) == ["start"]
    assert (place.read(STATE), place.read(READY)) == ("running", True)
    assert place.do(Stop(service=NAME, grace=5)) == ["hold", "stop"]
    assert (place.read(STATE), place.read(HELD)) == ("stopped", True)
    assert subprocess.run([place.command, "start"], check=False).returncode == 6
    assert place.read(STATE) == "stopped"
    assert place.read(ServiceDeadEnd(NAME)) == ""
    assert place.do(Start(service=NAME)) == ["lift", "start"]
    assert (place.read(STATE), place.read(HELD)) == ("running", False)


def test_a_restart_is_another_life(place: Place) -> None:
    """The first line of `status` is what tells the lives apart."""
    place.do(Start(service=NAME))
    before = place.read(ServiceInstance(NAME))
    assert before.isdigit()
    assert place.run(restart(NAME)).exit == 0
    assert place.read(ServiceInstance(NAME)) not in {"", before}


def test_an_exit_without_a_meaning_is_no_answer(place: Place) -> None:
    """What cannot be told is not taken for stopped, nor for not held."""
    place.is_now("#!/bin/sh\nexit 4\n")
    asked: tuple[Fact[Any], ...] = (STATE, READY, HELD)
    for fact in asked:
        with pytest.raises(ValueError, match="exits 4, which says nothing"):
            place.read(fact)


def test_what_is_not_ready_runs(place: Place) -> None:
    """150: there is a process, and it does not serve yet."""
    place.is_now("#!/bin/sh\necho 7\nexit 150\n")
    assert (place.read(STATE), place.read(READY)) == ("running", False)
    assert place.read(ServiceInstance(NAME)) == "7"


def test_its_settings_are_read_and_never_changed(place: Place) -> None:
    """Flags and variables, as they are printed; the owner is the data directory's."""
    data = place.folder / "data"
    place.says("ETCD_NAME=cp1", "etcd", f"--data-dir={data}", "--wal-dir=/w")
    config = place.read(EtcdConfig(NAME))
    assert (config.found, config.name, config.data_dir) == (True, "cp1", str(data))
    assert (config.wal_dir, config.owner) == ("/w", "root:root")
    flag = ServiceFlag(NAME, "wal-dir", "ETCD_WAL_DIR")
    assert place.read(flag) == ("/w",)
    assert place.read(ServiceFlag(NAME, "name", "ETCD_NAME")) == ("cp1",)
    assert place.read(ServiceFlag(NAME, "quota-backend-bytes")) == ()
    done = place.run(set_flag(flag, "/x", "r-1"))
    assert done.exit == 5
    assert "change --wal-dir there" in done.complaint
    assert place.read(flag) == ("/w",)


def test_a_unit_by_its_whole_name_is_a_unit(place: Place) -> None:
    """`etcd.service`, with the suffix, never means the command."""
    place.is_now("#!/bin/sh\nexit 4\n")
    assert "services" not in place.run(ServiceState("etcd.service").ask()).complaint


def test_k3s_is_refused_with_the_reason() -> None:
    """One process is etcd, API server and controllers: a stop of one would be a lie. k3s itself can stop."""
    host = FakeHost("s1", {ServiceState("k3s"): "running", ServiceHeld("k3s"): False}, layout="k3s")
    with pytest.raises(Refused, match="in one process"):
        Stop(service=NAME).run(host)
    Stop(service="k3s").run(host)
    assert host.change_names == ["hold", "stop"]
