"""A channel is left in order: nothing is said on it behind its close, or sshd ends the connection."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import paramiko
import pytest
from paramiko.common import MSG_CHANNEL_DATA, MSG_CHANNEL_EOF

from drrun.transport.deadline import Deadline, Watchdog
from drrun.transport.dial import dial
from drrun.transport.orderly import OrderlyTransport
from drrun.transport.ssh import SshStation, SshTransport
from drrun.transport.ssh_config import route

from .conftest import Sshd

pytestmark = pytest.mark.sshd

WAIT = 20.0
"""Seconds until a test gives up; a thousand times what it takes."""


class Slow(OrderlyTransport):
    """Holds back one kind of message: first the program ends, and the server closes its channel."""

    kind = -1
    end: Path
    """The program ends when this is there."""
    held: list[bool]

    def _send_user_message(self, message: paramiko.Message) -> None:
        raw = message.asbytes()
        if raw[0] == self.kind and threading.current_thread() is not self:
            channel = max(self._channels.values(), key=paramiko.Channel.get_id)  # type: ignore[attr-defined]
            self.end.touch()
            pause = threading.Event()
            closed = any(channel.closed or pause.wait(0.01) for _ in range(int(WAIT * 100)))
            self.held.append(closed)
        super()._send_user_message(message)  # type: ignore[misc]


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(MSG_CHANNEL_DATA, id="input"),
        pytest.param(MSG_CHANNEL_EOF, id="end-of-input"),
    ],
)
def test_input_for_a_program_that_is_over_does_not_end_the_connection(
    sshd: Sshd,
    transport: SshTransport,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    kind: int,
) -> None:
    """What is on its way when the server closes the channel goes out before our own close."""
    monkeypatch.setattr("drrun.transport.dial.OrderlyTransport", Slow)
    monkeypatch.setattr(Slow, "held", [], raising=False)
    monkeypatch.setattr(Slow, "end", tmp_path / "end", raising=False)
    line = transport.connect(sshd.target(become="none"))
    station = line._station
    assert isinstance(station, SshStation)
    connection = station._connection
    try:
        program = f"until [ -e {Slow.end} ]; do sleep 0.01; done"
        process = station.start(("/bin/sh", "-c", program), Deadline.after(WAIT))
        monkeypatch.setattr(Slow, "kind", kind)
        if kind == MSG_CHANNEL_DATA:
            process.send(b"for nobody", Deadline.after(WAIT))
        process.finish()
        assert process.receive(Deadline.after(WAIT)) is None
        assert process.status(Deadline.after(WAIT)) == 0
        process.close()
        monkeypatch.setattr(Slow, "kind", -1)
        assert line.ask(b"echo here", timeout=WAIT).text == "here\n"
        assert station._connection is connection
    finally:
        line.close()
    assert Slow.held == [True]


@pytest.mark.parametrize("known", [False, True], ids=["found-out", "known-before"])
def test_a_line_that_breaks_under_input_is_an_error_of_the_line(
    sshd: Sshd, transport: SshTransport, monkeypatch: pytest.MonkeyPatch, *, known: bool
) -> None:
    """The library says EOFError there, or nothing where its reader was the first to see the end."""

    class Broken(OrderlyTransport):
        def _send_user_message(self, message: paramiko.Message) -> None:
            if message.asbytes()[0] == MSG_CHANNEL_DATA:
                self.sock.shutdown(socket.SHUT_RDWR if known else socket.SHUT_WR)
                if known:
                    self.join(WAIT)
                    assert not self.is_active()
            super()._send_user_message(message)  # type: ignore[misc]

    monkeypatch.setattr("drrun.transport.dial.OrderlyTransport", Broken)
    station = SshStation(
        lambda: dial(route(sshd.target(become="none")), WAIT), Watchdog(), password=None
    )
    process = station.start(("cat",), Deadline.after(WAIT))
    try:
        with pytest.raises(ConnectionError, match="connection was lost"):
            process.send(b"for nobody", Deadline.after(WAIT))
    finally:
        station.close()
