"""Asking systemd to keep jobs apart must cost little when it cannot, and never a request.

That it keeps them is proved on a host that runs it: tests/lab/test_tiers.py.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from drrun.ports import JobState, Tier

from .conftest import Jobs, Lines
from .test_agent import finish

BUSCTLS = {
    "missing": "",
    "refused": "exit 1",
    "hung": "trap '' TERM; exec sleep 60",
    "reads": "cat >/dev/null; exit 1",
    "elsewhere": "echo 'o \"/org/freedesktop/systemd1/job/1\"'",
}
"""What the bus may do, as a program in its place."""


@pytest.fixture(params=BUSCTLS)
def bus(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host that seems to run systemd, with a bus that does not help. It notes how it was asked."""
    folder = tmp_path / "bin"
    folder.mkdir()
    asked = tmp_path / "asked"
    if BUSCTLS[request.param]:
        fake = folder / "busctl"
        fake.write_text(f'#!/bin/sh\necho "$@" >>{asked}\n{BUSCTLS[request.param]}\n')
        fake.chmod(0o755)
    else:
        asked.touch()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("DRRUN_SYSTEMD", str(tmp_path))
    return asked


@pytest.mark.skipif(os.geteuid() != 0, reason="only root asks systemd")
def test_a_bus_that_does_not_help_costs_seconds_and_no_request(
    bus: Path, lines: Lines, shell: tuple[str, ...], jobs: Jobs
) -> None:
    """The host is held, the tier is told as it is, every request that follows is answered."""
    began = time.monotonic()
    line = lines(shell)
    assert line.fence("run-1", 1, "tests") is Tier.SESSION
    assert time.monotonic() - began < 15
    report = finish(line, jobs(b"echo done\n"))
    assert (report.state, report.out) == (JobState.EXITED, b"done\n")
    for told in bus.read_text().splitlines():
        assert "StartTransientUnit" in told
    assert len(bus.read_text().splitlines()) <= 1, "it is asked once a shell"


def test_looking_asks_nobody(bus: Path, lines: Lines, shell: tuple[str, ...], jobs: Jobs) -> None:
    """Polling and asking move nothing: only who is going to change the host is moved."""
    line, job = lines(shell, fenced=False), jobs(b"true\n")
    assert line.ask(b"echo ok", timeout=10).stdout == b"ok\n"
    assert line.poll(job.run, job.token).state is JobState.ABSENT
    assert not bus.exists() or bus.read_text() == ""
