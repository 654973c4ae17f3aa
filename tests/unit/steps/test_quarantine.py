"""The API server's port, closed to all but its host: what is done to which host, and by real filters."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.unit.steps.recorded_answers import said

from drrun.spi import Command, Done, DoneChange, HostStep, StepFailed
from drrun.testing import FakeHost
from drrun_steps.kube.quarantine import Close, KubeClosed, Open

CLOSED = KubeClosed()


def host(state: str) -> FakeHost:
    """One whose port is like this."""
    return FakeHost("cp1", {CLOSED: state})


def test_the_port_is_closed_and_opened_once() -> None:
    """What is so already is left alone."""
    for step, before, wanted in (
        (Close(), "open", ["close"]),
        (Close(), "closed", []),
        (Open(), "closed", ["open"]),
        (Open(), "open", []),
    ):
        asked = host(before)
        step.run(asked)
        assert asked.change_names == wanted
        told = wanted == ["close"] or (isinstance(step, Open) and before == "open")
        assert bool(asked.notes) is told, "who closes a door says how to open it"


@pytest.mark.field("39")
def test_a_port_that_was_not_closed_any_more_is_told() -> None:
    """Somebody reloaded the packet filter: clients may have come in, and that is not passed over in silence."""
    asked = host("open")
    Open().run(asked)
    (note,) = asked.notes
    assert "clients may have come in before" in note


@pytest.mark.field("38")
@pytest.mark.parametrize("kernel", ["without IPv6", "with IPv6"])
def test_a_family_that_the_kernel_lacks_is_closed(kernel: str, tmp_path: Path) -> None:
    """ip6tables fails at everything there: without IPv6 nobody comes in by it; with it the port cannot be closed."""
    (tmp_path / "iptables").write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/log\n')
    (tmp_path / "ip6tables").write_text(
        "#!/bin/sh\necho 'Address family not supported' >&2\nexit 3\n"
    )
    for name in ("iptables", "ip6tables"):
        (tmp_path / name).chmod(0o755)
    (tmp_path / "grep").symlink_to(str(shutil.which("grep")))
    there = tmp_path / "if_inet6"
    if kernel == "with IPv6":
        there.touch()
    lines = _told(tmp_path, CLOSED.ask(), _command(Close(), "open"))
    for file in tmp_path.glob("*.script"):
        file.write_text(file.read_text().replace("/proc/net/if_inet6", str(there)))
    looked, closed = (
        subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
        for line in lines
    )
    if kernel == "with IPv6":
        assert CLOSED.parse(said(looked.stdout)) == "no filter"
    else:
        assert CLOSED.parse(said(looked.stdout)) == "open"
        assert closed.stdout == ""
        assert "--dport 6443 -j REJECT" in (tmp_path / "log").read_text()


def test_a_host_without_a_filter_is_told_and_goes_on() -> None:
    """In the worst hour that is no reason to stop."""
    bare = host("no filter")
    Close().run(bare)
    Open().run(bare)
    assert bare.changes == []
    (note,) = bare.notes
    assert "neither nft nor iptables that works" in note


def test_undo_turns_back_what_was_done_and_nothing_else() -> None:
    """Nobody's port is opened that somebody else had closed."""
    for step, did, wanted in (
        (Close(), "close", ["open"]),
        (Close(), "", []),
        (Open(), "open", ["close-again"]),
        (Open(), "", []),
    ):
        asked = host("open")
        changes = (DoneChange(did, "cp1", {}),) if did else ()
        step.undo(asked, Done(changes, {}))
        assert asked.change_names == wanted


def test_what_a_filter_says_is_one_of_three() -> None:
    """Anything else is an error: a port that is not known to be closed is not."""
    assert CLOSED.parse(said("closed\n")) == "closed"
    assert CLOSED.parse(said("no filter\n")) == "no filter"
    with pytest.raises(StepFailed, match="does not tell"):
        CLOSED.parse(said("", code=1, err="no"))


# -- real filters, in a network of their own ---------------------------------------------------

KNOCK = """
ip link set lo up; ip link add out type veth peer name in; ip netns add far.$$
ip link set in netns far.$$; ip addr add 10.9.8.1/24 dev out; ip link set out up
ip netns exec far.$$ sh -c 'ip addr add 10.9.8.2/24 dev in; ip link set in up; ip link set lo up'
python3 -m http.server 6443 >/dev/null 2>&1 & server=$!
knock() { timeout 5 "$@" bash -c '</dev/tcp/10.9.8.1/6443' 2>/dev/null && echo in || echo out; }
for i in $(seq 100); do [ "$(knock)" = in ] && break; done
"""


FILTERS = {"nft": ("nft",), "iptables": ("iptables", "ip6tables")}


@pytest.mark.parametrize("tool", FILTERS)
def test_a_real_filter_keeps_out_all_but_the_host(tool: str, tmp_path: Path) -> None:
    """Closed twice is closed; opened twice is open; the host itself gets in all the while."""
    if os.geteuid() != 0:
        pytest.skip("a network of one's own needs root")
    path = _only(tool, tmp_path)
    look, close, opened = CLOSED.ask(), _command(Close(), "open"), _command(Open(), "closed")
    script = "\n".join(
        [
            KNOCK,
            *_told(path, look, opened, close, close, look),
            'knock; knock ip netns exec "far.$$"',
            *_told(path, opened, opened, look),
            'knock ip netns exec "far.$$"; kill $server; ip netns del "far.$$"',
        ]
    )
    own = ["unshare", "--net", "--mount", "bash", "-c", script]
    done = subprocess.run(own, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.split() == ["open", "closed", "in", "out", "open", "in"], done.stderr


def test_a_filter_that_its_kernel_refuses_is_none(tmp_path: Path) -> None:
    """A program whose rules no kernel takes closes nothing: that is known before the outage, not in it."""
    for name in ("nft", "iptables"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'Protocol not supported' >&2\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    (line,) = _told(tmp_path, CLOSED.ask())
    done = subprocess.run(line, shell=True, capture_output=True, text=True, check=True)
    assert CLOSED.parse(said(done.stdout)) == "no filter"


def _command(step: HostStep, before: str) -> Command:
    asked = host(before)
    step.run(asked)
    return asked.changes[0].command


def _told(path: Path, *commands: Command) -> list[str]:
    """Each as a host's shell runs it, where the only programs are those of one filter."""
    found = []
    for command in commands:
        file = path / f"{len(list(path.iterdir()))}.script"
        text, count = re.subn("(?m)^PATH=.*$", f"PATH={path}", command.script().decode())
        assert count == 1
        file.write_text(text)
        found.append(f"sh {file} || echo failed")
    return found


def _only(tool: str, folder: Path) -> Path:
    """A folder with one filter's programs and grep."""
    for program in (*FILTERS[tool], "grep"):
        found = shutil.which(program, path="/usr/sbin:/sbin:/usr/bin:/bin")
        if found is None:
            pytest.skip(f"{program} is not installed: make programs")
        (folder / program).symlink_to(found)
    return folder
