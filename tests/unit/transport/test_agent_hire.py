"""One supervisor for the jobs of an agent, one after the other: nothing of one reaches the next."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import select
import signal
import time
from pathlib import Path

from drrun.ports import Job, JobState
from drrun.transport.line import ShellLine

from .conftest import Jobs, Lines
from .test_agent import pid_in


def gone(pid: int) -> None:
    """Wait until a process that is not our child has ended."""
    with contextlib.suppress(ProcessLookupError):
        assert select.select([os.pidfd_open(pid)], [], [], 15)[0], f"{pid} still lives"


def quick(line: ShellLine, job: Job, base: Path) -> int:
    """Run a job to its end by one request; the pid of its supervisor."""
    assert line.launch(dataclasses.replace(job, wait=15)).state is JobState.EXITED
    return pid_in(base, job, "start")


def test_jobs_share_a_supervisor(line: ShellLine, jobs: Jobs, base: Path) -> None:
    """Jobs of one agent that end in time have one supervisor, and each its own output and exit."""
    mine = [jobs(f"echo out{n}; echo err{n} >&2; exit {n}\n".encode()) for n in range(4)]
    assert len({quick(line, job, base) for job in mine}) == 1
    for n, job in enumerate(mine):
        report = line.poll(job.run, job.token)
        assert (report.code, report.out, report.err) == (n, b"out%d\n" % n, b"err%d\n" % n)


def test_what_writes_on_after_its_job_reaches_no_other(
    line: ShellLine, jobs: Jobs, base: Path, tmp_path: Path
) -> None:
    """A daemon that keeps a job's stdout has the supervisor for itself: the next job gets another."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    first, second = jobs(f"(read x <{gate}; echo late) &\n".encode()), jobs(b"echo own\n")
    before = quick(line, first, base)
    with gate.open("w") as writer:
        writer.write("go\n")
        writer.flush()
        after = quick(line, second, base)
    assert before != after
    assert line.poll(second.run, second.token).out == b"own\n"
    gone(before)


def test_a_job_that_goes_on_does_not_hold_up_the_next(
    line: ShellLine, jobs: Jobs, base: Path, tmp_path: Path
) -> None:
    """A second job begins while the first one runs, with a supervisor of its own; both are told."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    slow, fast = jobs(f"read x <{gate}; echo slow; exit 3\n".encode()), jobs(b"echo fast\n")
    assert line.launch(slow).state is JobState.RUNNING
    assert quick(line, fast, base) != pid_in(base, slow, "start")
    with gate.open("w") as writer:
        writer.write("go\n")
    report = line.poll(slow.run, slow.token, wait=15)
    assert (report.code, report.out) == (3, b"slow\n")
    assert line.poll(fast.run, fast.token).out == b"fast\n"
    gone(pid_in(base, slow, "start"))


def test_an_idle_supervisor_that_was_killed_is_replaced(
    line: ShellLine, jobs: Jobs, base: Path
) -> None:
    """SIGKILL between two jobs: the one that is over stays so, the next one runs."""
    over, job = jobs(b"exit 4\n"), jobs(b"exit 5\n")
    pid = quick(line, over, base)
    os.kill(pid, signal.SIGKILL)
    until = time.monotonic() + 15
    while Path(f"/proc/{pid}/fd/0").exists() and time.monotonic() < until:
        pass
    assert quick(line, job, base) != pid
    assert (line.poll(over.run, over.token).code, line.poll(job.run, job.token).code) == (4, 5)


def test_a_supervisor_goes_with_its_agent(
    lines: Lines, shell: tuple[str, ...], jobs: Jobs, base: Path
) -> None:
    """When the line closes, an idle supervisor ends, and no pipe with a name is left."""
    line = lines(shell)
    pid = quick(line, jobs(b"true\n"), base)
    line.close()
    gone(pid)
    assert [path.name for path in base.iterdir() if path.is_fifo()] == []


def test_an_output_that_was_cut_spoils_only_its_own_job(
    lines: Lines, shell: tuple[str, ...], jobs: Jobs, base: Path
) -> None:
    """A flood beyond the cap is cut and told; the same supervisor's next job is whole."""
    line = lines(shell, cap=4096)
    flood, own = jobs(b"head -c 200000 /dev/zero\n"), jobs(b"echo own\n")
    assert quick(line, flood, base) == quick(line, own, base)
    cut, whole = line.poll(flood.run, flood.token), line.poll(own.run, own.token)
    assert (cut.out_size, cut.out_cut) == (4096, True)
    assert (whole.out, whole.out_cut) == (b"own\n", False)
