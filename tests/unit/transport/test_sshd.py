"""The SSH transport against a real OpenSSH server on loopback."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import io
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from drrun.errors import (
    AuthError,
    BecomeError,
    ConnectError,
    HostKeyError,
    Refused,
    StepFailed,
    Unreachable,
)
from drrun.ports import JobState
from drrun.transport.agent import AgentSetting
from drrun.transport.line import ShellLine
from drrun.transport.pool import Transports
from drrun.transport.ssh import SshTransport
from drrun.values import CONTROLLER, HostName, Secret

from .conftest import Jobs, Sshd, free_port, make_key, running_sshd

pytestmark = pytest.mark.sshd

OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPZ7mmyfxQm7c4hyKX0oFPSbuXbfCTRwHmBPLrFyCo6y"


@pytest.fixture
def transport(tmp_path: Path) -> SshTransport:
    """A transport whose agents keep their jobs in the test's own folder."""
    return SshTransport(AgentSetting(base=str(tmp_path / "base")), patience=15)


@pytest.fixture
def line(sshd: Sshd, transport: SshTransport) -> Iterator[ShellLine]:
    """A line to the server."""
    opened = transport.connect(sshd.target(become="none"))
    yield opened
    opened.close()


def refused(transport: SshTransport, sshd: Sshd, kind: type[ConnectError], **over: object) -> str:
    """Connecting fails with `kind`; what it says, hint included."""
    with pytest.raises(kind) as caught:
        transport.connect(sshd.target(**over)).close()
    assert caught.value.hint
    return f"{caught.value.message} | {caught.value.hint}"


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


def test_asking_is_fast(line: ShellLine) -> None:
    """Without TCP_NODELAY every exec costs 40 ms and more; with it a few."""
    line.ask(b":", timeout=5)
    spent = []
    for _ in range(15):
        begun = time.perf_counter()
        line.ask(b":", timeout=5)
        spent.append(time.perf_counter() - begun)
    best = sorted(spent)[3] * 1000
    print(f"ask: {best:.1f} ms")
    assert best < 35


def test_launching_is_fast(line: ShellLine, jobs: Jobs) -> None:
    """Launch and finish of `true` stay far from the prototype's 120 ms."""
    line.fence("run-1", 1, "tests")
    spent = []
    for _ in range(15):
        job = jobs(b"true\n")
        begun = time.perf_counter()
        line.launch(job)
        assert line.poll(job.run, job.token, wait=10).code == 0
        spent.append(time.perf_counter() - begun)
    best = sorted(spent)[3] * 1000
    print(f"launch and finish: {best:.1f} ms")
    assert best < 100


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


def test_an_unknown_host_key(sshd: Sshd, transport: SshTransport, tmp_path: Path) -> None:
    """Refused with the fingerprint that was shown and the way to make it known."""
    said = refused(transport, sshd, HostKeyError, known_hosts=str(tmp_path / "none"))
    shown = subprocess.run(
        ["ssh-keygen", "-lf", str(sshd.folder / "host.pub")], capture_output=True, check=True
    ).stdout.split()[1]
    assert shown.decode() in said
    assert f"ssh-keyscan -p {sshd.port} 127.0.0.1 >> {tmp_path / 'none'}" in said


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{name} {other}", "host key changed"),
        ("{name} {key}\n@revoked * {key}", "is revoked"),
        ("@cert-authority * {other}", "host certificates are not supported yet"),
        ("!{name},!127.0.0.1,* {key}", "is not known"),
    ],
    ids=["changed", "revoked", "authority-only", "negated"],
)
def test_host_keys_that_are_refused(
    sshd: Sshd, transport: SshTransport, tmp_path: Path, template: str, words: str
) -> None:
    """A changed, revoked, merely certified or excluded key never lets a connection through."""
    file = tmp_path / "known"
    file.write_text(template.format(name=sshd.name, key=sshd.key, other=OTHER_KEY) + "\n")
    assert words in refused(transport, sshd, HostKeyError, known_hosts=str(file))


def hashed(name: str) -> str:
    """`name` as `ssh-keygen -H` writes it."""
    salt = b"s" * 20
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


@pytest.mark.parametrize(
    "template",
    [
        "{hashed} {key}",
        "[127.0.0.*]:* {key}",
        "127.0.0.1 {key}",
        "@cert-authority *.example {other}\n{name} {key}",
        "rubbish\n{name} ssh-ed25519 ###\n{name} {key} caf\udce9",
        "{name} ssh-rsa {rsa}\n{name} {key}",
    ],
    ids=["hashed", "wildcard", "without-port", "authority", "bad-lines", "two-kinds"],
)
def test_host_keys_that_are_known(
    sshd: Sshd, transport: SshTransport, tmp_path: Path, template: str
) -> None:
    """Every form of known_hosts that OpenSSH reads lets the right key through."""
    rsa = base64.b64encode(b"\0\0\0\x07ssh-rsa" + b"\0\0\0\1\3" * 2).decode()
    text = template.format(
        name=sshd.name, key=sshd.key, other=OTHER_KEY, hashed=hashed(sshd.name), rsa=rsa
    )
    file = tmp_path / "known"
    file.write_bytes(text.encode("utf-8", "surrogateescape") + b"\n")
    target = sshd.target(become="none", known_hosts=str(file))
    transport.connect(target).close()
    assert transport.fingerprint(target).startswith("SHA256:")


def test_a_key_that_is_not_accepted(sshd: Sshd, transport: SshTransport, tmp_path: Path) -> None:
    """The error names the account, what was tried and the next move."""
    make_key(tmp_path / "stranger")
    said = refused(transport, sshd, AuthError, identity=str(tmp_path / "stranger"))
    assert "permission denied: tried" in said
    assert str(tmp_path / "stranger") in said
    assert "ssh -v" in said


def test_an_encrypted_key(sshd: Sshd, transport: SshTransport, tmp_path: Path) -> None:
    """Nobody is asked for no passphrase; it says that the key is encrypted and how to load it."""
    make_key(tmp_path / "locked", passphrase="correct horse")
    said = refused(transport, sshd, AuthError, identity=str(tmp_path / "locked"))
    assert "is encrypted: ssh-add" in said


def test_an_agent_unlocks(
    sshd: Sshd, transport: SshTransport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that only the ssh agent holds is used."""
    said = subprocess.run(
        ["ssh-agent", "-a", str(tmp_path / "agent"), "-s"], capture_output=True, check=True
    ).stdout.decode()
    pid = int(said.partition("SSH_AGENT_PID=")[2].partition(";")[0])
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    try:
        key = str(sshd.folder / "user")
        subprocess.run(["ssh-add", "-q", key], check=True, capture_output=True)
        target = sshd.target(become="none", identity=str(tmp_path / "absent"))
        transport.connect(target).close()
    finally:
        os.kill(pid, signal.SIGTERM)


def test_a_user_certificate(transport: SshTransport, tmp_path: Path) -> None:
    """A key whose -cert.pub lies beside it logs in where only the authority is trusted."""
    folder = tmp_path / "sshd"
    folder.mkdir()
    make_key(tmp_path / "ca")
    with running_sshd(folder, f"TrustedUserCAKeys {tmp_path / 'ca.pub'}") as server:
        make_key(tmp_path / "me")
        argv = ["ssh-keygen", "-q", "-s", str(tmp_path / "ca"), "-I", "me", "-n", server.user]
        subprocess.run([*argv, str(tmp_path / "me.pub")], check=True, capture_output=True)
        target = server.target(become="none", identity=str(tmp_path / "me"))
        transport.connect(target).close()


def test_a_closed_port(sshd: Sshd, transport: SshTransport) -> None:
    """Unreachable, naming the port, when nobody listens."""
    said = refused(transport, sshd, Unreachable, port=free_port(), known_hosts=None)
    assert "Connection refused" in said


def test_a_name_that_does_not_resolve(sshd: Sshd, transport: SshTransport) -> None:
    """A name without an address is said to be one; the hint thinks of a dead DNS."""
    said = refused(transport, sshd, Unreachable, address="nowhere.invalid", connect_timeout=5)
    assert "nowhere.invalid" in said


@contextlib.contextmanager
def listener(first: bytes) -> Iterator[int]:
    """A port that takes connections, says `first` and then nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept: list[socket.socket] = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    sock, _ = server.accept()
                    kept.append(sock)
                    sock.sendall(first)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for sock in kept:
            sock.close()


@pytest.mark.parametrize("first", [b"", b"SSH-2.0-tarpit\r\n", b"HTTP/1.1 400 Bad\r\n\r\n"])
def test_a_port_that_is_no_sshd(sshd: Sshd, transport: SshTransport, first: bytes) -> None:
    """Silence, a tar pit and a web server all end at the deadline, as Unreachable."""
    begun = time.monotonic()
    with listener(first) as port:
        refused(transport, sshd, Unreachable, port=port, connect_timeout=1.5)
    assert time.monotonic() - begun < 8


def test_a_busy_sshd_is_tried_again(transport: SshTransport, tmp_path: Path) -> None:
    """A login that MaxStartups dropped is tried again until there is room."""
    folder = tmp_path / "sshd"
    folder.mkdir()
    with running_sshd(folder, "MaxStartups 1:100:1") as server:
        hog = socket.create_connection(("127.0.0.1", server.port))
        while hog.recv(4) != b"SSH-":  # the fixture's own look may still count
            hog.close()
            hog = socket.create_connection(("127.0.0.1", server.port))
        leave = threading.Timer(0.4, hog.close)
        leave.start()
        transport.connect(server.target(become="none")).close()
        leave.join()


def test_through_jump_hosts(sshd: Sshd, transport: SshTransport) -> None:
    """A chain of two jump hosts, each with its host key checked, ends at the target."""
    jump = f"{sshd.user}@127.0.0.1:{sshd.port}"
    line = transport.connect(sshd.target(become="none", jump=f"{jump},{jump}"))
    assert line.ask(b"echo far", timeout=10).stdout == b"far\n"
    line.close()


def test_a_jump_host_that_cannot_reach_the_target(sshd: Sshd, transport: SshTransport) -> None:
    """The error says which link of the chain is broken."""
    jump = f"{sshd.user}@127.0.0.1:{sshd.port}"
    said = refused(transport, sshd, Unreachable, jump=jump, port=free_port())
    assert f"the jump host {jump} could not reach it" in said


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


def test_transports_route_and_share(sshd: Sshd, tmp_path: Path) -> None:
    """The controller is served locally, others by SSH; one line a host, closed together."""
    setting = AgentSetting(base=str(tmp_path / "base"))
    pool = Transports(local=setting, remote=setting)
    target = sshd.target(become="none")
    here = target.model_copy(update={"name": CONTROLLER, "address": "nowhere.invalid"})
    assert pool.line(target) is pool.line(target)
    assert pool.line(here).ask(b"echo here", timeout=5).stdout == b"here\n"
    assert pool.line(target).host == HostName("node")
    assert pool.fingerprint(here) == "local"
    pool.close()


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """An sshd with three accounts that are not root: none, free and password are their sudo."""
    if os.geteuid() or not shutil.which("sudo") or not shutil.which("useradd"):
        pytest.skip("needs root, sudo and useradd")
    rules = Path("/etc/sudoers.d/drrun-test")
    names = {kind: f"drrt-{kind}" for kind in ("none", "free", "pass")}
    hashed_password = subprocess.run(
        ["openssl", "passwd", "-6", "s3cret"], capture_output=True, check=True
    ).stdout.decode()
    home = Path(f"/tmp/drrun-test-{os.getpid()}")
    home.mkdir(mode=0o755)
    try:
        for name in names.values():
            argv = ["useradd", "-M", "-d", str(home), "-s", "/bin/sh", "-p"]
            subprocess.run([*argv, hashed_password.strip(), name], check=True)
        rules.write_text(
            f"Defaults:{names['free']} use_pty\n{names['free']} ALL=(ALL) NOPASSWD: ALL\n"
            f"{names['pass']} ALL=(ALL) ALL\n"
        )
        rules.chmod(0o440)
        with running_sshd(home) as server:
            server.extra = names
            yield server
    finally:
        rules.unlink(missing_ok=True)
        for name in names.values():
            subprocess.run(["userdel", name], check=False, capture_output=True)
        shutil.rmtree(home, ignore_errors=True)


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
    job = jobs(f"read x <{gate}; echo after; exit 6\n".encode())
    first.launch(job)
    first.close()
    gate.write_text("go\n")
    second = transport.connect(target)
    report = second.poll(job.run, job.token, wait=10)
    second.close()
    assert (report.code, report.out) == (6, b"after\n")


def test_no_sudo_is_a_clear_error(accounts: Sshd, transport: SshTransport) -> None:
    """An account without sudo cannot act as root; it can without `become`."""
    said = refused(transport, accounts, BecomeError, user=accounts.extra["none"])
    assert "cannot act as root" in said
    line = transport.connect(accounts.target(user=accounts.extra["none"], become="none"))
    assert line.ask(b"id -u", timeout=10).stdout != b"0\n"
    line.close()


def test_sudo_with_a_password(accounts: Sshd, tmp_path: Path) -> None:
    """The password goes over the pipe; a wrong or missing one is a BecomeError that says so."""
    target = accounts.target(user=accounts.extra["pass"])
    for password in (None, Secret("wrong")):
        with pytest.raises(BecomeError) as caught:
            SshTransport(become_password=password).connect(target)
        assert "DRRUN_BECOME_PASSWORD" in f"{caught.value.message} {caught.value.hint}"
    line = SshTransport(become_password=Secret("s3cret")).connect(target)
    for _ in range(2):
        assert line.ask(b"id -u; cat", timeout=10).stdout == b"0\n"
    line.close()
