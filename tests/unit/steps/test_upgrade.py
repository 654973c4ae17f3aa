"""Which upgrades of etcd are refused before anything is touched, and what each host is asked for."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.unit.steps.recorded_answers import said

from drrun.spi import Done, DoneChange, Fact, Refused, Reply
from drrun.testing import FakeGroup, FakeHost
from drrun_steps.etcd.live import EtcdStatus, Status
from drrun_steps.etcd.membership import EtcdMembership, Membership
from drrun_steps.etcd.program import EtcdClusterVersion, EtcdProgram, Program, parsed
from drrun_steps.etcd.support import KNOWN_BAD
from drrun_steps.etcd.upgrade import Upgrade, unfit

PATH = "/usr/local/bin/etcd"


@pytest.mark.parametrize(
    ("now", "to", "because"),
    [
        ("3.4.23", "3.5.16", ""),
        ("3.5.16", "3.5.30", ""),
        ("3.5.16", "3.5.16", ""),
        ("", "3.5.16", ""),
        ("3.5.16", "3.5.15", "newer than"),
        ("3.5.16", "3.4.30", "newer than"),
        ("3.4.23", "3.6.14", "one minor version at a time"),
        ("3.5.33", "4.0.0", "one minor version at a time"),
        ("3.5.31", "3.6.9", "safe from 3.5.32 on"),
        ("3.5.32", "3.6.9", ""),
        ("3.6.1", "3.6.9", ""),
    ],
)
def test_which_way_etcd_goes(now: str, to: str, because: str) -> None:
    """Up, one minor version at a time, from a patch that is safe."""
    found = unfit(now, to)
    assert (found is None) is (because == "")
    assert because in (found or ("", ""))[0]


def test_a_version_is_three_numbers() -> None:
    """A build's suffix is no part of it; two or four numbers are no version."""
    assert parsed("3.5.16") == parsed("3.5.16-rc.1") == (3, 5, 16)
    assert [parsed(text) for text in ("3.5", "v3.5.1", "3.5.16.1", "latest", "")] == [None] * 5


def test_what_a_host_would_start(tmp_path: Path) -> None:
    """The unit's own program; a pod's image; neither."""
    fact = EtcdProgram()
    unit = fact.parse(said(f"by=unit\npath={PATH}\nversion=3.5.16\n"))
    assert unit == Program("unit", PATH, "3.5.16")
    assert fact.parse(said("by=pod\npath=k8s.gcr.io/etcd:3.5.16-0\n")).by == "pod"
    assert fact.parse(said("by=none\n")).by == "none"
    for broken in ("", "by=chance\n"):
        with pytest.raises(ValueError, match="cannot tell which etcd"):
            fact.parse(said(broken))


def test_how_far_the_cluster_has_come() -> None:
    """Its minor version; not answering is an answer."""
    fact = EtcdClusterVersion()
    assert fact.parse(said('{"etcdserver":"3.5.16","etcdcluster":"3.4.0"}')) == "3.4"
    assert fact.parse(said('{"etcdserver":"3.5.16","etcdcluster":"not_decided"}')) == ""
    assert fact.parse(Reply(7, b"", b"refused")) == ""


def _host(name: str, program: Program, status: Status, cluster: str = "3.4") -> FakeHost:
    answers: dict[Fact[Any], Any] = {
        EtcdProgram(): program,
        EtcdStatus(): status,
        EtcdMembership(): Membership(quorum=True),
        EtcdClusterVersion(): cluster,
    }
    return FakeHost(name, answers)


def _three(program: Program, status: Status, cluster: str = "3.4") -> FakeGroup:
    return FakeGroup([_host(name, program, status, cluster) for name in ("cp1", "cp2", "cp3")])


OLD = Program("unit", PATH, "3.4.23")
RUNS = Status(answers=True, version="3.4.23", has_leader=True)


@pytest.mark.parametrize(
    ("to", "program", "status", "words"),
    [
        ("newest", OLD, RUNS, "is no version"),
        (next(iter(KNOWN_BAD)), OLD, RUNS, "corrupt data"),
        ("3.5.16", Program("pod", "etcd:3.4"), RUNS, "as a static pod"),
        ("3.5.16", Program("command"), RUNS, "a command of the host's own"),
        ("3.5.16", Program("none"), RUNS, "there is no etcd"),
        ("3.5.16", OLD, Status(answers=True, alarms=("NOSPACE",)), "the alarm NOSPACE"),
        ("3.6.14", OLD, RUNS, "one minor version at a time"),
        ("3.5.16", OLD, Status(answers=False, why="refused"), "does not answer"),
    ],
)
def test_what_cannot_go_well_is_refused(
    to: str, program: Program, status: Status, words: str
) -> None:
    """Before any change on any host."""
    group = _three(program, status)
    with pytest.raises(Refused, match=words):
        Upgrade(to=to, by="true").run(group)
    assert [host.changes for host in group.hosts] == [[], [], []]


def _undone(group: FakeGroup) -> list[list[str]]:
    before = {EtcdProgram().key: EtcdProgram().answers.dump_python(OLD, mode="json")}
    changes = (
        DoneChange("install-cp1", "cp1", before),
        DoneChange("restart-cp1", "cp1", {}),
        DoneChange("install-cp2", "cp2", before),
    )
    Upgrade(to="3.5.16", by="true").undo(group, Done(changes, {}))
    return [[change.name for change in group[name].changes] for name in ("cp1", "cp2", "cp3")]


def test_undo_brings_back_what_was_changed_and_restarts_what_was_restarted() -> None:
    """cp3 was not reached; cp2 has the new program and runs the old one still."""
    assert _undone(_three(OLD, RUNS)) == [["put-back-cp1", "restart-cp1"], ["put-back-cp2"], []]


def test_there_is_no_way_back_once_the_cluster_has_taken_it_up() -> None:
    """A member of the version before does not start on its data."""
    group = _three(OLD, RUNS, cluster="3.5")
    with pytest.raises(Refused, match=r"has taken up 3\.5"):
        _undone(group)


PROGRAM = """#!/bin/sh
case $1 in --version) echo 'etcd Version: {version}' ;; --help) echo '  --name
  --data-dir  where' ;; esac
"""


@pytest.mark.parametrize(
    ("by", "code", "words"),
    [
        ('cp "$NEW" "$PROGRAM"', 0, ""),
        ("exit 3", 5, "the command exits 3"),
        ("true", 6, "is 3.4.23, not 3.5.16"),
        ('sed -i s/--data-dir/--datadir/ "$NEW"; cp "$NEW" "$PROGRAM"', 7, "--data-dir"),
    ],
    ids=["done", "fails", "nothing", "flag"],
)
def test_what_is_put_in_place_is_held_against_what_was_asked_for(
    tmp_path: Path, shell: tuple[str, ...], by: str, code: int, words: str
) -> None:
    """The real script in real shells; what is not right is taken back, and sent again it does no more."""
    old, new = tmp_path / "etcd", tmp_path / "new"
    for path, version in ((old, "3.4.23"), (new, "3.5.16")):
        path.write_text(PROGRAM.format(version=version))
        path.chmod(0o755)
    systemctl = tmp_path / "bin/systemctl"
    systemctl.parent.mkdir()
    systemctl.write_text(
        '#!/bin/sh\n[ "$3" = ExecStart ] && echo \'{ path=x ; argv[]='
        f"{old} --name a --data-dir=/x ; ignore_errors=no ; }}' || :\n"
    )
    systemctl.chmod(0o755)
    host = _host("cp1", Program("unit", str(old), "3.4.23"), RUNS)
    Upgrade(to="3.5.16", by=by)._install(host, str(old))
    script = host.changes[0].command.script()
    given = script.replace(
        b"export PATH", f"PATH={systemctl.parent}:$PATH; export PATH".encode(), 1
    )
    for _ in range(2):
        done = subprocess.run(
            shell,
            input=given,
            env={"PATH": os.environ["PATH"], "NEW": str(new)},
            capture_output=True,
            check=False,
        )
        assert done.returncode == code, done.stderr.decode()
        assert words in done.stderr.decode()
        ran = subprocess.run([old, "--version"], capture_output=True, text=True, check=True)
        assert ("3.4.23" if code else "3.5.16") in ran.stdout
    assert (tmp_path / "etcd.before-r-test").read_text() == PROGRAM.format(version="3.4.23")
