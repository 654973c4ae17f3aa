"""Whether anything answers at a host's address: what a fenced host must never do.

Rule 1: a refused connection is a sign of life too: only a kernel that runs refuses.
Rule 2: nothing is asked and nobody logs in; a key, an account or sshd itself may be broken.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import paramiko

from drrun.errors import Unreachable
from drrun.transport.deadline import Deadline
from drrun.transport.dial import connect_tcp, dial
from drrun.transport.ssh_config import Hop


def sign_of_life(route: Sequence[Hop], *, timeout: float, connect_timeout: float) -> str:
    """What answers at the last hop, in words; empty when nothing does within `timeout` seconds.

    Raises ConnectError's kinds when a jump host before it cannot be used: then nobody knows.
    """
    *before, last = route
    if before:
        return _through(before, last, timeout, connect_timeout)
    try:
        connect_tcp(last.host, last.port, Deadline.after(timeout), str(last)).close()
    except TimeoutError:
        return ""
    except Unreachable as error:
        cause = error.__cause__
        return _refuses(last) if isinstance(cause, ConnectionRefusedError) else ""
    return _accepts(last)


class _Heard(logging.Handler):
    """What the jump host's sshd said: paramiko gives its words to nobody but its log."""

    def __init__(self, transport: paramiko.Transport) -> None:
        super().__init__()
        self.words = ""
        name = f"drrun.life.{id(self)}"
        transport.set_log_channel(name)
        self._logger = logging.getLogger(name)
        self._logger.propagate = False
        self._logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.words += f"{record.getMessage()}\n"


def _through(before: Sequence[Hop], last: Hop, timeout: float, connect_timeout: float) -> str:
    connection = dial(before, connect_timeout)
    heard = _Heard(connection.end)
    try:
        connection.end.open_channel(
            "direct-tcpip", (last.host, last.port), ("127.0.0.1", 0), timeout=timeout
        )
    except paramiko.ChannelException:
        return _refuses(last) if "refused" in heard.words.lower() else ""
    except (paramiko.SSHException, EOFError, OSError):
        if not connection.alive:
            raise Unreachable(
                f"{before[-1]}: the jump host's line broke", hint="try again"
            ) from None
        return ""
    else:
        return _accepts(last)
    finally:
        connection.close()


def _accepts(hop: Hop) -> str:
    return f"its port {hop.port} accepts connections"


def _refuses(hop: Hop) -> str:
    return f"its port {hop.port} refuses connections, as only a running kernel does"
