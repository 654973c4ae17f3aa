"""Hosts over SSH: one connection a host, opened again when it broke, acting as root if asked.

Rule 1: paramiko's exceptions end in this package; above are ConnectError's kinds.
Rule 2: never a pty: it would echo a password and kill jobs by SIGHUP.
"""

from __future__ import annotations

import os
import select
import shlex
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import paramiko

from drrun.errors import BecomeError, ConnectError, HostKeyError, Unreachable
from drrun.model.inventory import Target
from drrun.transport.agent import AgentSetting
from drrun.transport.asker import Asker, AskerEnded
from drrun.transport.deadline import Deadline, Watchdog
from drrun.transport.dial import Connection, dial, unknown_hint
from drrun.transport.known_hosts import KnownHosts, fingerprint
from drrun.transport.life import sign_of_life
from drrun.transport.line import PATIENCE, ShellLine
from drrun.transport.process import CHUNK, Process, Stream
from drrun.transport.protocol import BadAnswerError
from drrun.transport.ssh_config import route
from drrun.values import Secret

BECOME_PASSWORD = "DRRUN_BECOME_PASSWORD"  # noqa: S105 - a variable's name

# One round trip tells who we are and, when root is wanted, whether sudo lets us without a word.
_PROBE = """uid=$(id -u); echo "uid=$uid"
[ {become} = sudo ] && [ "$uid" != 0 ] || exit 0
if command -v sudo >/dev/null 2>&1; then
  said=$(sudo -n -- /bin/sh -c 'id -u' 2>&1) || said="no $said"
else
  said="no sudo on this host"
fi
printf 'become=%s\\n' "$(printf %s "$said" | tr '\\n' ' ')"
"""

PROOF = 10.0
"""Seconds, and half of a call's own at most, that a connection in doubt has to open a channel."""


class SshProcess:
    """A paramiko channel as `Process`."""

    def __init__(self, channel: paramiko.Channel, connection: Connection) -> None:
        self._channel = channel
        self._connection = connection
        self._poll = select.poll()
        # The channel's pipe becomes readable when either stream has bytes or has ended.
        self._poll.register(channel.fileno(), select.POLLIN)

    @property
    def broken(self) -> bool:
        """Whether channel or connection are gone."""
        return bool(self._channel.closed) or not self._connection.alive

    @property
    def talking(self) -> bool:
        """Whether bytes wait to be received."""
        return bool(self._channel.recv_ready() or self._channel.recv_stderr_ready())

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Write all; raises BrokenPipeError when the program reads no more."""
        view = memoryview(data)
        while view:
            self._channel.settimeout(deadline.need())
            try:
                with self._turn():
                    sent = self._channel.send(bytes(view[:CHUNK]))
            except TimeoutError as exc:
                raise TimeoutError(f"took no input within {deadline.total:g} s") from exc
            if not self._connection.alive:
                # The library drops what is sent on a line that is known to be dead, without a word.
                raise ConnectionResetError("the connection was lost")
            if not sent:
                raise BrokenPipeError("the program reads no more")
            view = view[sent:]

    def finish(self) -> None:
        """Send end of file."""
        with self._turn():
            self._channel.shutdown_write()

    def receive(self, deadline: Deadline) -> tuple[Stream, bytes] | None:
        """The next bytes of a stream. Raises ConnectionError when the line broke."""
        channel = self._channel
        while True:
            if channel.recv_ready():
                with self._turn():
                    return "out", channel.recv(CHUNK)
            if channel.recv_stderr_ready():
                with self._turn():
                    return "err", channel.recv_stderr(CHUNK)
            if channel.eof_received or channel.closed:
                # Bytes may have come between the looks above and the end.
                if channel.recv_ready() or channel.recv_stderr_ready():
                    continue
                if self._lost:
                    raise ConnectionResetError("the connection was lost")
                return None
            self._poll.poll(deadline.need() * 1000)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Say something on the channel. A line that breaks under it is a ConnectionError."""
        try:
            with self._connection.end.turn(self._channel):
                yield
        except (paramiko.SSHException, EOFError) as exc:
            self._connection.cut()
            raise ConnectionResetError(
                f"the connection was lost{f': {exc}' if exc.args else ''}"
            ) from exc

    def status(self, deadline: Deadline) -> int | None:
        """The exit status. None when the server told none: a signal ended it."""
        if not self._channel.status_event.wait(deadline.need()):
            deadline.need()
        if not self._channel.exit_status_ready() or self._lost:
            raise ConnectionResetError("the connection was lost")
        code = self._channel.exit_status
        return code if code >= 0 else None

    @property
    def _lost(self) -> bool:
        """A dying connection closes its channels a moment before it says so.

        A program's end does not come without a word: EOF, or its exit.
        """
        said = self._channel.eof_received or self._channel.exit_status >= 0
        return not (said and self._connection.alive)

    def close(self) -> None:
        """Close the channel; does not wait for the program."""
        if self._connection.alive:
            self._channel.close()


class SshStation:
    """Starts programs on a host; connects anew, once a call, when the connection broke."""

    def __init__(
        self, open_connection: Callable[[], Connection], watchdog: Watchdog, password: Secret | None
    ) -> None:
        self._open = open_connection
        self._watchdog = watchdog
        self._password = password
        self._prefix: tuple[str, ...] = ()
        self._ask_password = False
        self._connection: Connection | None = None
        self._doubted: Connection | None = None
        self._lock = threading.Lock()

    def become(self, target: Target) -> Asker | None:
        """Find out how to act as the target asks. Raises ConnectError's kinds, OSError.

        Returns the shell that was asked, if questions to come may be asked in it, too.
        """
        deadline = Deadline.after(max(target.connect_timeout, 5.0))
        said, asker = self._probe(target.become, deadline)
        if said.get("uid") == "0" or target.become != "sudo":
            return asker
        asker.close()
        self._prefix = ("sudo", "-n", "--")
        if said.get("become", "").strip() == "0":
            return None
        return self._with_password(target, said, deadline)

    def _with_password(
        self, target: Target, said: Mapping[str, str], deadline: Deadline
    ) -> Asker | None:
        answer = said.get("become", "")
        if "uid" not in said:
            raise BecomeError(
                f"{target.name}: the account does not run commands",
                hint=f"does its login shell work? try: ssh {target.address} id",
            )
        if self._password is None or answer.startswith("no sudo on"):
            raise BecomeError(
                f"{target.name}: cannot act as root: {answer.removeprefix('no ').strip()}",
                hint="let the account use sudo without a password, or set "
                f"{BECOME_PASSWORD}, or log in as root, or say `become: none`",
            )
        # -k: a cached ticket would leave the password line to the shell.
        self._prefix = ("sudo", "-k", "-S", "-p", "", "--")
        self._ask_password = True
        said, asker = self._probe("none", deadline)
        if said.get("uid") == "0":
            return asker
        asker.close()
        raise BecomeError(
            f"{target.name}: sudo did not take the password of {BECOME_PASSWORD}",
            hint="is it this account's password, and is the account in sudoers?",
        )

    def _probe(self, become: str, deadline: Deadline) -> tuple[dict[str, str], Asker]:
        asker = Asker(self.start(("/bin/sh", "-s"), deadline))
        script = _PROBE.format(become=become).encode()
        try:
            reply = asker.ask(script, deadline, 1 << 16)
        except AskerEnded as ended:
            reply = ended.reply
        except BaseException:
            asker.close()
            raise
        said = (line.partition("=") for line in reply.text.splitlines())
        return {name: value for name, _, value in said}, asker

    def start(self, argv: tuple[str, ...], deadline: Deadline) -> Process:
        """Start `argv`. Raises ConnectError's kinds, OSError, TimeoutError."""
        connection = self._live()
        if connection is self._doubted:
            proof = Deadline.after(min(PROOF, deadline.need() / 2))
            try:
                channel = self._opened(connection, argv, proof)
            except TimeoutError:
                connection = self._live()
                channel = self._opened(connection, argv, deadline)
        else:
            channel = self._opened(connection, argv, deadline)
        self._doubted = None
        process = SshProcess(channel, connection)
        if self._ask_password and self._password is not None:
            process.send(self._password.unmask().encode() + b"\n", deadline)
        return process

    def doubt(self) -> None:
        """A kept shell did not answer in time: is it slow, or is the whole connection frozen?"""
        self._doubted = self._connection

    def _opened(
        self, connection: Connection, argv: tuple[str, ...], deadline: Deadline
    ) -> paramiko.Channel:
        try:
            with self._watchdog.watch(deadline, connection.cut):
                channel = connection.end.open_session(timeout=deadline.need())
                channel.exec_command(shlex.join((*self._prefix, *argv)))
        except paramiko.ChannelException as exc:
            raise ConnectionRefusedError(
                f"sshd opens no further session ({exc.text}): is MaxSessions below 5?"
            ) from exc
        except (paramiko.SSHException, EOFError, OSError) as exc:
            # Whether frozen or broken: what comes next shall not wait for it again.
            connection.cut()
            if isinstance(exc, TimeoutError) or not deadline.left or "Timeout" in str(exc):
                raise TimeoutError(f"no answer within {deadline.total:g} s") from exc
            raise ConnectionResetError(f"the connection was lost: {exc}") from exc
        return channel

    def close(self) -> None:
        """Hang up."""
        with self._lock:
            connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _live(self) -> Connection:
        with self._lock:
            if self._connection is None or not self._connection.alive:
                if self._connection is not None:
                    self._connection.close()
                    self._connection = None
                self._connection = self._open()
            return self._connection


class SshTransport:
    """`Transport` for hosts behind sshd. Safe for many threads."""

    def __init__(
        self,
        setting: AgentSetting | None = None,
        *,
        patience: float = PATIENCE,
        become_password: Secret | None = None,
    ) -> None:
        self._setting = setting or AgentSetting()
        self._patience = patience
        secret = os.environ.get(BECOME_PASSWORD)
        self._password = become_password or (Secret(secret) if secret else None)
        self._watchdog = Watchdog()

    def connect(self, target: Target) -> ShellLine:
        """Log in and make sure of root. Raises ConnectError's kinds."""
        way = route(target)
        station = SshStation(
            lambda: dial(way, target.connect_timeout), self._watchdog, self._password
        )
        try:
            asker = station.become(target)
        except (OSError, BadAnswerError) as exc:
            station.close()
            raise Unreachable(
                f"{target.name}: logged in, but no answer came: {exc}",
                hint="is the host overloaded? try: ssh " + target.address + " id",
            ) from exc
        except ConnectError as exc:
            station.close()
            if target.name in exc.message:
                raise
            # The address says where it was tried; the operator knows the host by its name.
            raise type(exc)(f"{target.name}: {exc.message}", hint=exc.hint) from exc
        except BaseException:
            station.close()
            raise
        line = ShellLine(target.name, station, setting=self._setting, patience=self._patience)
        if asker is not None:
            line.keep(asker)
        return line

    def fingerprint(self, target: Target) -> str:
        """The best known host key. Raises HostKeyError when none is known."""
        hops = route(target)
        known = KnownHosts.load(hops[-1].known_hosts)
        keys = known.expected(hops[-1].key_name, hops[-1].port)
        if not keys:
            raise HostKeyError(
                f"{target.name}: no host key of {hops[-1]} is known",
                hint=unknown_hint(known, hops[-1], len(hops) > 1),
            )
        return fingerprint(keys[0].blob)

    def sign_of_life(self, target: Target, *, timeout: float) -> str:
        """How anything answers at the port of its sshd; empty when nothing does."""
        connect_timeout = target.connect_timeout
        return sign_of_life(route(target), timeout=timeout, connect_timeout=connect_timeout)

    def close(self) -> None:
        """Lines close themselves."""
