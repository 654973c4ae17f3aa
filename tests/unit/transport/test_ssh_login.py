"""Getting in: host keys, our keys, jump hosts, sudo, and ports that are no sshd."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from drrun.errors import (
    AuthError,
    BecomeError,
    ConnectError,
    HostKeyError,
    Unreachable,
)
from drrun.transport.ssh import SshTransport
from drrun.values import Secret

from .conftest import Sshd, free_port, make_key, running_sshd

pytestmark = pytest.mark.sshd

OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPZ7mmyfxQm7c4hyKX0oFPSbuXbfCTRwHmBPLrFyCo6y"


def refused(transport: SshTransport, sshd: Sshd, kind: type[ConnectError], **over: object) -> str:
    """Connecting fails with `kind`; what it says, hint included."""
    with pytest.raises(kind) as caught:
        transport.connect(sshd.target(**over)).close()
    assert caught.value.hint
    return f"{caught.value.message} | {caught.value.hint}"


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


def test_a_tunnel_whose_jump_host_is_gone_closes_in_silence(
    sshd: Sshd, transport: SshTransport
) -> None:
    """The jump host's line ends first: no thread raises (pytest turns one that does into an error)."""
    before = set(threading.enumerate())
    jump = f"{sshd.user}@127.0.0.1:{sshd.port}"
    for _ in range(5):
        line = transport.connect(sshd.target(become="none", jump=jump))
        assert line.ask(b"echo through", timeout=10).stdout == b"through\n"
        chain = [t for t in threading.enumerate() if isinstance(t, paramiko.Transport)]
        mine = sorted((t for t in chain if t not in before), key=lambda t: t.ident or 0)
        mine[0].close()
        line.close()
        for thread in mine:
            thread.join(timeout=10)
