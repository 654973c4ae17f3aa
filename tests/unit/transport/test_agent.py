"""The host's side of drrun/1, in every shell that it may meet."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from drrun.errors import Fenced, Refused
from drrun.ports import Job, JobReport, JobState
from drrun.transport.agent import AgentSetting, agent_sha
from drrun.transport.deadline import Deadline
from drrun.transport.line import ShellLine
from drrun.transport.local import LocalProcess, LocalStation
from drrun.values import HostName

from .conftest import Jobs, Lines

ENDED = {143, 137}
"""Codes of a command that was killed at once: mksh may miss a TERM while it starts, then KILL comes."""


def finish(line: ShellLine, job: Job) -> JobReport:
    """Launch, then wait for the end."""
    line.launch(job)
    return line.poll(job.run, job.token, wait=15)


def pid_in(base: Path, job: Job, name: str) -> int:
    """The pid that the job's file `name` holds."""
    return int((base / job.run / job.token / name).read_text().split()[1])


def test_output_and_exit_come_back(line: ShellLine, jobs: Jobs) -> None:
    """Every line of both streams is kept, and the exit code is the script's own."""
    report = finish(line, jobs(b"echo one\necho two\necho three >&2\nexit 3\n"))
    assert (report.state, report.code) == (JobState.EXITED, 3)
    assert (report.out, report.err) == (b"one\ntwo\n", b"three\n")
    assert (report.out_size, report.err_size) == (8, 6)


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (b"set -e\nfalse\necho never\n", 1),
        (b"kill -9 $$\n", 137),
        (b"trap - INT; kill -INT $$\n", 130),
        (b"exit 0\n", 0),
        (b"if\n", 2),
    ],
    ids=["errexit", "killed", "interrupted", "good", "syntax"],
)
def test_every_end_has_a_code(line: ShellLine, jobs: Jobs, script: bytes, code: int) -> None:
    """However a script ends, its exit is recorded: 128 + n for a signal."""
    report = finish(line, jobs(script))
    assert report.state is JobState.EXITED
    assert report.code == code or (script == b"if\n" and report.code not in {0, None})


def test_a_token_runs_once(line: ShellLine, jobs: Jobs, tmp_path: Path) -> None:
    """A second launch of a token only reports the first."""
    effect = tmp_path / "effect"
    job = jobs(f"echo x >>{effect}\n".encode())
    finish(line, job)
    again = line.launch(job)
    assert (again.state, again.code) == (JobState.EXITED, 0)
    assert effect.read_text() == "x\n"


def test_a_race_of_launches_has_one_effect_each(
    lines: Lines, shell: tuple[str, ...], jobs: Jobs, tmp_path: Path
) -> None:
    """Forty launches of five tokens on ten lines at once: five effects."""
    effect = tmp_path / "effect"
    effect.touch()
    five = [jobs(f"echo {n} >>{effect}\n".encode()) for n in range(5)]
    ten = [lines(shell) for _ in range(10)]
    start = threading.Barrier(40)

    def launch(line: ShellLine, job: Job) -> None:
        start.wait()
        line.launch(job)

    threads = [threading.Thread(target=launch, args=(ten[n % 10], five[n % 5])) for n in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ends = [ten[0].poll(job.run, job.token, wait=15).state for job in five]
    assert ends == [JobState.EXITED] * 5
    assert sorted(effect.read_text().split()) == ["0", "1", "2", "3", "4"]


def test_ack_keeps_the_token_used(line: ShellLine, jobs: Jobs, tmp_path: Path, base: Path) -> None:
    """After an ack the output is gone, the exit and the chain's head stay, nothing runs again."""
    effect = tmp_path / "effect"
    job = jobs(f"echo x >>{effect}; exit 4\n".encode())
    finish(line, job)
    line.ack(job.run, job.token)
    again = line.launch(job)
    assert (again.state, again.code, again.out_size) == (JobState.EXITED, 4, 0)
    assert effect.read_text() == "x\n"
    folder = base / job.run / job.token
    assert {path.name for path in folder.iterdir()} == {"child", "exit", "start", "witness"}
    assert (folder / "witness").read_text().strip() == "ab" * 32


def test_ack_of_a_running_job_is_refused(line: ShellLine, jobs: Jobs) -> None:
    """Evidence of what still runs is never thrown away."""
    job = jobs(b"sleep 30\n")
    line.launch(job)
    with pytest.raises(Refused, match="running"):
        line.ack(job.run, job.token)
    assert line.kill(job.run, job.token).code in ENDED


def test_a_dead_supervisor_leaves_an_orphan_then_a_loss(
    line: ShellLine, jobs: Jobs, tmp_path: Path, base: Path
) -> None:
    """SIGKILL of the supervisor: ORPHAN while the command lives, LOST and never EXITED after."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    job = jobs(f"read x <{gate}\n".encode())
    line.launch(job)
    with gate.open("w") as writer:  # opens once the command reads: it has begun
        os.kill(pid_in(base, job, "start"), signal.SIGKILL)
        while (state := line.poll(job.run, job.token).state) is JobState.RUNNING:
            pass
        assert state is JobState.ORPHAN
        writer.write("go\n")
    report = line.poll(job.run, job.token, wait=15)
    assert (report.state, report.why, report.code) == (JobState.LOST, "killed", None)


def test_another_boot_loses_the_job(
    lines: Lines, shell: tuple[str, ...], jobs: Jobs, tmp_path: Path
) -> None:
    """Under another boot id an unfinished job is LOST by reboot; a finished one stays EXITED."""
    before, after = lines(shell), lines(shell, boot_id="another-boot")
    done, open_ended = jobs(b"exit 5\n"), jobs(b"sleep 30\n")
    finish(before, done)
    before.launch(open_ended)
    lost = after.poll(open_ended.run, open_ended.token)
    assert (lost.state, lost.why, lost.boot_id) == (JobState.LOST, "reboot", "another-boot")
    assert after.poll(done.run, done.token).code == 5
    after.kill(open_ended.run, open_ended.token)
    assert before.poll(open_ended.run, open_ended.token).state is JobState.RUNNING
    before.kill(open_ended.run, open_ended.token)


def test_abandon_beats_a_late_supervisor(
    line: ShellLine, shell: tuple[str, ...], jobs: Jobs, tmp_path: Path, base: Path
) -> None:
    """A supervisor that wakes up after an abandon must not begin."""
    effect, job = tmp_path / "effect", jobs(b"")
    folder = base / job.run / job.token
    folder.mkdir()
    (folder / "cmd").write_text(f"echo x >>{effect}\n")
    assert line.poll(job.run, job.token).state is JobState.CLAIMED
    assert line.abandon(job.run, job.token, 1).state is JobState.ABANDONED
    installed = jobs(b"true\n")
    finish(line, installed)  # leaves the agent's file
    assert supervise(shell, base, job) == 3
    assert not effect.exists()
    assert line.poll(job.run, job.token).state is JobState.ABANDONED


def supervise(shell: tuple[str, ...], base: Path, job: Job) -> int:
    """The exit of a supervisor that gets its order now, as one does that was slow to wake up."""
    pipes = base / "late"
    for name in "woed":
        os.mkfifo(f"{pipes}.{name}")
    agent = base / f"agent-{agent_sha()}.sh"
    words = ["sup", str(base), str(pipes), "file", "setsid", " ".join(shell), ""]
    order = f"{job.run} {job.token} 1 0 1 4096 0\n".encode()
    return subprocess.run([*shell, str(agent), *words], input=order, check=False).returncode


def test_abandon_uses_up_a_token_that_never_arrived(
    line: ShellLine, jobs: Jobs, tmp_path: Path
) -> None:
    """A launch that is still on its way when its token is abandoned finds it used."""
    effect = tmp_path / "effect"
    job = jobs(f"echo x >{effect}\n".encode())
    assert line.poll(job.run, job.token).state is JobState.ABSENT
    assert line.abandon(job.run, job.token, 1).state is JobState.ABANDONED
    assert line.launch(job).state is JobState.ABANDONED
    assert not effect.exists()


def test_abandon_comes_too_late_for_a_job_that_began(line: ShellLine, jobs: Jobs) -> None:
    """Once `start` is published, abandoning changes nothing."""
    job = jobs(b"exit 6\n")
    finish(line, job)
    assert line.abandon(job.run, job.token, 2).code == 6


def test_half_a_script_never_runs(
    base: Path, shell: tuple[str, ...], lines: Lines, jobs: Jobs, tmp_path: Path
) -> None:
    """A line that breaks in the middle of a payload leaves neither a job nor a claim."""
    effect, job = tmp_path / "effect", jobs(b"")
    line = lines(shell)
    finish(line, jobs(b"true\n"))
    setting = AgentSetting(base=str(base), shell=shell)
    deadline = Deadline.after(10)
    process = LocalProcess((*shell, "-s"))
    process.send(setting.opening("nonce"), deadline)
    said = b""
    while b"ready" not in said:
        said += (process.receive(deadline) or pytest.fail("no agent"))[1]
    words = f"launch {job.run} {job.token} 1 0 1 4096 1000 witness\necho x >{effect}\n"
    process.send(words.encode(), deadline)
    process.finish()
    while process.receive(deadline):
        pass
    process.close()
    assert line.poll(job.run, job.token).state is JobState.ABSENT
    assert not effect.exists()


def test_a_timeout_kills_on_the_host(lines: Lines, shell: tuple[str, ...], jobs: Jobs) -> None:
    """The host ends a job that runs too long even when its controller has gone."""
    first = lines(shell)
    job = jobs(b"sleep 60 & echo begun; wait\n", timeout=0.3)
    first.launch(job)
    first.close()
    report = lines(shell).poll(job.run, job.token, wait=15)
    assert (report.state, report.code, report.timed_out) == (JobState.EXITED, 143, True)
    assert report.out == b"begun\n"


def test_a_timeout_in_time_changes_nothing(line: ShellLine, jobs: Jobs) -> None:
    """A job that ends before its timeout is not said to be late."""
    report = finish(line, jobs(b"exit 2\n", timeout=30))
    assert (report.code, report.timed_out) == (2, False)


def test_a_deaf_command_is_killed(lines: Lines, jobs: Jobs, tmp_path: Path) -> None:
    """What ignores TERM, child processes too, is killed after the grace."""
    line, gate = lines(), tmp_path / "gate"
    os.mkfifo(gate)
    script = f"trap '' TERM\nsh -c 'trap \"\" TERM; : >{gate}; sleep 60' &\nsleep 60\n"
    job = jobs(script.encode())
    line.launch(job)
    with gate.open():  # both are deaf now
        pass
    report = line.kill(job.run, job.token, grace=0.3)
    assert (report.state, report.code) == (JobState.EXITED, 137)


def test_a_kill_keeps_the_last_words(line: ShellLine, jobs: Jobs, tmp_path: Path) -> None:
    """The drains are not in the killed group: what a command says on TERM is kept."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    job = jobs(f"trap 'echo bye; exit 7' TERM\n: >{gate}\nwhile :; do sleep 0.1; done\n".encode())
    line.launch(job)
    with gate.open():
        pass
    report = line.kill(job.run, job.token)
    assert report.code == 7
    assert line.poll(job.run, job.token).out == b"bye\n"


def test_nobody_else_is_killed(line: ShellLine, jobs: Jobs, base: Path) -> None:
    """A pid whose start time differs is another process, and is left alone."""
    job = jobs(b"sleep 30\n")
    line.launch(job)
    child = base / job.run / job.token / "child"
    while not child.exists() or not child.read_text():
        line.poll(job.run, job.token, wait=0.05)
    real = child.read_text()
    boot, pid, since = real.split()
    child.write_text(f"{boot} {pid} {int(since) - 1}\n")
    assert line.poll(job.run, job.token).state is JobState.RUNNING
    os.kill(int(pid), 0)
    child.write_text(real)
    assert line.kill(job.run, job.token).code in ENDED


def test_an_older_epoch_is_fenced(line: ShellLine, jobs: Jobs, tmp_path: Path) -> None:
    """After a takeover the old controller can neither launch nor fence."""
    effect = tmp_path / "effect"
    line.fence("run-1", 2, "the new one")
    late = jobs(f"echo x >{effect}\n".encode(), epoch=1)
    assert line.launch(late).state is JobState.FENCED
    with pytest.raises(Fenced, match="higher epoch"):
        line.fence("run-1", 1, "tests")
    with pytest.raises(Fenced, match="the new one"):
        line.fence("run-1", 2, "a third")
    assert line.abandon("run-1", late.token, 1).state is JobState.FENCED
    assert not effect.exists()


def test_the_lock_names_its_holder(line: ShellLine, jobs: Jobs) -> None:
    """Another run is refused, told who holds the host, and let in after the release."""
    with pytest.raises(Refused, match="run-1, by tests since"):
        line.fence("run-2", 1, "other")
    assert line.launch(jobs(b"true\n", run="run-2")).state is JobState.FENCED
    line.release("run-1", 1)
    line.fence("run-2", 1, "other")
    line.release("run-1", 1)
    with pytest.raises(Refused, match="run-2, by other since"):
        line.fence("run-1", 2, "tests")


def test_output_may_be_anything(line: ShellLine, jobs: Jobs) -> None:
    """NUL, non-UTF-8 and lines that look like answers come through, from any offset."""
    job = jobs(b"printf '\\000\\377\\n\\nstate=exited why=\\n'\nhead -c 1500000 /dev/zero\n")
    report = finish(line, job)
    first = b"\0\xff\n\nstate=exited why=\n"
    assert report.out_size == len(first) + 1_500_000 or report.out_cut
    assert report.out[: len(first)] == first
    rest = line.poll(job.run, job.token, out_from=len(report.out))
    assert set(rest.out) <= {0}
    assert line.poll(job.run, job.token, out_from=3).out.startswith(b"\nstate")


@pytest.mark.parametrize("where", ["out", "err", "both"])
def test_a_flood_is_cut_exactly_and_harms_nobody(
    lines: Lines, shell: tuple[str, ...], jobs: Jobs, where: str
) -> None:
    """Each stream is kept up to its cap, byte for byte, its cut is named; the command is unhurt."""
    line, cap = lines(shell, cap=65536), 65536
    sends = {"out": "", "err": ">&2", "both": "| tee /dev/stderr"}[where]
    text = "".join(f"{n:06}\n" for n in range(200_000)).encode()
    report = finish(line, jobs(f"seq -f %06.0f 0 199999 {sends} && echo good\n".encode()))
    assert report.code == 0
    assert (report.out_cut, report.err_cut) == (where != "err", where != "out")
    assert report.out == (b"good\n" if where == "err" else text[:cap])
    assert report.err == (b"" if where == "out" else text[:cap])
    assert (report.out_size, report.err_size) == (len(report.out), len(report.err))


def test_a_full_disk_does_not_change_a_command(
    lines: Lines, shell: tuple[str, ...], jobs: Jobs, base: Path
) -> None:
    """With no room left the command runs on, and its exit is recorded where room was kept."""
    base.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(base)]
    if os.geteuid() or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("needs root that may mount a tmpfs")
    try:
        line = lines(shell)
        report = finish(line, jobs(b"head -c 900000 /dev/zero && exit 8\n"))
        assert (report.state, report.code, report.out_cut) == (JobState.EXITED, 8, True)
        with contextlib.suppress(OSError), (base / "filler").open("ab", buffering=0) as filler:
            while True:
                filler.write(b"x" * 512)
        refused = jobs(b"exit 0\n")
        assert line.launch(refused).state in {JobState.ABANDONED, JobState.CANNOT_CLAIM}
        (base / "filler").unlink()
        assert line.poll(refused.run, refused.token).state in {JobState.ABANDONED, JobState.ABSENT}
    finally:
        subprocess.run(["umount", "-l", str(base)], check=True)


def test_output_that_a_power_cut_took_is_said(
    lines: Lines, shell: tuple[str, ...], jobs: Jobs, base: Path
) -> None:
    """The exit was on the disk, the output only in part: the code counts, the rest is told as cut."""
    job = jobs(b"printf 12345; printf 123456789 >&2; exit 6\n")
    assert finish(lines(shell), job).code == 6
    os.truncate(base / job.run / job.token / "out", 2)
    (base / job.run / job.token / "err").unlink()
    report = lines(shell, boot_id="another").poll(job.run, job.token)
    assert (report.state, report.code) == (JobState.EXITED, 6)
    assert (report.out, report.out_size, report.out_cut) == (b"12", 2, True)
    assert (report.err, report.err_size, report.err_cut) == (b"", 0, True)
    again = jobs(b"printf 12345; exit 6\n")
    finish(lines(shell), again)
    report = lines(shell, boot_id="another").poll(again.run, again.token)
    assert (report.code, report.out, report.out_cut) == (6, b"12345", False)


def test_a_daemon_does_not_hold_the_exit(line: ShellLine, jobs: Jobs) -> None:
    """A background child that keeps stdout delays the exit by two seconds, not for ever."""
    job = jobs(b"sleep 30 & echo $!; exit 9\n")
    line.launch(job)
    report = line.poll(job.run, job.token, wait=15)
    assert (report.state, report.code) == (JobState.EXITED, 9)
    os.kill(int(report.out), signal.SIGKILL)


def test_the_command_meets_a_plain_world(line: ShellLine, jobs: Jobs) -> None:
    """Empty stdin, umask 022, cwd /, no descriptors, variables or ignored signals of the agent's."""
    script = (
        b"cat; umask; pwd; ls /proc/self/fd | wc -l; echo ${J-}${B-}${NONCE-}.\n"
        b"grep SigIgn /proc/self/status\n"
    )
    finish(line, jobs(b"sleep 0.1 & \n"))  # the supervisor had a clock, and its signal
    report = finish(line, jobs(script))
    words = report.out.decode().split()
    assert int(words[0], 8) == 0o022
    assert words[1:4] == ["/", "4", "."]
    deaf = {n for n in range(1, 32) if int(words[-1], 16) >> n - 1 & 1}
    assert not deaf & {signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGHUP, signal.SIGTERM}


def test_looking_leaves_nothing(line: ShellLine, lines: Lines, tmp_path: Path) -> None:
    """Asking and polling create neither a file nor a folder."""
    base = tmp_path / "elsewhere"
    setting = AgentSetting(base=str(base))
    fresh = ShellLine(line.host, line._station, setting=setting)
    assert fresh.ask(b"echo ok", timeout=10).stdout == b"ok\n"
    assert fresh.poll("run-1", "c-00000000000000000000").state is JobState.ABSENT
    fresh._lanes.close()
    assert not base.exists()


def test_a_host_without_setsid_says_so(tmp_path: Path, base: Path, jobs: Jobs) -> None:
    """Without a way to detach, nothing is claimed."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "mkdir", "head", "wc", "ln", "rm", "date", "id", "sync", "mv", "dd", "cat"):
        (tools / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    setting = AgentSetting(base=str(base), shell=("env", f"PATH={tools}:/usr/sbin:", "sh"))
    line = ShellLine(HostName("bare"), LocalStation(), setting=setting, patience=10)
    line.fence("run-1", 1, "tests")
    report = line.launch(jobs(b"true\n"))
    line.close()
    assert (report.state, report.why) == (JobState.CANNOT_CLAIM, "no setsid on this host")


def quick(job: Job) -> Job:
    """The job, its launch waiting for its end."""
    return dataclasses.replace(job, wait=5)


def test_a_launch_may_answer_with_the_end(line: ShellLine, jobs: Jobs) -> None:
    """With a wait, a short job's exit and output come in the launch's own answer."""
    report = line.launch(quick(jobs(b"echo out; echo err >&2; exit 3\n")))
    assert (report.state, report.code) == (JobState.EXITED, 3)
    assert (report.out, report.err) == (b"out\n", b"err\n")


def test_a_launch_does_not_wait_for_ever(line: ShellLine, jobs: Jobs) -> None:
    """A job that is not over in time is reported as running, and goes on."""
    job = dataclasses.replace(jobs(b"sleep 30\n"), wait=0.1)
    assert line.launch(job).state is JobState.RUNNING
    assert line.kill(job.run, job.token).code in ENDED


def test_a_supervisor_that_dies_early_does_not_hold_a_launch(
    line: ShellLine, lines: Lines, shell: tuple[str, ...], jobs: Jobs, base: Path
) -> None:
    """A launch that waits is told by its clock, not by the dead."""
    job = quick(jobs(b"sleep 30\n"))
    seen: list[JobReport] = []
    thread = threading.Thread(target=lambda: seen.append(line.launch(job)))
    thread.start()
    other = lines(shell)
    while not (base / job.run / job.token / "child").exists():
        other.poll(job.run, job.token)
    os.kill(pid_in(base, job, "start"), signal.SIGKILL)
    thread.join(10)
    assert seen[0].state is JobState.ORPHAN
    other.kill(job.run, job.token)


def test_any_script_arrives_as_it_is(line: ShellLine, jobs: Jobs) -> None:
    """Short or long, with every byte but NUL: what the host runs is what was sent."""
    data = bytes(range(1, 256)).replace(b"'", b"")
    for times in (1, 9):
        report = finish(line, jobs(b"printf %s '" + data * times + b"'\n"))
        assert report.out == data * times
    tricky = rb"printf '%s\n' '\n \0101 \\ \c %d' \* 'a  b' ${#}" + b"\n"
    assert finish(line, jobs(tricky)).out == b"\\n \\0101 \\\\ \\c %d\n*\na  b\n0\n"


def test_half_a_line_claims_nothing(
    base: Path, shell: tuple[str, ...], lines: Lines, jobs: Jobs
) -> None:
    """A short script that did not arrive whole leaves not even a claim."""
    job = jobs(b"")
    line = lines(shell)
    finish(line, jobs(b"true\n"))
    deadline = Deadline.after(10)
    process = LocalProcess((*shell, "-s"))
    process.send(AgentSetting(base=str(base), shell=shell).opening("nonce"), deadline)
    said = b""
    while b"ready" not in said:
        said += (process.receive(deadline) or pytest.fail("no agent"))[1]
    process.send(f"launch {job.run} {job.token} 1 0 1 4096 9 w 0 line\necho".encode(), deadline)
    process.finish()
    while process.receive(deadline):
        pass
    process.close()
    assert line.poll(job.run, job.token).state is JobState.ABSENT


def test_forgotten_jobs_are_emptied_together(line: ShellLine, jobs: Jobs, base: Path) -> None:
    """What was forgotten is kept until the lock is given back, then emptied as by `ack`."""
    done = [quick(jobs(b"echo some\n")) for _ in range(3)]
    for job in done:
        line.launch(job)
        line.forget(job.run, job.token)
    running = jobs(b"sleep 30\n")
    line.launch(running)
    line.forget(running.run, running.token)
    folders = [base / job.run / job.token for job in done]
    assert all((folder / "cmd").exists() for folder in folders)
    line.release("run-1", 1)
    for folder in folders:
        assert {path.name for path in folder.iterdir()} == {"child", "exit", "start", "witness"}
    assert (base / running.run / running.token / "cmd").exists()
    assert line.kill(running.run, running.token).code in ENDED


class CutAtAck(LocalStation):
    """This machine, over a line that breaks whenever jobs are to be emptied."""

    class Process(LocalProcess):
        """Ends instead of taking an ack."""

        def send(self, data: bytes, deadline: Deadline) -> None:
            """Everything else arrives."""
            if data.startswith(b"ack "):
                raise BrokenPipeError("cut")
            super().send(data, deadline)

    def start(self, argv: tuple[str, ...], deadline: Deadline) -> LocalProcess:
        """Start `argv`."""
        return self.Process(argv)


def test_a_line_that_breaks_still_gives_the_lock_back(base: Path, jobs: Jobs) -> None:
    """Emptying jobs may fail; the host's lock is given back all the same."""
    setting = AgentSetting(base=str(base))
    line = ShellLine(HostName("here"), CutAtAck(), setting=setting, patience=10)
    line.fence("run-1", 1, "tests")
    job = quick(jobs(b"true\n"))
    line.launch(job)
    line.forget(job.run, job.token)
    line.release("run-1", 1)
    line.close()
    assert (base / job.run / job.token / "cmd").exists()
    assert not (base / "lock").exists()


def test_closing_empties_what_was_forgotten(line: ShellLine, jobs: Jobs, base: Path) -> None:
    """A controller that leaves without a release still empties what is over."""
    job = quick(jobs(b"echo some\n"))
    line.launch(job)
    line.forget(job.run, job.token)
    line.close()
    assert not (base / job.run / job.token / "cmd").exists()


def test_waiting_leaves_no_file(line: ShellLine, jobs: Jobs, base: Path) -> None:
    """The pipe by which supervisors wake a launch has no name once it is open."""
    line.launch(quick(jobs(b"true\n")))
    assert not list(base.glob("bell*"))


def test_a_killed_drain_is_said(line: ShellLine, jobs: Jobs, base: Path, tmp_path: Path) -> None:
    """Output that nobody kept is reported as cut, and the exit still comes."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    job = jobs(f"trap '' PIPE; read x <{gate}; exit 5\n".encode())
    line.launch(job)
    with gate.open("w") as writer:
        sup = pid_in(base, job, "start")
        children = Path(f"/proc/{sup}/task/{sup}/children").read_text().split()
        for pid in set(map(int, children)) - {pid_in(base, job, "child")}:
            os.kill(pid, signal.SIGKILL)
        writer.write("go\n")
    report = line.poll(job.run, job.token, wait=15)
    assert (report.code, report.out_cut, report.err_cut) == (5, True, True)
