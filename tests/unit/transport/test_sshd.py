"""An open line over SSH, against a real OpenSSH server on loopback."""

from __future__ import annotations

import io
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from drrun.errors import (
    Refused,
    StepFailed,
    Unreachable,
)
from drrun.ports import JobState
from drrun.transport.agent import AgentSetting, AgentShell
from drrun.transport.asker import Asker
from drrun.transport.line import ShellLine
from drrun.transport.routes import Transports
from drrun.transport.ssh import SshTransport
from drrun.values import CONTROLLER, HostName

from .conftest import Jobs, Sshd

pytestmark = pytest.mark.sshd


@pytest.fixture
def line(sshd: Sshd, transport: SshTransport) -> Iterator[ShellLine]:
    """A line to the server."""
    opened = transport.connect(sshd.target(become="none"))
    yield opened
    opened.close()


def test_a_job_from_launch_to_ack(line: ShellLine, jobs: Jobs) -> None:
    """Fence, launch, poll, ack and release work over SSH; the token stays used."""
    line.fence("run-1", 1, "tests")
    job = jobs(b"echo one; echo two >&2; exit 3\n")
    line.launch(job)
    report = line.poll(job.run, job.token, wait=10)
    assert (report.state, report.code) == (JobState.EXITED, 3)
    assert (report.out, report.err) == (b"one\n", b"two\n")
    line.ack(job.run, job.token)
    assert line.launch(job).code == 3
    line.release("run-1", 1)


def test_nothing_waits_to_be_sent(line: ShellLine) -> None:
    """Without TCP_NODELAY every act costs 40 ms and more of delayed ACK (tests/bench tells)."""
    connection = line._station._connection  # type: ignore[attr-defined]
    assert connection.root.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_two_shells_do_for_all(line: ShellLine, jobs: Jobs) -> None:
    """However many questions and changes there are, each kind has one channel that stays."""
    line.fence("run-1", 1, "tests")
    parents = {line.ask(b"echo $$", timeout=10).stdout for _ in range(5)}
    for _ in range(5):
        job = jobs(b"true\n")
        line.launch(job)
        assert line.poll(job.run, job.token, wait=10).code == 0
    parents.add(line.ask(b"echo $$", timeout=10).stdout)
    assert len(parents) == 1
    assert {type(shell) for shell in line._lanes._idle} == {Asker, AgentShell}
    assert len(line._lanes._idle) == 2


@pytest.mark.parametrize("code", [0, 1, 77, 255])
def test_exit_codes_come_back(line: ShellLine, code: int) -> None:
    """The exit status of a question is the script's."""
    assert line.ask(b"exit %d" % code, timeout=5).exit == code


def test_a_signal_is_no_exit_code(line: ShellLine) -> None:
    """SSH tells an exit-signal, paramiko says -1: here it is None."""
    assert line.ask(b"kill -9 $$", timeout=5).exit is None


def test_output_is_bytes(line: ShellLine) -> None:
    """NUL and non-UTF-8 bytes arrive as they are, on both streams."""
    reply = line.ask(b"printf '\\377\\000x'; printf '\\376' >&2", timeout=5)
    assert (reply.stdout, reply.stderr) == (b"\xff\x00x", b"\xfe")


def test_a_flood_on_both_streams_does_not_block(line: ShellLine) -> None:
    """Beyond SSH's window on stderr and stdout at once; what is over the limit is cut."""
    script = b"head -c 5000000 /dev/zero >&2 & head -c 5000000 /dev/zero; wait; exit 4"
    reply = line.ask(script, timeout=20, limit=100_000)
    assert (reply.exit, len(reply.stdout), len(reply.stderr)) == (4, 100_000, 100_000)
    assert reply.truncated


def test_a_script_of_two_megabytes(line: ShellLine) -> None:
    """Scripts travel over stdin, where no argument limit holds."""
    script = b"echo begin\n" + b": filler filler filler\n" * 90_000 + b"echo end\n"
    assert line.ask(script, timeout=30).stdout == b"begin\nend\n"


def test_a_value_of_200_kilobytes(line: ShellLine) -> None:
    """A variable longer than any argument may be is there for the shell."""
    script = b"export V='" + b"v" * 200_000 + b"'\necho ${#V}\n"
    assert line.ask(script, timeout=10).stdout == b"200000\n"


def test_a_nul_byte_is_refused(line: ShellLine, jobs: Jobs) -> None:
    """Shells drop NUL bytes silently, so nothing with one is sent."""
    with pytest.raises(Refused, match="NUL"):
        line.ask(b"echo \0", timeout=5)
    with pytest.raises(Refused, match="NUL"):
        line.launch(jobs(b"echo \0"))


def test_a_script_cannot_read_itself(line: ShellLine) -> None:
    """A command that reads stdin finds it empty, not the rest of the script."""
    assert line.ask(b"cat\necho rest\n", timeout=5).stdout == b"rest\n"


def test_files_go_up_and_down(line: ShellLine, tmp_path: Path) -> None:
    """Upload resumes at an offset and cuts what was behind it; nobody else may read the file."""
    path, data = tmp_path / "part", os.urandom(300_000)
    line.append(str(path), io.BytesIO(data[:200_000] + b"torn"), offset=0, timeout=10)
    line.append(str(path), io.BytesIO(data[200_000:]), offset=200_000, timeout=10)
    assert path.read_bytes() == data
    assert path.stat().st_mode & 0o777 == 0o600
    got: list[bytes] = []
    line.fetch(str(path), got.append, offset=123_456, timeout=10)
    assert b"".join(got) == data[123_456:]


def test_files_that_cannot_be(line: ShellLine, tmp_path: Path) -> None:
    """No such file, no such folder, an offset behind the end: StepFailed, with the host's words."""
    with pytest.raises(StepFailed, match="No such file"):
        line.fetch(str(tmp_path / "none"), print, timeout=10)
    with pytest.raises(StepFailed, match="cannot write"):
        line.append(str(tmp_path / "no" / "x"), io.BytesIO(b"x" * 999_999), offset=0, timeout=10)
    with pytest.raises(StepFailed, match="holds only 0 bytes, not 9"):
        line.append(str(tmp_path / "gap"), io.BytesIO(b"x"), offset=9, timeout=10)


def test_a_frozen_peer_meets_the_deadline(sshd: Sshd, line: ShellLine) -> None:
    """With sshd stopped nothing answers: the call ends at its deadline, the next one reconnects."""
    parent = int(line.ask(b"echo $PPID", timeout=5).stdout)
    session = _sshd_of(parent)
    os.kill(session, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        with pytest.raises(Unreachable):
            line.ask(b"echo", timeout=0.7)
        assert time.monotonic() - begun < 3
        assert line.ask(b"echo back", timeout=5).stdout == b"back\n"
    finally:
        os.kill(session, signal.SIGCONT)


def _sshd_of(pid: int) -> int:
    """The nearest process above a shell that is sshd."""
    while True:
        stat = Path(f"/proc/{pid}/stat").read_text()
        name, rest = stat.partition("(")[2].rsplit(")", 1)
        if name.startswith("sshd"):
            return pid
        pid = int(rest.split()[1])


def test_a_slow_answer_costs_only_its_own_channel(line: ShellLine) -> None:
    """A script that takes too long is given up; others on the connection do not notice."""
    with pytest.raises(Unreachable, match=r"within 0\.3 s"):
        line.ask(b"sleep 2", timeout=0.3)
    assert line.ask(b"echo $PPID", timeout=5).exit == 0


def test_a_broken_line_is_opened_again(line: ShellLine, jobs: Jobs) -> None:
    """The call that meets a dead connection reconnects; a job is found again by its token."""
    line.fence("run-1", 1, "tests")
    job = jobs(b"echo kept\n")
    line.launch(job)
    parent = _sshd_of(int(line.ask(b"echo $PPID", timeout=5).stdout))
    with pytest.raises(Unreachable, match="line broke"):
        line.ask(b"kill -9 %d; sleep 5" % parent, timeout=10)
    assert line.poll(job.run, job.token, wait=10).out == b"kept\n"


def test_many_threads_share_one_connection(line: ShellLine, jobs: Jobs) -> None:
    """Thirty threads on four channels all get their answers."""
    line.fence("run-1", 1, "tests")
    made = [jobs(b"echo %d\n" % n) for n in range(15)]
    answers: dict[int, bytes] = {}

    def work(n: int) -> None:
        if n < 15:
            line.launch(made[n])
            answers[n] = line.poll("run-1", made[n].token, wait=10).out
        else:
            answers[n] = line.ask(b"echo %d" % n, timeout=20).stdout

    threads = [threading.Thread(target=work, args=(n,)) for n in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {n: b"%d\n" % n for n in range(30)}


def test_transports_route(sshd: Sshd, tmp_path: Path) -> None:
    """The controller is served locally, whatever its address says; others by SSH."""
    setting = AgentSetting(base=str(tmp_path / "base"))
    routes = Transports(local=setting, remote=setting)
    target = sshd.target(become="none")
    here = target.model_copy(update={"name": CONTROLLER, "address": "nowhere.invalid"})
    lines = [routes.connect(here), routes.connect(target)]
    assert lines[0].ask(b"echo here", timeout=5).stdout == b"here\n"
    assert [line.host for line in lines] == [CONTROLLER, HostName("node")]
    assert routes.fingerprint(here) == "local"
    for line in lines:
        line.close()
    routes.close()


def test_sudo_without_a_password(
    accounts: Sshd, transport: SshTransport, jobs: Jobs, tmp_path: Path
) -> None:
    """An account that may sudo acts as root in questions, jobs and files, even under use_pty."""
    line = transport.connect(accounts.target(user=accounts.extra["free"]))
    assert line.ask(b"id -u", timeout=10).stdout == b"0\n"
    line.fence("run-1", 1, "tests")
    job = jobs(b"id -u; printf '\\r\\n\\000'\n")
    line.launch(job)
    assert line.poll(job.run, job.token, wait=10).out == b"0\n\r\n\0"
    line.append(str(tmp_path / "f"), io.BytesIO(b"\r\n\0"), offset=0, timeout=10)
    assert (tmp_path / "f").read_bytes() == b"\r\n\0"
    line.close()


def test_a_job_outlives_sudo_and_the_line(
    accounts: Sshd, transport: SshTransport, jobs: Jobs, tmp_path: Path
) -> None:
    """Hanging up ends neither the supervisor nor the command, nor what it writes."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    target = accounts.target(user=accounts.extra["free"])
    first = transport.connect(target)
    first.fence("run-1", 1, "tests")
    job = jobs(f"read x <{gate}; echo after; exit 6\n".encode())
    assert first.launch(job).state is JobState.RUNNING
    first.close()
    gate.write_text("go\n")
    second = transport.connect(target)
    report = second.poll(job.run, job.token, wait=10)
    second.close()
    assert (report.code, report.out) == (6, b"after\n")
