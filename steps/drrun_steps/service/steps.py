"""Stop and hold, start, restart, assert: the steps that act on services.

Rule 1: a stop is held before it is made. What only stops comes back: by a reboot, by
configuration management, by a colleague (hazard H4).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from drrun.spi import (
    CHANGED,
    Command,
    Done,
    Duration,
    Effect,
    Fact,
    Flag,
    Host,
    HostStep,
    Question,
    Refused,
    Repeat,
    Where,
    sh,
)
from drrun_steps.service import kubelet, own, pods
from drrun_steps.service.certificates import STALE, ServiceStale
from drrun_steps.service.dead_end import ServiceDeadEnd
from drrun_steps.service.facts import (
    ServiceHeld,
    ServiceInstance,
    ServiceReady,
    ServiceState,
    ServiceSteady,
)
from drrun_steps.service.questions import WAIT_FOR_OTHERS, readiness
from drrun_steps.service.units import hold_file, unit

_HOLD = pods.script(
    "hold it: a drop-in makes every start of a unit fail, a pod's manifest is moved out",
    own.HOLD,
    kubelet.HOLD,
    """
set -eu
umask 022
mkdir -p -- "${FILE%/*}"
{
  echo "# Held stopped by drrun, run $RUN. service.start lifts this."
  echo "# By hand: remove this file, then systemctl daemon-reload."
  echo "[Unit]"
  echo "AssertPathExists=!$FILE"
} >"$FILE.new"
sync "$FILE.new"
mv -f -- "$FILE.new" "$FILE"
sync "${FILE%/*}"
systemctl daemon-reload
""",
)

_LIFT = pods.script(
    "lift the hold: remove the unit's drop-in, put the pod's manifest back",
    own.LIFT,
    kubelet.LIFT,
    """
set -eu
rm -f -- "$FILE"
rmdir -- "${FILE%/*}" 2>/dev/null || true
systemctl daemon-reload
""",
)


_STOP = pods.script(
    "stop the unit, or wait for the pod's container to go; kill it when its grace is over",
    own.STOP,
    kubelet.STOP,
    """
systemctl stop --no-block "$UNIT"
left=$((GRACE * 10))
while [ "$left" -gt 0 ]; do
  case $(systemctl show --property=ActiveState "$UNIT" | sed 's/^ActiveState=//') in
    inactive|failed) exit 0 ;;
  esac
  left=$((left - 1))
  sleep 0.1 2>/dev/null || { sleep 1; left=$((left - 9)); }
done
echo "$UNIT did not stop by itself within $GRACE s: killed" >&2
systemctl kill --signal=KILL "$UNIT"
exec systemctl stop "$UNIT"
""",
)

_START = pods.script(
    "start the unit; restart kubelet unless it starts the pod's container at once",
    own.START,
    kubelet.START,
    """
systemctl reset-failed "$UNIT"
exec systemctl start --no-block "$UNIT"
""",
)

_RESTART = pods.script(
    "restart the unit, or end the pod's container so that kubelet starts another",
    own.RESTART,
    kubelet.RESTART,
    'exec systemctl restart --no-block "$UNIT"',
)


_WITHIN_K3S = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet")


class _OneService(HostStep):
    """What all steps on one service share."""

    service: str
    """The unit, or the static pod of that name; with `.service` always the unit."""
    optional: Flag = False
    """Whether a host without this unit is passed over."""

    def _absent(self, host: Host) -> bool:
        """Whether there is nothing to do here. Raises Refused when there should be."""
        if host.layout == "k3s" and self.service in _WITHIN_K3S:
            raise Refused(
                f"{host.name}: k3s runs etcd and the control plane in one process: none of them can "
                "be stopped by itself",
                hint="see docs/how-to/other-supervisors.md; for hosts that are no k3s, set "
                "`layout: systemd`, `static-pod` or `commands`",
            )
        if host.read(ServiceState(self.service)) != "missing":
            return False
        if not self.optional:
            raise Refused(
                f"{host.name} has no unit {unit(self.service)}, no manifest of a static pod, and no "
                f"{own.FOLDER}/{self.service}",
                hint="name the right service, or set `optional: true` where some hosts lack it",
            )
        host.note(f"{host.name} has no {unit(self.service)}: passed over")
        return True

    def _hold(self) -> Command:
        return hold(self.service, "drrun")

    def _lift(self) -> Command:
        return lift(self.service)


class Stop(_OneService):
    """Stop a service and hold it stopped.

    First a drop-in makes every later start fail loudly, after a reboot too; then the unit is
    stopped. `systemctl mask` would fail for units that live in /etc/systemd/system. A static pod's
    manifest is moved to /var/lib/drrun/stopped instead, and its container proved gone. Undo lifts
    the hold, and starts the service again if this step stopped it.
    """

    uses = "service.stop"
    effect = Effect.CHANGE
    repeat = Repeat.SAFE

    hold: Flag = True
    """Whether a start is prevented until `service.start` lifts it."""
    grace: Duration = 60.0
    """How long it may take to stop by itself before it is killed. etcd needs 7 s when a leader
    hands over; an API server waits up to 60 s for clients that watch, and loses nothing when killed."""

    def transitions(self) -> Mapping[Fact[Any], Any]:
        """Stopped."""
        return {ServiceState(self.service): "stopped"}

    def run(self, host: Host) -> None:
        """Hold, then stop; a service that is stopped already is still held."""
        if self._absent(host):
            return
        state, held = host.read(ServiceState(self.service), ServiceHeld(self.service))
        if self.hold and not held:
            command = hold(self.service, host.run)
            host.change("hold", command, sets={ServiceHeld(self.service): True}, repeat=Repeat.SAFE)
        if state == "running":
            stop_unit(host, self.service, self.grace)

    def undo(self, host: Host, done: Done) -> None:
        """Lift the hold that this step made; start what this step stopped."""
        if done.did("hold", host.name):
            host.change("lift", self._lift(), sets={ServiceHeld(self.service): False})
        # A stop is sent only to what runs. Its before-fact does not tell: it is read after the hold,
        # when kubelet may have ended a pod whose manifest is away.
        if done.did("stop", host.name):
            start_again(host, self.service, "start", "100s")


class Start(_OneService):
    """Lift the hold, start a service, and wait until it says that it is up, or fails for good.

    `systemctl start` is not waited for: etcd is ready only when a quorum is, so the members must
    come up together. A static pod's manifest is put back, and kubelet restarted unless it acts at
    once: it remembers a crash loop for minutes. Undo stops the service again, and holds it if it was held.
    """

    uses = "service.start"
    effect = Effect.CHANGE
    repeat = Repeat.SAFE

    within: str = "100s"
    """How long it may take until the service is up."""

    def transitions(self) -> Mapping[Fact[Any], Any]:
        """Running."""
        return {ServiceState(self.service): "running"}

    def questions(self, at: Where) -> Sequence[Question]:
        """Its readiness, where it works now."""
        return readiness(self.service, at)

    def run(self, host: Host) -> None:
        """Lift, then start unless it runs; it must become ready either way."""
        if self._absent(host):
            return
        state, held = host.read(ServiceState(self.service), ServiceHeld(self.service))
        if held:
            fact = ServiceHeld(self.service)
            host.change("lift", self._lift(), sets={fact: False}, repeat=Repeat.SAFE)
        if state == "stopped":
            start_unit(host, self.service, "start", self.within)
        else:
            host.require(
                ServiceReady(self.service),
                True,
                because=f"{self.service} was started before and must be up",
                hint=f"see `journalctl -u {unit(self.service)}` on {host.name}",
                within=self.within,
                hopeless=ServiceDeadEnd(self.service),
            )

    def undo(self, host: Host, done: Done) -> None:
        """Hold again what was held; stop what this step started."""
        if done.did("lift", host.name):
            host.change("hold", self._hold(), sets={ServiceHeld(self.service): True})
        if done.did("start", host.name):
            stop_unit(host, self.service, 60.0)


class Restart(_OneService):
    """Restart a service; done when it is up and is another instance than before.

    A restart that failed leaves the same instance, or one that is not ready: both are failures.
    """

    uses = "service.restart"
    effect = Effect.CHANGE
    repeat = Repeat.CHECK

    within: str = "100s"
    """How long it may take until the service is up again."""
    stale: Flag = False
    """Whether it is restarted only where it works with other certificates than its files hold."""

    def transitions(self) -> Mapping[Fact[Any], Any]:
        """Running."""
        return {ServiceState(self.service): "running"}

    def questions(self, at: Where) -> Sequence[Question]:
        """Its readiness, where it works now."""
        return readiness(self.service, at)

    def passes(self) -> Mapping[Fact[Any], Any]:
        """Stopped, for a moment."""
        return {ServiceState(self.service): "stopped"}

    def run(self, host: Host) -> None:
        """One change, proved by the instance's id."""
        if self._absent(host):
            return
        host.change(
            "restart",
            restart(self.service),
            sets={
                ServiceInstance(self.service): CHANGED,
                ServiceState(self.service): "running",
                ServiceReady(self.service): True,
            },
            touches=(f"@{self.service}",),
            only_if=(ServiceStale(self.service), STALE) if self.stale else None,
            within=self.within,
            hopeless=ServiceDeadEnd(self.service),
        )


class State(_OneService):
    """Assert that a service is running or stopped, waiting for it if asked."""

    uses = "service.state"
    effect = Effect.READ
    repeat = Repeat.SAFE

    state: Literal["running", "stopped"] = "running"
    """The state it must be in."""
    because: str = "the runbook goes on from here only in that state"
    """The reason that an operator is shown."""
    within: str = ""
    """How long to wait for it."""

    def run(self, host: Host) -> None:
        """One read."""
        if not self._absent(host):
            fact = ServiceState(self.service)
            host.require(fact, self.state, because=self.because, within=self.within)


def lift(service: str) -> Command:
    """The command that ends a hold."""
    return sh(_LIFT, **pods.named(service), FILE=hold_file(service))


def restart(service: str) -> Command:
    """The command that ends one life of a service and begins another. Not waited for."""
    return sh(_RESTART, **pods.named(service))


def hold(service: str, run: str) -> Command:
    """The command that keeps a service from being started; it does not stop it."""
    return sh(_HOLD, **pods.named(service), FILE=hold_file(service), RUN=run)


def start_unit(host: Host, service: str, name: str, within: str) -> None:
    """Start a unit; done when it says that it is up. Not waited for: etcd needs its peers."""
    host.change(
        name,
        sh(_START, **pods.named(service)),
        sets={ServiceState(service): "running", ServiceReady(service): True},
        touches=(f"@{service}",),
        repeat=Repeat.SAFE,
        within=within,
        hopeless=ServiceDeadEnd(service),
    )


def start_again(host: Host, service: str, name: str, within: str) -> None:
    """Start what an undo brings back: it runs when this is done, and is expected to become ready.

    An undo needs nothing of what failed: a readiness that cannot be asked, or that waits for others that the
    undo brings back later, keeps nobody away. It is asked again when all is undone.
    """
    host.change(
        name,
        sh(_START, **pods.named(service)),
        sets={ServiceState(service): "running"},
        touches=(f"@{service}",),
        repeat=Repeat.SAFE,
        within=within,
        hopeless=ServiceDeadEnd(service),
    )
    expect_ready(host, service, within)


def expect_ready(host: Host, service: str, within: str) -> None:
    """Expect what an undo started to be up, as it was; who waits for others is asked when they are back."""
    host.expect(
        ServiceSteady(service),
        must=True,
        because=f"{service} was running before",
        hint=f"see `journalctl -u {unit(service)}` on {host.name}, or the container's log",
        within="" if service in WAIT_FOR_OTHERS else within,
    )


def stop_unit(
    host: Host, service: str, grace: float, name: str = "stop", touches: Sequence[str] = ()
) -> None:
    """Stop a service, killed when its grace (seconds) is over; done when nothing of it runs."""
    host.change(
        name,
        sh(_STOP, **pods.named(service), GRACE=math.ceil(grace)),
        sets={ServiceState(service): "stopped"},
        touches=(f"@{service}", *touches),
        repeat=Repeat.SAFE,
        timeout=f"{math.ceil(grace) + 30}s",
        within="60s",  # a loaded host's container runtime was seen to take longer than 20 s
    )
