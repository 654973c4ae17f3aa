"""Signs of life: what a host that the operator has fenced must not show."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.unit.transport.conftest import Sshd, free_port

from drrun.errors import Unreachable
from drrun.model.inventory import Target
from drrun.transport.life import sign_of_life
from drrun.transport.local import LocalTransport
from drrun.transport.ssh_config import Hop, route
from drrun.values import CONTROLLER

QUICK = {"timeout": 0.5, "connect_timeout": 5.0}


def hop(port: int, host: str = "127.0.0.1") -> Hop:
    """A hop to a port of this machine."""
    return Hop(host, port, "root", (), (), host)


@contextlib.contextmanager
def listening(backlog: int = 8) -> Iterator[int]:
    """A port that somebody listens on and never accepts from."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(backlog)
        yield int(sock.getsockname()[1])


@contextlib.contextmanager
def silent() -> Iterator[int]:
    """A port whose packets get no answer: its queue is full, and the kernel drops what comes."""
    with contextlib.ExitStack() as stack, listening(0) as port:
        for _ in range(50):
            one = stack.enter_context(socket.socket())
            one.settimeout(0.2)
            try:
                one.connect(("127.0.0.1", port))
            except TimeoutError:
                break
        else:
            pytest.fail("the queue of a listener never filled")
        yield port


def test_whoever_accepts_is_alive() -> None:
    """Even if nobody ever says a word of SSH."""
    with listening() as port:
        assert sign_of_life([hop(port)], **QUICK) == f"its port {port} accepts connections"


def test_whoever_refuses_is_alive() -> None:
    """Sshd is down, the kernel is not."""
    port = free_port()
    assert f"its port {port} refuses connections" in sign_of_life([hop(port)], **QUICK)


def test_silence_is_no_sign() -> None:
    """No answer within the time that was given."""
    with silent() as port:
        assert sign_of_life([hop(port)], **QUICK) == ""


def test_a_name_that_leads_nowhere_is_no_sign() -> None:
    """Names go with the cluster that served them."""
    assert sign_of_life([hop(22, "no-such-host.invalid")], **QUICK) == ""


def test_the_controller_is_alive() -> None:
    """Who asks cannot be off."""
    target = Target(name=CONTROLLER, address="localhost")
    assert LocalTransport().sign_of_life(target, timeout=1.0) == "it is this machine"


@pytest.mark.sshd
def test_a_jump_host_tells_for_those_behind_it(sshd: Sshd) -> None:
    """Accepted, refused and silent look alike through a jump host."""
    (jump,) = route(sshd.target())
    refused = free_port()
    with listening() as port, silent() as dark:
        assert "accepts" in sign_of_life([jump, hop(port)], **QUICK)
        assert "refuses" in sign_of_life([jump, hop(refused)], **QUICK)
        assert sign_of_life([jump, hop(dark)], **QUICK) == ""


@pytest.mark.sshd
def test_without_the_jump_host_nobody_knows(sshd: Sshd) -> None:
    """Silence behind a jump host that is gone proves nothing: that is an error, not a word."""
    (jump,) = route(sshd.target())
    gone = replace(jump, port=free_port())
    with pytest.raises(Unreachable), listening() as port:
        sign_of_life([gone, hop(port)], **QUICK)
