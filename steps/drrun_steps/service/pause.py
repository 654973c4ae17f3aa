"""Pause whoever else writes into a cluster, or starts its services; and let them go on.

Configuration management starts again what was stopped, an autoscaler removes machines that a restored
state does not know, a GitOps agent writes before anybody has proved anything (hazard H9, pitfall 43). Only a
person knows who they are: they are asked for by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from drrun.spi import (
    Done,
    Duration,
    Effect,
    Group,
    GroupStep,
    Host,
    Outputs,
    Refused,
    Repeat,
)
from drrun_steps.apart import Apart
from drrun_steps.fields import OUTSIDERS, Listed
from drrun_steps.service.facts import ServiceHeld, ServiceState
from drrun_steps.service.steps import hold, lift, start_again, start_unit, stop_unit
from drrun_steps.service.units import unit

NONE = "none"
"""The word that says that there are none."""


class Pause(GroupStep):
    """Stop services by name and hold them stopped, wherever they are found among the hosts.

    Without a name it says that nobody was named, and goes on; `none` is an answer. A name that no host has
    is refused: a slip of the pen would pause nobody. Undo lets everybody go on.
    """

    uses = "service.pause"
    effect = Effect.CHANGE
    repeat = Repeat.SAFE
    outputs = ("paused",)

    services: Listed = ()
    """Units, as `puppet` or `backup.timer`, or `none`; empty when nobody said."""
    workloads: Listed = ()
    """Writers that run as pods and that kube.workloads.pause pauses: where some are named, somebody has said."""
    grace: Duration = 30.0
    """How long one may take to stop by itself before it is killed."""

    def run(self, group: Group) -> Outputs:
        """Who is there, on all hosts; then each is held before it is stopped, and proved stopped."""
        if not self.services or self.services == (NONE,):
            group.note(self._answer())
            return {"paused": {}}
        seen = {name: group.read(ServiceState(name)) for name in self.services}
        if lost := [name for name in seen if set(seen[name].values()) <= {"missing"}]:
            raise Refused(
                f"none of {', '.join(h.name for h in group.hosts)} has {', '.join(map(unit, lost))}",
                hint="name the unit as `systemctl list-units` shows it; a host that runs it and is not "
                "among these belongs to the role writers",
            )
        paused = {
            host.name: [
                name
                for name in self.services
                if seen[name][host.name] != "missing" and self._pause(host, name)
            ]
            for host in group.hosts
        }
        return {"paused": {host: names for host, names in paused.items() if names}}

    def _answer(self) -> str:
        """What was said of units, where none is named."""
        if self.workloads and self.workloads != (NONE,):
            return "no units are paused; those that were named run as pods"
        return "no other writers, as said" if self.services else _UNSAID

    def _pause(self, host: Host, name: str) -> bool:
        """Hold and stop what runs; whether it is to go on afterwards.

        One that is held was paused before, by an attempt that was cut. One that is stopped and not held
        ran for nobody: were it held, nobody could tell later that it must not be started.
        """
        state, held = host.read(ServiceState(name), ServiceHeld(name))
        if state == "stopped" and not held:
            host.note(
                f"{host.name}: {unit(name)} does not run; what starts it (a timer?) is not held"
            )
            return False
        if not held:
            _hold(host, name)
        if state == "running":
            stop_unit(host, name, self.grace, f"stop-{name}", (OUTSIDERS,))
        return True

    def undo(self, group: Group, done: Done) -> None:
        """Lift what was held, start what was stopped; one that does not come back keeps no other away."""
        apart = Apart()
        for host in group.hosts:
            for name in self.services:
                if done.did(f"hold-{name}", host.name):
                    with apart.each():
                        _lift(host, name)
                if done.did(f"stop-{name}", host.name):
                    with apart.each():
                        start_again(host, name, f"start-{name}", "60s")
        apart.told()


class Resume(GroupStep):
    """Let go on what service.pause paused: its hold is lifted, and what ran before is started."""

    uses = "service.resume"
    effect = Effect.CHANGE
    repeat = Repeat.SAFE

    paused: Mapping[str, Sequence[str]]
    """Host -> services, from service.pause."""
    within: str = "60s"
    """How long one may take until it is up."""

    def run(self, group: Group) -> None:
        """Each where it was paused."""
        for host, name in self._each(group):
            if host.read(ServiceHeld(name)):
                _lift(host, name)
            if host.read(ServiceState(name)) == "stopped":
                start_unit(host, name, f"start-{name}", self.within)

    def undo(self, group: Group, done: Done) -> None:
        """Hold and stop again; one that does not stop keeps no other running."""
        apart = Apart()
        for host, name in self._each(group):
            if done.did(f"lift-{name}", host.name):
                with apart.each():
                    host.change(
                        f"hold-{name}", hold(name, host.run), sets={ServiceHeld(name): True}
                    )
            if done.did(f"start-{name}", host.name):
                with apart.each():
                    stop_unit(host, name, 30.0, f"stop-{name}")
        apart.told()

    def _each(self, group: Group) -> Iterator[tuple[Host, str]]:
        for host in group.hosts:
            yield from ((host, name) for name in self.paused.get(host.name, ()))


def _hold(host: Host, name: str) -> None:
    command = hold(name, host.run)
    host.change(f"hold-{name}", command, sets={ServiceHeld(name): True}, repeat=Repeat.SAFE)


def _lift(host: Host, name: str) -> None:
    host.change(f"lift-{name}", lift(name), sets={ServiceHeld(name): False}, repeat=Repeat.SAFE)


_UNSAID = (
    "nobody said who else writes into this cluster or starts its services (GitOps, autoscalers, "
    "configuration management): none is paused; name their units with -e writers=UNIT,UNIT, those that run "
    "as pods with -e workloads=NAMESPACE/KIND/NAME, or say -e writers=none"
)
