"""Opening an SSH connection: names, sockets, jump hosts, the handshake, the host key, the login.

Rule 1: every stage keeps to the one deadline of the whole connection; paramiko bounds few.
Rule 2: the host key is judged before anything about us is said. There is no mode without.
Rule 3: TCP_NODELAY on the real socket: without it every act costs 40 ms of delayed ACK.
"""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import paramiko

from drrun.errors import HostKeyError, Unreachable
from drrun.transport.auth import log_in
from drrun.transport.deadline import Deadline
from drrun.transport.known_hosts import KnownHosts, KnownKey, fingerprint, lookup_name
from drrun.transport.orderly import OrderlyTransport
from drrun.transport.ssh_config import Hop

UNAUTHENTICATED = threading.BoundedSemaphore(5)
"""sshd drops connections at random once ten are not logged in yet (MaxStartups 10:30:100)."""

BANNER_TRIES = 4

# paramiko still offers these; a server that has nothing better should be told so, not obeyed.
_WEAK = {
    "ciphers": ["3des-cbc", "aes128-cbc", "aes192-cbc", "aes256-cbc"],
    "macs": ["hmac-sha1", "hmac-md5", "hmac-sha1-96", "hmac-md5-96"],
}

_ALGORITHMS = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}

# Without a handler of its own, logging prints paramiko's tracebacks on the operator's terminal.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class Connection:
    """A chain of authenticated transports; `root` is the only real socket under them."""

    transports: tuple[OrderlyTransport, ...]
    root: socket.socket

    @property
    def end(self) -> OrderlyTransport:
        """The transport to the host itself."""
        return self.transports[-1]

    @property
    def alive(self) -> bool:
        """False once any link of the chain is known to be broken."""
        return all(transport.is_active() for transport in self.transports)

    def cut(self) -> None:
        """Break the line at once, without a word to a peer that may never answer."""
        with contextlib.suppress(OSError):
            self.root.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Hang up."""
        self.cut()
        for transport in reversed(self.transports):
            # The inner ones say goodbye through the outer ones, which are gone.
            with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
                transport.close()
        self.root.close()


def dial(route: Sequence[Hop], seconds: float) -> Connection:
    """Connect and log in along `route`. Raises ConnectError's kinds; TimeoutError never escapes."""
    deadline = Deadline.after(seconds)
    tries = 0
    while True:
        try:
            with _admitted(deadline):
                return _dial_once(route, deadline)
        except _Banner as exc:
            tries += 1
            if tries == BANNER_TRIES or not deadline.left:
                raise Unreachable(
                    f"{route[-1]}: no SSH banner came: {exc}",
                    hint="is it sshd that listens there? a busy one drops logins (MaxStartups)",
                ) from exc
            # Everybody who was dropped comes back at once unless each waits its own time.
            threading.Event().wait(min(deadline.left, random.uniform(0.1, 0.5) * tries))  # noqa: S311
        except TimeoutError as exc:
            raise Unreachable(
                f"{route[-1]}: {str(exc) or 'timed out'}",
                hint="is the host up, and its port open from here? connect_timeout can be raised",
            ) from exc


class _Banner(Exception):
    """The peer hung up or stayed silent before it named its protocol."""


@contextlib.contextmanager
def _admitted(deadline: Deadline) -> Iterator[None]:
    if not UNAUTHENTICATED.acquire(timeout=deadline.left):
        raise TimeoutError("too many connections were being opened at once")
    try:
        yield
    finally:
        UNAUTHENTICATED.release()


def _dial_once(route: Sequence[Hop], deadline: Deadline) -> Connection:
    root = connect_tcp(route[0].host, route[0].port, deadline, str(route[0]))
    transports: list[OrderlyTransport] = []
    try:
        for index, hop in enumerate(route):
            sock: socket.socket | _Tunnel = root
            if index:
                sock = _tunnel(transports[-1], route[index - 1], hop, deadline)
            transports.append(_handshake(sock, hop, deadline, jumped=index > 0))
            log_in(transports[-1], hop, deadline)
    except BaseException:
        Connection(tuple(transports), root).close()
        raise
    for transport in transports:
        transport.set_keepalive(15)  # for the firewalls between; it detects nothing
    return Connection(tuple(transports), root)


def connect_tcp(host: str, port: int, deadline: Deadline, name: str) -> socket.socket:
    """A connected socket. Raises Unreachable, TimeoutError."""
    last: OSError | None = None
    addresses = _look_up(host, port, deadline, name)
    for index, (family, kind, proto, _, address) in enumerate(addresses):
        share = deadline.need() / (len(addresses) - index)
        sock = socket.socket(family, kind, proto)
        try:
            sock.settimeout(share)
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as exc:
            sock.close()
            # Of several addresses, one that refused tells more than one that stayed silent.
            last = last if isinstance(last, ConnectionRefusedError) else exc
        else:
            return sock
    if isinstance(last, TimeoutError):
        raise TimeoutError(f"no connection to port {port} within {deadline.total:g} s") from last
    raise Unreachable(
        f"{name}: cannot connect to {host} port {port}: {last.strerror if last else 'no address'}",
        hint="is the host up, is sshd running there, does a firewall stand between?",
    ) from last


_Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[object, ...]]


def _look_up(host: str, port: int, deadline: Deadline, name: str) -> list[_Address]:
    """Resolve: getaddrinfo has no timeout; a thread that is left behind ends with the resolver."""
    found: list[_Address] = []
    wrong: list[OSError] = []
    done = threading.Event()

    def look() -> None:
        try:
            found.extend(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as exc:
            wrong.append(exc)
        except UnicodeError:
            wrong.append(OSError(0, "not a host name"))
        finally:
            done.set()

    threading.Thread(target=look, name="drrun-resolver", daemon=True).start()
    if not done.wait(deadline.left):
        raise TimeoutError(f"the name {host} did not resolve within {deadline.total:g} s")
    if wrong:
        raise Unreachable(
            f"{name}: the name {host} does not resolve: {wrong[0].strerror}",
            hint="if DNS is down, write the IP address in the inventory",
        ) from wrong[0]
    return found


class _Tunnel:
    """A channel as a socket whose close cannot fail.

    paramiko's thread closes its socket as one of its last acts, and wakes those who wait after
    that: an EOFError, because the jump host's line ended first, would leave them waiting.
    """

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel

    def __getattr__(self, name: str) -> object:
        return getattr(self._channel, name)

    def close(self) -> None:
        """Close the channel if the line under it still lives."""
        with contextlib.suppress(EOFError, OSError, paramiko.SSHException):
            self._channel.close()


def _tunnel(through: paramiko.Transport, jump: Hop, hop: Hop, deadline: Deadline) -> _Tunnel:
    try:
        channel = through.open_channel(
            "direct-tcpip", (hop.host, hop.port), ("127.0.0.1", 0), timeout=deadline.need()
        )
    except paramiko.ChannelException as exc:
        raise Unreachable(
            f"{hop}: the jump host {jump} could not reach it: {exc.text}",
            hint="does the jump host allow TCP forwarding, and is the host up?",
        ) from exc
    except (paramiko.SSHException, EOFError, OSError) as exc:
        deadline.need()
        raise Unreachable(f"{jump}: the jump host's line broke: {exc}", hint="try again") from exc
    return _Tunnel(channel)


def _handshake(
    sock: socket.socket | _Tunnel, hop: Hop, deadline: Deadline, *, jumped: bool
) -> OrderlyTransport:
    known = KnownHosts.load(hop.known_hosts)
    transport = OrderlyTransport(cast(socket.socket, sock), disabled_algorithms=_WEAK)
    try:
        _prefer(transport, known.expected(hop.key_name, hop.port))
        transport.banner_timeout = transport.handshake_timeout = deadline.need()
        transport.start_client(timeout=deadline.need())
        if not transport.initial_kex_done:
            raise TimeoutError(f"no SSH handshake within {deadline.total:g} s")
        shown = transport.get_remote_server_key()
        check_key(known, hop, shown.get_name(), shown.asbytes(), jumped=jumped)
    except (paramiko.SSHException, EOFError, OSError) as exc:
        transport.close()
        if isinstance(exc, TimeoutError):
            raise
        if "banner" in str(exc) or isinstance(exc, EOFError | ConnectionResetError):
            raise _Banner(str(exc) or type(exc).__name__) from exc
        deadline.need()
        raise Unreachable(f"{hop}: {_why(exc)}", hint=_handshake_hint(exc)) from exc
    except BaseException:
        transport.close()
        raise
    return transport


def _prefer(transport: paramiko.Transport, known: Sequence[KnownKey]) -> None:
    """Ask for a kind of host key that is known, or a host with two keys looks changed."""
    options = transport.get_security_options()
    names = [name for key in known for name in _ALGORITHMS.get(key.kind, (key.kind,))]
    first = [name for name in dict.fromkeys(names) if name in options.key_types]
    options.key_types = (*first, *(name for name in options.key_types if name not in first))


def _why(exc: BaseException) -> str:
    if isinstance(exc, paramiko.ssh_exception.IncompatiblePeer):
        return f"no common algorithm with its sshd: {exc}"
    return f"the SSH handshake broke: {str(exc) or type(exc).__name__}"


def _handshake_hint(exc: BaseException) -> str:
    if isinstance(exc, paramiko.ssh_exception.IncompatiblePeer):
        return "SHA-1, CBC and MD5 are not spoken: update its sshd, or enable newer algorithms"
    return "is it sshd that listens there?"


def check_key(known: KnownHosts, hop: Hop, kind: str, blob: bytes, *, jumped: bool) -> None:
    """Judge the key that a host showed. Raises HostKeyError unless it is known."""
    verdict, lines = known.judge(hop.key_name, hop.port, blob)
    shown = f"{kind} {fingerprint(blob)}"
    if verdict == "known":
        return
    if verdict == "revoked":
        raise HostKeyError(
            f"{hop}: its host key {shown} is revoked ({lines[0].where})",
            hint="do not connect: find out who holds that key",
        )
    if verdict == "changed":
        expected = ", ".join(f"{key.kind} {fingerprint(key.blob)} ({key.where})" for key in lines)
        name = lookup_name(hop.key_name, hop.port)
        raise HostKeyError(
            f"{hop}: its host key changed: it shows {shown}, known is {expected}",
            hint="a reinstalled host, or somebody in between: compare with the host's console; "
            f"only then: ssh-keygen -R '{name}' -f {lines[0].where.rpartition(':')[0]}",
        )
    raise HostKeyError(
        f"{hop}: its host key is not known: it shows {shown}", hint=unknown_hint(known, hop, jumped)
    )


def unknown_hint(known: KnownHosts, hop: Hop, jumped: bool = False) -> str:  # noqa: FBT001,FBT002
    """How to make a host known, safely."""
    file = known.files[0] if known.files else "~/.ssh/known_hosts"
    port = f" -p {hop.port}" if hop.port != 22 else ""
    where = " (on the jump host)" if jumped else ""
    hint = (
        "compare that fingerprint with the host's console "
        "(ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub); "
        f"then: ssh-keyscan{port} {hop.host}{where} >> {file}"
    )
    if known.authorities(hop.key_name, hop.port):
        hint += "; @cert-authority lines are read, but host certificates are not supported yet"
    if known.complaints:
        hint += f"; lines that could not be read: {', '.join(known.complaints[:3])}"
    return hint
