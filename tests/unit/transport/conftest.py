"""Fixtures of the transport's tests: shells to run the agent in, an OpenSSH server on loopback."""

from __future__ import annotations

import contextlib
import getpass
import itertools
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drrun.model.inventory import Target
from drrun.ports import Job
from drrun.transport.agent import AgentSetting
from drrun.transport.line import ShellLine
from drrun.transport.local import LocalTransport
from drrun.transport.ssh import SshTransport
from drrun.values import Digest, HostName

Jobs = Callable[..., Job]
Lines = Callable[..., ShellLine]


@pytest.fixture(autouse=True)
def no_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's systemd, if it runs one, is not asked to keep the jobs of tests."""
    monkeypatch.setenv("DRRUN_SYSTEMD", "/nonexistent")


@pytest.fixture
def jobs() -> Jobs:
    """Makes jobs with a new token each; a token can be asked for."""
    count = itertools.count(1)

    def make(
        script: bytes, *, token: str = "", run: str = "run-1", epoch: int = 1, timeout: float = 0
    ) -> Job:
        name = token or f"c-{next(count):020x}"
        return Job(run, name, epoch, script, Digest("ab" * 32), timeout=timeout)

    return make


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Where the agent keeps its jobs."""
    return tmp_path / "base"


@pytest.fixture
def lines(base: Path) -> Iterator[Lines]:
    """Opens lines to this machine, run-1 holding it, and closes them."""
    opened: list[ShellLine] = []

    def make(
        shell: tuple[str, ...] = ("/bin/sh",),
        boot_id: str = "",
        cap: int = 1 << 20,
        *,
        fenced: bool = True,
    ) -> ShellLine:
        setting = AgentSetting(base=str(base), shell=shell, boot_id=boot_id, cap=cap)
        target = Target(name=HostName("controller"), address="localhost")
        line = LocalTransport(setting, patience=20).connect(target)
        opened.append(line)
        if fenced:
            line.fence("run-1", 1, "tests")
        return line

    yield make
    for line in opened:
        line.close()


@pytest.fixture
def line(lines: Lines, shell: tuple[str, ...]) -> ShellLine:
    """A line to this machine in each shell."""
    return lines(shell)


@dataclass
class Sshd:
    """A running sshd of ours."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]
    user: str
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def known_hosts(self) -> Path:
        """A file that holds its key."""
        return self.folder / "known_hosts"

    @property
    def name(self) -> str:
        """What known_hosts calls it."""
        return f"[127.0.0.1]:{self.port}"

    @property
    def key(self) -> str:
        """Its public host key, as in known_hosts."""
        kind, blob = (self.folder / "host.pub").read_text().split()[:2]
        return f"{kind} {blob}"

    def target(self, **over: object) -> Target:
        """How to reach it."""
        known = {
            "name": "node",
            "address": "127.0.0.1",
            "port": self.port,
            "user": self.user,
            "identity": str(self.folder / "user"),
            "known_hosts": str(self.known_hosts),
            "connect_timeout": 10.0,
        }
        return Target.model_validate({**known, **over})


def make_key(path: Path, *, passphrase: str = "") -> None:
    """A new Ed25519 key pair."""
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", str(path)]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextlib.contextmanager
def running_sshd(folder: Path, *options: str, within: Sequence[str] = ()) -> Iterator[Sshd]:
    """Start sshd in the foreground, by the command `within`, and wait until it listens."""
    program = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/sbin")
    if program is None:
        pytest.skip("sshd is not installed: apt-get install openssh-server")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    folder.chmod(0o755)
    for name in ("host", "user"):
        make_key(folder / name)
    keys = folder / "authorized_keys"
    keys.write_bytes((folder / "user.pub").read_bytes())
    keys.chmod(0o644)
    port = free_port()
    config = (
        f"Port {port}",
        "ListenAddress 127.0.0.1",
        f"HostKey {folder / 'host'}",
        f"AuthorizedKeysFile {keys}",
        "PidFile none",
        "StrictModes no",
        "UsePAM no",
        "PermitRootLogin yes",
        f"SetEnv HOME={folder}",  # bash under sshd reads ~/.bashrc: nobody's here
        *options,
    )
    (folder / "config").write_text("\n".join(config) + "\n")
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [*within, program, "-D", "-e", "-f", str(folder / "config")],
        stderr=log,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    log.close()
    sshd = Sshd(folder, port, process, getpass.getuser())
    sshd.known_hosts.write_text(f"{sshd.name} {sshd.key}\n")
    try:
        wait_for_banner(sshd)
        yield sshd
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def wait_for_banner(sshd: Sshd) -> None:
    """Until sshd names itself; connecting blocks, so nothing has to be timed."""
    for _ in range(200):
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", sshd.port), 5) as sock,
        ):
            if sock.recv(4).startswith(b"SSH"):
                return
        with contextlib.suppress(subprocess.TimeoutExpired):
            sshd.process.wait(0.05)
            break
    pytest.fail(f"sshd did not start: {(sshd.folder / 'log').read_text()}")


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """One sshd for the whole session."""
    # Not under pytest's own folder, which is 0700: other accounts log in, too.
    folder = Path(tmp_path_factory.mktemp("sshd", numbered=True))
    with running_sshd(folder) as server:
        yield server


@pytest.fixture
def transport(tmp_path: Path) -> SshTransport:
    """An SSH transport whose agents keep their jobs in the test's own folder."""
    return SshTransport(AgentSetting(base=str(tmp_path / "base")), patience=15)


@pytest.fixture(scope="session")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """An sshd with three accounts that are not root: none, free and password are their sudo."""
    if os.geteuid() or not shutil.which("sudo") or not shutil.which("useradd"):
        pytest.skip("needs root, sudo and useradd")
    mine = os.environ.get("PYTEST_XDIST_WORKER", "")  # workers have accounts of their own
    rules = Path(f"/etc/sudoers.d/drrun-test{mine}")
    names = {kind: f"drrt-{kind}{mine}" for kind in ("none", "free", "pass")}
    hashed_password = subprocess.run(
        ["openssl", "passwd", "-6", "s3cret"], capture_output=True, check=True
    ).stdout.decode()
    home = Path(f"/tmp/drrun-test-{os.getpid()}")
    home.mkdir(mode=0o755)
    try:
        for name in names.values():
            # A session that was killed leaves its accounts behind.
            subprocess.run(["userdel", name], check=False, capture_output=True)
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
