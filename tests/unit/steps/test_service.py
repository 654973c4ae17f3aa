"""Services: what systemd's answers mean, and what stop, start and their undo change."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from tests.unit.steps.recorded_answers import recorded, said

from drrun.spi import Done, DoneChange, Refused, Reply, StepFailed
from drrun.testing import FakeHost
from drrun_steps.service.dead_end import ServiceDeadEnd
from drrun_steps.service.facts import (
    ServiceHeld,
    ServiceInstance,
    ServiceReady,
    ServiceState,
    ServiceSteady,
)
from drrun_steps.service.steps import Restart, Start, Stop

STATE, HELD, READY = ServiceState("etcd"), ServiceHeld("etcd"), ServiceReady("etcd")
STEADY = ServiceSteady("etcd")


def test_a_running_service_is_running_and_ready() -> None:
    """As systemd 252 printed it on a lab host."""
    assert STATE.parse(recorded("service-running")) == "running"
    assert READY.parse(recorded("service-running")) is True
    instance = ServiceInstance("etcd").parse(recorded("service-running"))
    assert instance == "ca6bfc9341824160af3bbdc11fec925d"


SYSTEMCTL = """#!/bin/sh
case $* in
*Type*) echo Type={kind} ;;
*) n=$(cat {folder}/asked 2>/dev/null || echo 0); echo $((n + 1)) >{folder}/asked
   echo LoadState=loaded; echo ActiveState={state}; echo "MainPID=$((100 + {dies} * n))" ;;
esac
"""


@pytest.mark.parametrize(
    ("unit", "found"),
    [
        (("simple", "active", 0), "up"),
        (("simple", "active", 1), "not up"),
        (("notify", "active", 1), "up"),
        (("simple", "activating", 0), "not up"),
        (("notify", "activating", 0), "not up"),
    ],
)
def test_who_dies_at_once_and_is_started_again_is_not_up(
    unit: tuple[str, str, int], found: str, shell: tuple[str, ...], tmp_path: Path
) -> None:
    """A unit of Type=simple is active between two deaths; one of Type=notify said it itself."""
    kind, state, dies = unit
    filled = SYSTEMCTL.format(kind=kind, state=state, dies=dies, folder=tmp_path)
    for name, text in (("systemctl", filled), ("sleep", "#!/bin/sh\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    asked = STEADY.ask().script()
    done = subprocess.run(shell, input=asked, capture_output=True, env=path, check=False)
    assert STEADY.parse(Reply(done.returncode, done.stdout, done.stderr)) is (found == "up")


def test_a_unit_that_is_not_there_is_missing() -> None:
    """Missing is an answer, not an error."""
    assert STATE.parse(recorded("service-missing")) == "missing"


@pytest.mark.parametrize(
    ("active", "extra", "state"),
    [
        ("inactive", "", "stopped"),
        ("failed", "", "stopped"),
        ("failed", "process=4711\n", "running"),
        ("inactive", "MainPID=12\n", "running"),
        ("activating", "SubState=auto-restart\n", "running"),
        ("deactivating", "", "running"),
    ],
)
def test_stopped_means_that_nothing_runs(active: str, extra: str, state: str) -> None:
    """A restart loop between two tries, or a process left over, is not stopped."""
    text = f"LoadState=loaded\nActiveState={active}\n{extra}"
    assert STATE.parse(said(text)) == state


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        ("ActiveState=active\nSubState=running", ""),
        ("ActiveState=activating\nSubState=auto-restart\nResult=exit-code", ""),
        ("ActiveState=activating\nSubState=start", ""),
        ("ActiveState=failed\nSubState=failed-before-auto-restart\nResult=exit-code", ""),
        ("ActiveState=failed\nSubState=failed\nJob=4711\nResult=exit-code", ""),
        ("ActiveState=inactive\nSubState=dead\nJob=4711", ""),
        (
            "ActiveState=failed\nSubState=failed\nResult=exit-code\nExecMainStatus=7\nsaid=no disk\nsaid=bye",
            "etcd.service is failed (exit-code, exit 7) and is not tried again; its last words: no disk | bye",
        ),
        (
            "ActiveState=failed\nSubState=failed\nResult=start-limit-hit\nsaid=",
            "etcd.service is failed (start-limit-hit) and is not tried again",
        ),
        (
            "ActiveState=inactive\nSubState=dead\nResult=success\nAssertResult=no",
            "etcd.service is inactive (an assertion forbids the start: is it held?) and is not tried again",
        ),
        (
            "ActiveState=inactive\nSubState=dead\nResult=success\nConditionResult=no",
            "etcd.service is inactive (a condition of the unit is not met) and is not tried again",
        ),
    ],
)
def test_a_dead_end_is_what_systemd_does_not_try_again(seen: str, words: str) -> None:
    """Between two tries, or with a job queued, there is hope; else its last words are the reason."""
    assert ServiceDeadEnd("etcd").parse(said(seen + "\n")) == words


def test_a_start_that_is_hopeless_fails_with_the_last_words() -> None:
    """Not after the whole `within`: the step hands the engine the fact that ends the wait."""
    host = FakeHost("cp1", {STATE: "stopped", HELD: False, ServiceDeadEnd("etcd"): "it is dead"})
    with pytest.raises(StepFailed, match="cp1: it is dead"):
        Start(service="etcd").run(host)


def test_a_host_without_systemd_makes_no_sense() -> None:
    """A failed systemctl must never read as stopped."""
    with pytest.raises(ValueError, match="systemd"):
        STATE.parse(said("", code=3, err="systemctl: not found"))


def test_held_needs_the_file_and_systemd_to_know_it() -> None:
    """A drop-in that systemd has not read holds nothing."""
    path = "/etc/systemd/system/etcd.service.d/00-drrun-hold.conf"
    assert HELD.parse(said(f"file=yes\nDropInPaths={path}\n"))
    assert not HELD.parse(said("file=yes\nDropInPaths=\n"))
    assert not HELD.parse(said(f"DropInPaths={path}\n"))


def test_stop_holds_before_it_stops() -> None:
    """Between the two, a crash leaves a service that cannot come back, not one that can."""
    host = FakeHost("cp1", {STATE: "running", HELD: False})
    Stop(service="etcd").run(host)
    assert host.change_names == ["hold", "stop"]
    assert "@etcd" in host.changes[1].touches


def test_stop_holds_what_is_stopped_already() -> None:
    """A reboot would bring it back otherwise."""
    host = FakeHost("cp1", {STATE: "stopped", HELD: False})
    Stop(service="etcd").run(host)
    assert host.change_names == ["hold"]


def test_stop_changes_nothing_that_is_as_it_should_be() -> None:
    """Idempotent: stopped and held is done."""
    host = FakeHost("cp1", {STATE: "stopped", HELD: True})
    Stop(service="etcd").run(host)
    assert host.changes == []


def test_a_missing_unit_is_refused_unless_optional() -> None:
    """A typo in a unit's name must not pass for a stopped service."""
    host = FakeHost("cp1", {STATE: "missing"})
    with pytest.raises(Refused, match=r"no unit etcd\.service"):
        Stop(service="etcd").run(host)
    Stop(service="etcd", optional=True).run(host)
    assert host.changes == []
    assert "passed over" in host.notes[0]


def test_another_layout_is_refused_with_the_next_move() -> None:
    """What neither systemd nor kubelet runs is stopped by neither."""
    with pytest.raises(Refused, match="k3s"):
        Stop(service="etcd").run(FakeHost("cp1", layout="k3s"))


def test_undo_of_stop_starts_only_what_it_stopped() -> None:
    """A service that was down before stays down; the hold is lifted."""
    held = DoneChange("hold", "cp1", {HELD.key: False})
    stopped = DoneChange("stop", "cp1", {STATE.key: "running"})
    host = FakeHost("cp1", {STEADY: True})
    Stop(service="etcd").undo(host, Done((held, stopped), {}))
    assert host.change_names == ["lift", "start"]
    host = FakeHost("cp1")
    Stop(service="etcd").undo(host, Done((held,), {}))
    assert host.change_names == ["lift"]


def test_undo_starts_a_pod_that_was_gone_when_its_stop_was_sent() -> None:
    """The hold alone ends a static pod: its stop may be journaled with `stopped` as the state before."""
    held = DoneChange("hold", "cp1", {HELD.key: False})
    stopped = DoneChange("stop", "cp1", {STATE.key: "stopped"})
    host = FakeHost("cp1", {STEADY: True})
    Stop(service="etcd").undo(host, Done((held, stopped), {}))
    assert host.change_names == ["lift", "start"]


@pytest.mark.field("1", "v2")
def test_an_undo_goes_on_where_a_service_does_not_say_that_it_is_ready() -> None:
    """It was started; what could not be proved is asked again at the end, and nobody else is kept away by it."""
    stopped = DoneChange("stop", "cp1", {STATE.key: "running"})
    host = FakeHost("cp1", {ServiceSteady("kube-scheduler"): False})
    Stop(service="kube-scheduler").undo(host, Done((stopped,), {}))
    assert host.change_names == ["start"]
    assert host.changes[0].sets == {ServiceState("kube-scheduler"): "running"}
    assert host.unproved == [
        "cp1: service.steady(service=kube-scheduler) is False, must be True: kube-scheduler was running before"
    ]


@pytest.mark.field("1")
def test_an_undo_goes_on_where_a_readiness_cannot_be_asked() -> None:
    """A probe that cannot be made is no reason to leave the rest stopped."""

    def no_url(_host: FakeHost) -> bool:
        raise StepFailed("cp1: service.steady(service=etcd) cannot be read: probe-port is no port")

    stopped = DoneChange("stop", "cp1", {STATE.key: "running"})
    host = FakeHost("cp1", {STEADY: no_url})
    Stop(service="etcd").undo(host, Done((stopped,), {}))
    assert host.change_names == ["start"]
    assert host.unproved == [
        "cp1: service.steady(service=etcd) cannot be read: probe-port is no port"
    ]


def test_start_lifts_the_hold_and_waits_until_it_is_up() -> None:
    """`active` is not enough while it says `activating`: ready is set as well."""
    host = FakeHost("cp1", {STATE: "stopped", HELD: True})
    Start(service="etcd").run(host)
    assert host.change_names == ["lift", "start"]
    assert host.changes[1].sets == {STATE: "running", READY: True}


def test_start_of_a_running_service_only_asks_whether_it_is_up() -> None:
    """Nothing is changed, but a restart loop does not pass."""
    host = FakeHost("cp1", {STATE: "running", HELD: False, READY: True})
    Start(service="etcd").run(host)
    assert host.changes == []
    host.answers[READY] = False
    with pytest.raises(Refused, match="must be up"):
        Start(service="etcd").run(host)


def test_undo_of_start_holds_again_and_stops() -> None:
    """In the reverse order of Rule 1's danger: held first, then stopped."""
    lifted = DoneChange("lift", "cp1", {HELD.key: True})
    started = DoneChange("start", "cp1", {STATE.key: "stopped"})
    host = FakeHost("cp1")
    Start(service="etcd").undo(host, Done((lifted, started), {}))
    assert host.change_names == ["hold", "stop"]


def test_a_restart_is_proved_by_another_instance() -> None:
    """A restart that failed leaves the same instance."""
    host = FakeHost("cp1", {STATE: "running"})
    Restart(service="etcd").run(host)
    assert ServiceInstance("etcd") in host.changes[0].sets


def test_transitions_are_what_rules_are_proved_on() -> None:
    """Stop promises stopped, start promises running."""
    assert Stop(service="etcd").transitions() == {STATE: "stopped"}
    assert Start(service="etcd").transitions() == {STATE: "running"}
