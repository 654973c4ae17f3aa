"""What the host's side of drrun/1 says when a disk, a supervisor or a lock fails at its worst moment.

strace injects the failure where it says: an error of one call on one file, or a pause before it.
"""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from drrun.errors import StepFailed
from drrun.ports import JobState
from drrun.transport.line import ShellLine

from .conftest import Jobs, Lines
from .test_agent import finish, pid_in, supervise

Broken = Callable[..., tuple[str, ...]]


@pytest.fixture
def broken(base: Path, shell: tuple[str, ...], tmp_path: Path) -> Broken:
    """A shell, harmed by strace: supervisors' calls on one file below `base`, else all of agents'."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: apt-get install strace")

    def harm(injection: str, file: str = "") -> tuple[str, ...]:
        words = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={injection}"]
        traced = shlex.join([*words, *(("-P", str(base / file)) if file else ()), *shell])
        wrapper = tmp_path / "shell"
        whom = '"${2:-}" = sup' if file else '"$1" = -s'
        wrapper.write_text(
            f'#!/bin/sh\n[ {whom} ] && exec {traced} "$@"\nexec {shlex.join(shell)} "$@"\n'
        )
        wrapper.chmod(0o755)
        return (str(wrapper),)

    return harm


def test_room_for_an_exit_is_no_exit(
    lines: Lines, shell: tuple[str, ...], jobs: Jobs, tmp_path: Path, base: Path
) -> None:
    """The file of the exit is there from the claim on; only a whole line of six numbers is one."""
    line, gate = lines(shell), tmp_path / "gate"
    os.mkfifo(gate)
    job = jobs(f"read x <{gate}\n".encode())
    line.launch(job)
    folder = base / job.run / job.token
    with gate.open("w") as writer:
        os.kill(pid_in(base, job, "start"), signal.SIGKILL)
        while (report := line.poll(job.run, job.token)).state is JobState.RUNNING:
            pass
        assert (report.state, report.code) == (JobState.ORPHAN, None)
        blank = f"{'':8190}\n"
        for torn in ("", "\n" + blank, "\0" * 12, "0", "0 4", "0 0 0 0 0" + blank, "x 0 0 0 0 0\n"):
            (folder / "exit").write_text(torn)
            assert line.poll(job.run, job.token).state is JobState.ORPHAN
        writer.write("go\n")
    assert line.poll(job.run, job.token, wait=15).state is JobState.LOST


def test_an_exit_that_the_disk_refused_is_lost(lines: Lines, broken: Broken, jobs: Jobs) -> None:
    """When the exit cannot be written, the job is lost: a code that nobody kept is not made up."""
    job = jobs(b"exit 0\n")
    line = lines(broken("write:error=EIO", f"{job.run}/{job.token}/exit"))
    report = finish(line, job)
    assert (report.state, report.why, report.code) == (JobState.LOST, "killed", None)


def test_a_job_whose_start_finds_no_room_is_abandoned(
    lines: Lines, broken: Broken, jobs: Jobs, tmp_path: Path
) -> None:
    """A full disk before `start`: it does not begin, and what was kept for the exit says so."""
    effect = tmp_path / "effect"
    job = jobs(f"echo x >{effect}\n".encode())
    line = lines(broken("openat:error=ENOSPC", f"{job.run}/{job.token}/start.sup.1"))
    report = line.launch(job)
    assert (report.state, report.why) == (JobState.ABANDONED, "disk")
    assert not effect.exists()


def test_a_command_that_cannot_say_who_it_is_does_not_begin(
    lines: Lines, broken: Broken, jobs: Jobs, tmp_path: Path
) -> None:
    """A full disk before `child`: nobody could end such a command, so it does not run."""
    effect = tmp_path / "effect"
    job = jobs(f"echo x >{effect}\n".encode(), timeout=60)
    line = lines(broken("write:error=ENOSPC", f"{job.run}/{job.token}/child"))
    report = finish(line, job)
    assert (report.state, report.why) == (JobState.ABANDONED, "disk")
    assert not effect.exists()


def test_a_disk_that_does_not_keep_start_begins_nothing(
    lines: Lines, broken: Broken, jobs: Jobs, tmp_path: Path
) -> None:
    """An fsync of a directory fails: a durable job is taken back before its command begins."""
    effect = tmp_path / "effect"
    job = jobs(f"echo x >{effect}\n".encode())
    line = lines(broken("fsync:error=EIO", f"{job.run}/{job.token}"))
    report = line.launch(job)
    assert (report.state, report.why) == (JobState.ABANDONED, "disk")
    assert not effect.exists()


def test_a_lock_that_the_disk_does_not_keep_is_not_held(broken: Broken, lines: Lines) -> None:
    """An fsync of the lock fails: the host is not said to be taken."""
    with pytest.raises(StepFailed, match="cannot take the host's lock"):
        lines(broken("fsync:error=EIO"))


def test_a_command_that_is_late_for_its_dead_supervisor_never_begins(
    lines: Lines, broken: Broken, shell: tuple[str, ...], jobs: Jobs, tmp_path: Path
) -> None:
    """The supervisor dies right after it forked: once abandoned, the command cannot begin."""
    effect, base = tmp_path / "effect", tmp_path / "base"
    job = jobs(f"echo x >{effect}\n".encode())
    folder = base / job.run / job.token
    slow = lines(broken("openat:delay_enter=1500000", f"{job.run}/{job.token}/child"))
    slow.launch(job)
    supervisor = pid_in(base, job, "start")
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children")
    while len(children.read_text().split()) < 3:  # two drains, and the command to be
        pass
    late = children.read_text().split()[-1]
    os.kill(supervisor, signal.SIGKILL)
    line = lines(shell)
    while (report := line.poll(job.run, job.token)).state is JobState.RUNNING:
        pass
    assert (report.state, report.why) == (JobState.CLAIMED, "its supervisor died")
    assert Path(f"/proc/{late}").exists()
    assert line.abandon(job.run, job.token, 1).state is JobState.ABANDONED
    with contextlib.suppress(ProcessLookupError):
        select.select([os.pidfd_open(int(late))], [], [], 20)
    assert not effect.exists()
    assert line.poll(job.run, job.token).state is JobState.ABANDONED
    line.ack(job.run, job.token)
    assert {path.name for path in folder.iterdir()} == {"child", "start", "witness"}


def test_a_name_that_is_taken_stops_a_command(
    lines: Lines, shell: tuple[str, ...], jobs: Jobs, tmp_path: Path, base: Path
) -> None:
    """Whoever took `child` first decides: the command does not begin, whatever its supervisor does."""
    line, effect, job = lines(shell), tmp_path / "effect", jobs(b"")
    finish(line, jobs(b"true\n"))  # leaves the agent's file
    folder = base / job.run / job.token
    folder.mkdir()
    (folder / "cmd").write_text(f"echo x >>{effect}\n")
    (folder / "exit").write_text("\n" + " " * 100 + "\n")
    (folder / "child").write_text("abandoned 2\n")
    assert supervise(shell, base, job) == 3
    assert not effect.exists()
    assert line.poll(job.run, job.token).state is JobState.ABANDONED


def test_a_launch_needs_its_runs_lock(line: ShellLine, jobs: Jobs, tmp_path: Path) -> None:
    """Without the host's lock nothing begins: neither after a release, nor for a run of old."""
    effect = tmp_path / "effect"
    line.release("run-1", 1)
    report = line.launch(jobs(f"echo x >{effect}\n".encode()))
    assert report.state is JobState.FENCED
    assert "nobody does" in report.why
    line.fence("run-2", 1, "other")
    report = line.launch(jobs(f"echo x >{effect}\n".encode()))
    assert (report.state, "run-2" in report.why) == (JobState.FENCED, True)
    assert not effect.exists()


def test_no_watchdog_outlives_its_job(line: ShellLine, jobs: Jobs) -> None:
    """However quickly a job ends, nobody goes on sleeping for its timeout."""
    timeout = 100_000 + os.getpid()  # nobody else's
    for _ in range(40):
        finish(line, jobs(b"true\n", timeout=timeout))
    left = [
        path.parent.name
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if f"sleep\0{timeout}.".encode() in _read(path)
    ]
    assert left == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
