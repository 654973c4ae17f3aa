"""Flags of a unit, read and changed by the real scripts in real shells; systemctl is a stand-in."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from drrun.spi import Command, Reply
from drrun_steps.service.flags import ServiceFlag, put_back, set_flag

FLAG = ServiceFlag("etcd", "initial-cluster", "ETCD_INITIAL_CLUSTER")

UNIT = """\
[Service]
# ETCD_INITIAL_CLUSTER=comment --initial-cluster=comment
ExecStart=/usr/bin/etcd --initial-cluster-state=new \\
  --initial-cluster=a=http://1:2380,b=http://2:2380 \\
  --name=a
"""
SETTINGS = """\
ETCD_NAME="a"
ETCD_INITIAL_CLUSTER_STATE="new"
ETCD_INITIAL_CLUSTER="a=http://1:2380,b=http://2:2380"
"""


class Machine:
    """A folder with unit files, and a systemctl that knows them."""

    def __init__(self, folder: Path, shell: tuple[str, ...]) -> None:
        self.unit, self.settings = folder / "etcd.service", folder / "etcd.env"
        self.shell = shell
        tools = folder / "bin"
        tools.mkdir()
        systemctl = tools / "systemctl"
        systemctl.write_text(
            "#!/bin/sh\ncase $* in\n"
            f"*FragmentPath*) echo FragmentPath={self.unit} ;;\n"
            f"*EnvironmentFiles*) [ ! -e {self.settings} ] || "
            f"echo 'EnvironmentFiles={self.settings} (ignore_errors=no)' ;;\nesac\n"
        )
        systemctl.chmod(0o755)
        self.path = f"{tools}:{os.environ['PATH']}"

    def run(self, command: Command, before: bytes = b"") -> Reply:
        """The script as the host would run it; `before`: lines of sh that come first."""
        done = subprocess.run(
            self.shell,
            input=before + command.script(),
            capture_output=True,
            env={"PATH": self.path},
            check=False,
        )
        return Reply(done.returncode, done.stdout, done.stderr)

    def flag(self, fact: ServiceFlag = FLAG) -> tuple[str, ...]:
        """The flag's values."""
        return fact.parse(self.run(fact.ask()))


@pytest.fixture
def machine(shell: tuple[str, ...], tmp_path: Path) -> Machine:
    """One a shell."""
    return Machine(tmp_path, shell)


def test_a_flag_in_the_unit_is_changed_there(machine: Machine) -> None:
    """The value, and nothing else: not the longer flag of the same beginning, not a comment."""
    machine.unit.write_text(UNIT)
    assert machine.flag() == ("a=http://1:2380,b=http://2:2380",)
    done = machine.run(set_flag(FLAG, "a=http://1:2380,c=http://3:2380", "r1"))
    assert done.exit == 0, done.complaint
    assert machine.unit.read_text() == UNIT.replace("b=http://2", "c=http://3")
    assert machine.run(put_back(FLAG, "r1")).exit == 0
    assert machine.unit.read_text() == UNIT


def test_what_a_full_disk_cut_short_is_not_what_is_put_back(machine: Machine) -> None:
    """A copy is set aside whole or not at all: the next attempt sets the file aside, and undo brings it back."""
    machine.unit.write_text(UNIT)
    assert machine.run(set_flag(FLAG, "x", "r1"), b"trap '' XFSZ\nulimit -f 0\n").exit != 0
    assert machine.unit.read_text() == UNIT
    assert machine.run(set_flag(FLAG, "x", "r1")).exit == 0
    assert machine.flag() == ("x",)
    assert machine.run(put_back(FLAG, "r1")).exit == 0
    assert machine.unit.read_text() == UNIT


def test_a_variable_in_an_environment_file_is_changed_there(machine: Machine) -> None:
    """Its quotes stay, the variable of the same beginning stays."""
    machine.unit.write_text("[Service]\nExecStart=/usr/bin/etcd\n")
    machine.settings.write_text(SETTINGS)
    value = "a=http://1:2380,b=http://2:2380,c=http://3:2380"
    assert machine.run(set_flag(FLAG, value, "r1")).exit == 0
    assert machine.flag() == (value,)
    assert machine.settings.read_text() == SETTINGS.replace("b=http://2:2380", value[16:])


def test_a_variable_that_nobody_says_is_said_at_the_end(machine: Machine) -> None:
    """Where an environment file is there; without one nothing is guessed."""
    machine.unit.write_text("[Service]\nExecStart=/usr/bin/etcd\n")
    refused = machine.run(set_flag(FLAG, "x", "r1"))
    assert refused.exit == 5
    assert "is said in 0 places" in refused.complaint
    machine.settings.write_text("ETCD_NAME=a\n")
    assert machine.run(set_flag(FLAG, "x", "r1")).exit == 0
    assert machine.settings.read_text() == 'ETCD_NAME=a\nETCD_INITIAL_CLUSTER="x"\n'


def test_a_flag_said_twice_is_not_touched(machine: Machine) -> None:
    """Which one counts is not ours to guess: both places are named."""
    machine.unit.write_text(UNIT)
    machine.settings.write_text(SETTINGS)
    done = machine.run(set_flag(FLAG, "x", "r1"))
    assert done.exit == 5
    assert "said in 2 places" in done.complaint
    assert (machine.unit.read_text(), machine.settings.read_text()) == (UNIT, SETTINGS)


@pytest.mark.field("7", "25")
@pytest.mark.parametrize(
    "line",
    [
        "--initial-cluster {}",
        "-initial-cluster {}",
        "-initial-cluster={}",
        '"--initial-cluster={}"',
        "--initial-cluster '{}'",
    ],
)
def test_a_flag_is_changed_in_whichever_of_gos_spellings_it_stands(
    machine: Machine, line: str
) -> None:
    """One dash or two, one word or two: read where it is, changed there, and no variable is added beside it."""
    old, new = "a=http://1:2380", "a=http://1:2380,c=http://3:2380"
    text = f"[Service]\nExecStart=/usr/bin/etcd --name a {line.format(old)} --initial-cluster-state new\n"
    machine.unit.write_text(text)
    machine.settings.write_text("ETCD_QUOTA_BACKEND_BYTES=1\n")
    assert machine.flag() == (old,)
    done = machine.run(set_flag(FLAG, new, "r1"))
    assert done.exit == 0, done.complaint
    assert machine.unit.read_text() == text.replace(old, new)
    assert machine.settings.read_text() == "ETCD_QUOTA_BACKEND_BYTES=1\n"


@pytest.mark.field("7")
def test_a_flag_on_two_lines_is_not_touched(machine: Machine) -> None:
    """It is seen, so that no second place is made, and the way to write it is told."""
    machine.unit.write_text(
        "[Service]\nExecStart=/usr/bin/etcd --initial-cluster \\\n  a=http://1:2380\n"
    )
    machine.settings.write_text("ETCD_NAME=a\n")
    done = machine.run(set_flag(FLAG, "x", "r1"))
    assert (done.exit, machine.settings.read_text()) == (5, "ETCD_NAME=a\n")
    assert "on two lines" in done.complaint


@pytest.mark.field("8")
@pytest.mark.parametrize("how", ["--discovery-srv example.org", "-discovery=http://x"])
def test_beside_discovery_no_members_are_written(machine: Machine, how: str) -> None:
    """Etcd with both does not start: refused, and nothing is changed."""
    text = f"[Service]\nExecStart=/usr/bin/etcd {how}\n"
    machine.unit.write_text(text)
    machine.settings.write_text("ETCD_NAME=a\n")
    done = machine.run(set_flag(FLAG, "x", "r1"))
    assert done.exit == 5
    assert "discovery" in done.complaint
    assert (machine.unit.read_text(), machine.settings.read_text()) == (text, "ETCD_NAME=a\n")


def test_any_value_is_written_as_it_is(machine: Machine) -> None:
    """No character of a value means anything to the shell or to awk."""
    machine.unit.write_text(UNIT)
    value = r"a=http://[::1]:2380,b=x&y\1$(id)`id`*"
    assert machine.run(set_flag(FLAG, value, "r1")).exit == 0
    assert value in machine.unit.read_text()


@pytest.mark.field("5", "7")
@pytest.mark.parametrize("how", ["--config-file /etc/etcd.yml", "-config-file=/etc/etcd.yml"])
def test_beside_a_configuration_file_nothing_is_written(machine: Machine, how: str) -> None:
    """Etcd ignores flags and variables then: that would be a change without an effect."""
    machine.unit.write_text(f"[Service]\nExecStart=/usr/bin/etcd {how}\n")
    machine.settings.write_text("ETCD_NAME=a\n")
    done = machine.run(set_flag(FLAG, "x", "r1"))
    assert (done.exit, machine.settings.read_text()) == (5, "ETCD_NAME=a\n")
    assert "configuration file" in done.complaint


@pytest.mark.field("7")
def test_a_flag_that_one_line_says_twice_is_not_touched(machine: Machine) -> None:
    """The last one counts for etcd; the first one would have been changed."""
    text = "[Service]\nExecStart=/usr/bin/etcd --initial-cluster=a=http://1 --initial-cluster b=http://2\n"
    machine.unit.write_text(text)
    done = machine.run(set_flag(FLAG, "x", "r1"))
    assert (done.exit, machine.unit.read_text()) == (5, text)
    assert "said in 2 places" in done.complaint


def test_a_path_that_holds_the_word_is_no_discovery(machine: Machine) -> None:
    """Only a flag or a variable of etcd is."""
    text = "[Service]\nExecStart=/usr/bin/etcd --initial-cluster=a --data-dir=/srv/etcd-discovery\n"
    machine.unit.write_text(text)
    assert machine.run(set_flag(FLAG, "x", "r1")).exit == 0


POD = """\
apiVersion: v1
spec:
  containers:
  - name: backup
    command:
    - backup
    - --every=1h
  - name: etcd
    command:
    - etcd
    - --data-dir
    - /var/lib/etcd
{}
"""


def change_pod(machine: Machine, text: str) -> tuple[int, str, str]:
    """Exit code, complaint and manifest after an initial cluster was to be set."""
    folder = machine.unit.parent
    manifest = folder / "manifests" / "etcd.yaml"
    manifest.parent.mkdir()
    manifest.write_text(text)
    script = set_flag(FLAG, "n=http://9:2380", "r1").script().decode()
    for real, ours in (
        ("/etc/kubernetes/manifests", "manifests"),
        ("/var/lib/drrun", "lib"),
        ("/var/lib/kubelet", "kubelet"),
    ):
        script = script.replace(real, f"{folder}/{ours}")
    done = subprocess.run(
        machine.shell,
        input=script.encode(),
        capture_output=True,
        env={"PATH": machine.path},
        check=False,
    )
    return done.returncode, done.stderr.decode(), manifest.read_text()


@pytest.mark.field("7", "23")
def test_a_flag_is_added_to_the_container_that_runs_etcd(machine: Machine) -> None:
    """Not to the first one, and not between a flag and its value."""
    text = POD.format("    - --advertise-client-urls=http://9:2379")
    code, complaint, now = change_pod(machine, text)
    assert code == 0, complaint
    assert now == text + "    - --initial-cluster=n=http://9:2380\n"


@pytest.mark.field("7", "23")
@pytest.mark.parametrize(
    "text",
    [
        POD.format("    env:\n    - name: ETCD_INITIAL_CLUSTER\n      value: a=http://1:2380"),
        POD.format(""),
        "spec:\n  containers:\n  - name: etcd\n    command: [etcd, --initial-cluster=a=http://1]\n",
        "spec:\n  containers:\n  - name: etcd\n    command: [etcd, --name=a]\n",
    ],
    ids=["a variable", "no place for it", "a flow list", "a flow list without it"],
)
def test_a_manifest_that_would_say_something_else_is_left_as_it_is(
    machine: Machine, text: str
) -> None:
    """A variable beside its flag ends etcd; a bracket that was cut off ends the pod. Both are refused."""
    code, complaint, now = change_pod(machine, text)
    assert (code, now) == (5, text), complaint
    assert "--initial-cluster=VALUE" in complaint
