"""A stopped member's data, measured by the real script in real shells; etcd's tool is a stand-in."""

from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path

import pytest

from drrun.spi import Reply
from drrun_steps.etcd.disk import DataDir, EtcdDataDir

TOOL = """#!/bin/sh
[ ! -e {folder}/slow ] || sleep 5
read -r first <"$3"
echo "{{\\"revision\\": $first, \\"totalKey\\": 7}}"
"""


class Member:
    """A folder with a database, and an etcdutl that prints what stands in it."""

    def __init__(self, folder: Path, shell: tuple[str, ...]) -> None:
        self.folder, self.shell = folder, shell
        self.data, tools = folder / "data", folder / "bin"
        tools.mkdir()
        (self.data / "member" / "snap").mkdir(parents=True)
        self.database = self.data / "member" / "snap" / "db"
        self.database.write_text("140\n")
        tool = tools / "etcdutl"
        tool.write_text(TOOL.format(folder=folder))
        tool.chmod(0o755)

    def measured(self, **env: str) -> DataDir:
        """What the fact finds."""
        fact = EtcdDataDir(data_dir=str(self.data))
        path = f"PATH={self.folder}/bin:/usr/local/sbin:"
        script = fact.ask().script().decode().replace("PATH=/usr/local/sbin:", path)
        done = subprocess.run(
            self.shell,
            input=script.encode(),
            capture_output=True,
            env={"PATH": os.environ["PATH"], **env},
            check=False,
            timeout=60,
        )
        return fact.parse(Reply(done.returncode, done.stdout, done.stderr))


@pytest.fixture
def member(shell: tuple[str, ...], tmp_path: Path) -> Member:
    """One a shell."""
    return Member(tmp_path, shell)


def test_the_revision_is_read_from_the_database(member: Member) -> None:
    """By an open file, as the tool would make one that is not there."""
    assert member.measured() == DataDir("readable", revision=140, keys=7)
    member.database.unlink()
    assert member.measured().state == "unreadable"
    assert not member.database.exists()


def test_a_database_that_is_locked_is_in_use_and_nobody_waits(member: Member) -> None:
    """Bolt would wait for ever for the lock of an etcd that sees the directory by another path."""
    (member.folder / "slow").touch()
    with member.database.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert member.measured() == DataDir("in-use")


def test_a_database_that_takes_long_is_not_called_in_use(member: Member) -> None:
    """A large one is read for minutes: how long it may take goes by its size, and then it is told."""
    (member.folder / "slow").touch()
    found = member.measured(LIMIT="1")
    assert found.state == "unreadable"
    assert "was not read within 1 s" in found.why
    assert member.measured() == DataDir("readable", revision=140, keys=7)
