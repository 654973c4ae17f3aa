"""Forgetting a run on a host: only when it is over, only by exact names, and nothing of anybody else's."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from drrun.ports import Job, JobState, Leftover, LeftoverState
from drrun.transport.agent import agent_sha
from drrun.transport.line import ShellLine

from .conftest import Jobs
from .test_agent import pid_in, quick


def sweep(line: ShellLine, *, dry: bool = False, epoch: int = 1) -> Leftover:
    """Ask the host to forget run-1."""
    return line.sweep("run-1", epoch, dry=dry)


def over(line: ShellLine, jobs: Jobs) -> list[Job]:
    """A run of three changes that has ended: emptied, not emptied, and one that never began."""
    done = [quick(jobs(b"echo some\n")) for _ in range(2)]
    for job in done:
        line.launch(job)
    line.ack(done[0].run, done[0].token)
    never = jobs(b"")
    line.abandon(never.run, never.token, 1)
    line.release("run-1", 1)
    return [*done, never]


def test_a_run_that_is_over_is_forgotten(line: ShellLine, jobs: Jobs, base: Path) -> None:
    """Looking changes nothing; then claims, exits, chain heads and fence are gone, twice is once."""
    over(line, jobs)
    before = sorted(path for path in base.rglob("*"))
    found = sweep(line, dry=True)
    assert (found.state, found.jobs) == (LeftoverState.FOUND, 3)
    assert found.kib > 0
    assert sorted(path for path in base.rglob("*")) == before
    assert sweep(line) == Leftover(LeftoverState.SWEPT, jobs=3, kib=found.kib)
    assert [path.name for path in base.iterdir()] == [f"agent-{agent_sha()}.sh"]
    assert sweep(line).state is LeftoverState.ABSENT
    assert sweep(line, dry=True).state is LeftoverState.ABSENT


def test_what_was_forgotten_cannot_begin_again(line: ShellLine, jobs: Jobs, tmp_path: Path) -> None:
    """The claim is gone, but so is the lock: a controller of old that wakes up begins nothing."""
    effect = tmp_path / "effect"
    job = quick(jobs(f"echo x >>{effect}\n".encode()))
    line.launch(job)
    line.release("run-1", 1)
    assert sweep(line).state is LeftoverState.SWEPT
    assert line.launch(job).state is JobState.FENCED
    assert effect.read_text() == "x\n"


def test_a_run_that_holds_the_host_is_kept(line: ShellLine, jobs: Jobs, base: Path) -> None:
    """While its lock is there nothing is removed; another run's lock does not matter."""
    line.launch(quick(jobs(b"true\n")))
    kept = sweep(line)
    assert (kept.state, "run-1 1 tests" in kept.why) == (LeftoverState.LOCKED, True)
    line.release("run-1", 1)
    line.fence("run-2", 1, "other")
    assert sweep(line).state is LeftoverState.SWEPT
    assert (base / "lock").read_text().startswith("run-2 1 other")
    assert (base / "run-2" / "fence" / "1").exists()


def test_a_run_of_which_something_runs_is_kept(line: ShellLine, jobs: Jobs, base: Path) -> None:
    """A job that runs, or whose command outlived its supervisor, keeps every trace of its run."""
    done, running = quick(jobs(b"true\n")), jobs(b"sleep 60\n")
    line.launch(done)
    line.launch(running)
    child = base / running.run / running.token / "child"
    while not child.exists() or not child.read_text():
        line.poll(running.run, running.token, wait=0.05)
    line.release("run-1", 1)
    for dry in (True, False):
        kept = sweep(line, dry=dry)
        assert (kept.state, kept.why) == (LeftoverState.BUSY, f"{running.token} is running")
    os.kill(pid_in(base, running, "start"), signal.SIGKILL)
    while (kept := sweep(line)).why.endswith("running"):
        pass
    assert (kept.state, kept.why) == (LeftoverState.BUSY, f"{running.token} is orphan")
    assert (base / done.run / done.token / "exit").read_text().startswith("0 ")
    line.kill(running.run, running.token)
    assert sweep(line).state is LeftoverState.SWEPT


def test_a_run_that_was_taken_over_is_kept(line: ShellLine, jobs: Jobs) -> None:
    """A higher epoch than the asking controller's: it is somebody else's to forget."""
    over(line, jobs)
    line.fence("run-1", 2, "the new one")
    line.release("run-1", 2)
    assert sweep(line).state is LeftoverState.FENCED
    assert sweep(line, epoch=2).state is LeftoverState.SWEPT


def test_a_claim_that_nobody_works_on_is_forgotten(line: ShellLine, jobs: Jobs, base: Path) -> None:
    """A launcher died after its claim: looking leaves it, sweeping abandons it first."""
    job = jobs(b"")
    (base / job.run / job.token).mkdir()
    line.release("run-1", 1)
    assert sweep(line, dry=True).state is LeftoverState.FOUND
    assert line.poll(job.run, job.token).state is JobState.CLAIMED
    assert sweep(line).state is LeftoverState.SWEPT


def test_what_is_not_drruns_stays(line: ShellLine, jobs: Jobs, base: Path) -> None:
    """A file that drrun did not make is not removed, and it is said where one is."""
    done, _, _ = over(line, jobs)
    theirs = base / done.run / done.token / "notes"
    theirs.write_text("mine\n")
    kept = sweep(line)
    assert (kept.state, str(base / "run-1") in kept.why) == (LeftoverState.FAILED, True)
    assert theirs.read_text() == "mine\n"
    theirs.unlink()
    assert sweep(line).state is LeftoverState.SWEPT


def test_agents_of_other_versions_are_removed(
    line: ShellLine, shell: tuple[str, ...], jobs: Jobs, base: Path, tmp_path: Path
) -> None:
    """Not ours, not one that a supervisor still reads, and none while a run holds the host."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    line.launch(quick(jobs(b"true\n")))
    mine = base / f"agent-{agent_sha()}.sh"
    idle, used = base / "agent-0123456789ab.sh", base / "agent-ba9876543210.sh"
    idle.write_bytes(mine.read_bytes())
    used.write_text(f"echo up >{gate}\nread x <{gate}\n")
    supervisor = os.posix_spawnp(shell[0], [*shell, str(used), "sup"], os.environ)
    assert gate.read_text() == "up\n"
    assert line.strays(dry=False) == ()
    line.release("run-1", 1)
    assert line.strays(dry=True) == (idle.name,)
    assert idle.exists()
    assert line.strays(dry=False) == (idle.name,)
    assert sorted(path.name for path in base.glob("agent-*")) == sorted([mine.name, used.name])
    with gate.open("w") as writer:
        writer.write("go\n")
    os.waitpid(supervisor, 0)
    assert line.strays(dry=False) == (used.name,)
