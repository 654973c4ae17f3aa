"""Starting services on a real systemd: what fails for good ends the wait, what is tried again not."""

from __future__ import annotations

from pathlib import Path

import pytest

from drrun_lab import Lab
from drrun_lab.operator import Operator

pytestmark = pytest.mark.lab

RUNBOOK = """\
drrun: 1
name: start-it
title: Start one unit
roles: {etcd: {min: 1}}
steps:
  - {id: start, hosts: "etcd[0]", uses: service.start, with: {service: drrun-test, within: 60s}}
"""

UNIT = """[Unit]
StartLimitIntervalSec=300
StartLimitBurst=%(burst)s
[Service]
Type=notify
NotifyAccess=all
Restart=%(restart)s
RestartSec=300ms
ExecStart=/bin/sh -c '%(script)s'
"""

FAILS = "echo the disk is gone; exit 7"
# Every word of it counts its tries; the fourth comes up.
FOURTH = (
    "echo try >>/run/drrun-test; [ $$(grep -c try /run/drrun-test) -ge 4 ] || exit 1; "
    "systemd-notify --ready; exec sleep 600"
)


def put(lab: Lab, script: str, restart: str, burst: int = 100) -> None:
    """Write the unit on cp1, stopped and never tried."""
    text = UNIT % {"script": script, "restart": restart, "burst": burst}
    made = lab.ssh(
        "cp1",
        "systemctl stop drrun-test 2>/dev/null; rm -f /run/drrun-test\n"
        f"cat >/run/systemd/system/drrun-test.service <<'END'\n{text}END\n"
        "systemctl daemon-reload; systemctl reset-failed drrun-test 2>/dev/null; true",
    )
    assert made.returncode == 0, made.stderr


def start(operator: Operator, folder: Path) -> tuple[int, str, float]:
    """Run the runbook: exit code, all it said, and how many seconds its step took."""
    runbook = folder / "start.yaml"
    runbook.write_text(RUNBOOK)
    done = operator.drrun(str(runbook), "--no-input")
    ended = [e.body for e in operator.journal(operator.newest()) if e.type == "unit.finished"]
    return done.returncode, done.stdout + done.stderr, float(ended[-1]["seconds"])


def test_a_unit_that_fails_at_once_ends_the_wait(
    booted: Lab, operator: Operator, tmp_path: Path
) -> None:
    """Restart=no: seconds, not the sixty that it might have taken; its last words are told."""
    put(booted, FAILS, "no")
    code, said, took = start(operator, tmp_path)
    assert code == 1, said
    assert "exit-code, exit 7" in said
    assert "the disk is gone" in said
    assert took < 20


def test_a_unit_that_hits_its_start_limit_ends_the_wait(
    booted: Lab, operator: Operator, tmp_path: Path
) -> None:
    """Restart=always is tried again until systemd gives up: then it is over, and not before."""
    put(booted, FAILS, "always", burst=3)
    code, said, took = start(operator, tmp_path)
    assert code == 1, said
    assert "start-limit-hit" in said or "exit 7" in said
    assert "is not tried again" in said
    assert took < 20
    tries = booted.ssh("cp1", "journalctl -q -o cat -u drrun-test | grep -c 'disk is gone'").stdout
    assert int(tries) >= 3


def test_a_unit_that_comes_up_at_its_fourth_try_is_waited_for(
    booted: Lab, operator: Operator, tmp_path: Path
) -> None:
    """Three failures with Restart=always are no end."""
    put(booted, FOURTH, "always")
    code, said, _ = start(operator, tmp_path)
    assert code == 0, said
    assert booted.ssh("cp1", "grep -c try /run/drrun-test").stdout.strip() == "4"
    booted.ssh("cp1", "systemctl stop drrun-test")


def test_a_start_that_an_assertion_forbids_is_told_at_once(
    booted: Lab, operator: Operator, tmp_path: Path
) -> None:
    """Somebody else's assertion: the unit stays inactive, and the wait ends."""
    put(booted, FOURTH, "always")
    booted.ssh(
        "cp1",
        "mkdir -p /run/systemd/system/drrun-test.service.d; "
        "printf '[Unit]\\nAssertPathExists=/nowhere\\n' "
        ">/run/systemd/system/drrun-test.service.d/a.conf; systemctl daemon-reload",
    )
    try:
        code, said, took = start(operator, tmp_path)
    finally:
        booted.ssh("cp1", "rm -r /run/systemd/system/drrun-test.service.d; systemctl daemon-reload")
    assert code == 1, said
    assert "an assertion forbids the start" in said
    assert took < 20
