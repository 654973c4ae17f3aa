"""Where a connection goes: the target's word, then OpenSSH's."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from drrun.errors import Unreachable
from drrun.model.inventory import Target
from drrun.transport.deadline import Deadline, Watchdog
from drrun.transport.ssh_config import from_config, parse, route, split_address
from drrun.values import HostName

SAID = """host cp1
user admin
hostname 10.0.0.1
port 2222
identityfile ~/.ssh/one
identityfile /keys/two
userknownhostsfile /k/one /k/two
globalknownhostsfile /etc/ssh/ssh_known_hosts
proxyjump gate@bastion:22
hostkeyalias the-key
identityagent none
"""


def test_ssh_g_is_read() -> None:
    """Every setting that matters is taken from `ssh -G`."""
    hop = from_config(parse(SAID), "cp1")
    assert (hop.host, hop.port, hop.user) == ("10.0.0.1", 2222, "admin")
    assert hop.identities == (str(Path("~/.ssh/one").expanduser()), "/keys/two")
    assert hop.known_hosts == ("/k/one", "/k/two", "/etc/ssh/ssh_known_hosts")
    assert (hop.key_name, hop.agent, hop.jump) == ("the-key", False, "gate@bastion:22")
    assert str(hop) == "admin@10.0.0.1:2222"


def test_a_proxy_command_is_refused() -> None:
    """A way that drrun cannot go is not silently ignored."""
    with pytest.raises(Unreachable, match="ProxyCommand"):
        from_config(parse("proxycommand nc %h %p\n"), "cp1")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("host", (None, "host", None)),
        ("me@host", ("me", "host", None)),
        ("me@host:22", ("me", "host", 22)),
        ("a@b@host", ("a@b", "host", None)),
        ("me@[fe80::1]:2222", ("me", "fe80::1", 2222)),
        ("[::1]", (None, "::1", None)),
        ("fe80::1", (None, "fe80::1", None)),
    ],
)
def test_addresses(text: str, parts: tuple[str | None, str, int | None]) -> None:
    """user@host:port, with and without brackets."""
    assert split_address(text) == parts


def test_the_target_has_the_last_word() -> None:
    """What the inventory says overrides ~/.ssh/config; jump hosts come first, in order."""
    target = Target(
        name=HostName("cp1"),
        address="192.0.2.1",
        user="root",
        port=2200,
        identity="/keys/mine",
        known_hosts="/k/mine",
        jump="a@192.0.2.2:22,b@192.0.2.3:2022",
    )
    first, second, last = route(target)
    assert (first.user, first.host, first.port) == ("a", "192.0.2.2", 22)
    assert (second.user, second.host, second.port) == ("b", "192.0.2.3", 2022)
    assert (last.user, last.host, last.port) == ("root", "192.0.2.1", 2200)
    assert (last.identities, last.known_hosts) == (("/keys/mine",), ("/k/mine",))
    assert first.known_hosts[0] == "/k/mine"


def test_without_openssh_its_defaults_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    """A controller without ssh(1) can still connect."""
    monkeypatch.setenv("PATH", "/nonexistent")
    assert shutil.which("ssh") is None
    (hop,) = route(Target(name=HostName("x"), address="192.0.2.9", user="root"))
    assert (hop.host, hop.port, hop.user) == ("192.0.2.9", 22, "root")
    assert hop.known_hosts[0] == str(Path("~/.ssh/known_hosts").expanduser())


@pytest.mark.parametrize("address", ["-oProxyCommand=reboot", "a b", ""])
def test_an_address_is_no_option(address: str) -> None:
    """What ssh would take for an option never reaches it."""
    with pytest.raises(Unreachable, match="no address"):
        route(Target(name=HostName("x"), address=address))


def test_the_watchdog_cuts_only_what_is_late() -> None:
    """A block that ends in time is left alone; one that does not is cut at its deadline."""
    watchdog, late, early = Watchdog(), threading.Event(), threading.Event()
    with watchdog.watch(Deadline.after(60), early.set):
        with watchdog.watch(Deadline.after(0.05), late.set):
            assert late.wait(10)
        assert not early.is_set()


def test_a_deadline_ends() -> None:
    """A deadline that has passed leaves no time, and says how long it was."""
    deadline = Deadline(at=0.0, total=2.5)
    assert deadline.left == 0
    with pytest.raises(TimeoutError, match=r"2\.5 s"):
        deadline.need()
