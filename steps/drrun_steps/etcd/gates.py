"""The steps that prove: everything is down; the restored cluster agrees with itself.

Rule 1: they only read. What they cannot prove is a failure, never a warning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from drrun.spi import (
    Demand,
    Duty,
    Effect,
    Flag,
    Group,
    GroupStep,
    Host,
    HostStep,
    Outputs,
    Repeat,
    Rule,
    satisfies,
    sh,
    step_done,
)
from drrun_steps.etcd.access import CLIENT, environment, overrides
from drrun_steps.etcd.live import EtcdDisagreement, EtcdStatus
from drrun_steps.etcd.order import while_running
from drrun_steps.fields import Listed, Numbers
from drrun_steps.host import NOTHING, HostBusy
from drrun_steps.service.facts import ServiceHeld, ServiceState


class ProveDown(HostStep):
    """Prove that etcd is down on this host: no process, no listener, and its unit held.

    A unit that is stopped says nothing of an etcd that somebody started by hand, or of one that
    a reboot brings back (hazard H4).
    """

    uses = "etcd.prove_down"
    effect = Effect.READ
    repeat = Repeat.SAFE

    service: str = "etcd"
    """etcd's unit."""
    program: str = "etcd"
    """The program's file name."""
    ports: Numbers = (2379, 2380)
    """Ports that nobody may listen on."""
    held: Flag = True
    """Whether the unit must be held stopped as well."""
    within: str = "30s"
    """How long to wait for it."""

    def rules(self) -> Sequence[Demand]:
        """After the stop that holds it, where it must be held: before, it proves nothing."""
        because = "what is proved to be down before it is stopped was down by luck"
        state = ServiceState(self.service).ref
        return [Rule(state, "", "stopped", because, live=False)] if self.held else []

    def run(self, host: Host) -> None:
        """Three reads."""
        because = "a data directory must not be replaced under a running etcd"
        host.require(ServiceState(self.service), "stopped", because=because, within=self.within)
        if self.held:
            host.require(
                ServiceHeld(self.service),
                True,
                because="a reboot or a colleague would start etcd in the middle of the restore",
                hint="stop it with service.stop, which holds it",
            )
        host.require(
            HostBusy((self.program,), self.ports),
            NOTHING,
            because=because,
            hint="stop what is named (systemctl status PID shows whose it is), then resume",
            within=self.within,
        )


class Consistent(GroupStep):
    """Prove that all members are one cluster with the same data. Health alone does not.

    One cluster id, every member of the role started, no learner, equal revisions, equal hash of
    all keys at one revision, a leader, a quorum that answers, no alarm.
    """

    uses = "etcd.consistent"
    effect = Effect.READ
    repeat = Repeat.SAFE
    outputs = ("cluster_id", "revision")

    endpoints: Listed = ()
    """Client URLs of all members, from etcd.restore.measure; else each host's address, port 2379."""
    cluster_id: str = ""
    """The id that the cluster must have, from etcd.restore.measure."""
    alarms: Listed = ()
    """Alarms that are borne with here, as NOSPACE before it is disarmed."""
    writers: Flag = False
    """Whether clients write meanwhile: then revisions may differ, hashes at one revision not."""
    within: str = "60s"
    """How long it may take."""
    service: str = "etcd"
    """etcd's unit."""

    def rules(self) -> Sequence[Demand]:
        """Not while this runbook has stopped etcd."""
        return [while_running(self.service, "members that are stopped agree on nothing")]

    def run(self, group: Group) -> Outputs:
        """Ask through every host, since each must reach the others; hash once, as it reads every key."""
        endpoints = self.endpoints or tuple(f"https://{h.address}:2379" for h in group.hosts)
        for host in reversed(group.hosts):
            host.require(
                EtcdDisagreement(
                    **overrides(host, self.service),
                    members=len(group.hosts),
                    cluster=self.cluster_id,
                    alarms=tuple(self.alarms),
                    writers=bool(self.writers),
                    hashed=host is group.hosts[0],
                    endpoints=tuple(endpoints),
                ),
                NOTHING,
                because="members that were restored differently run side by side, all healthy, "
                "and answer differently",
                hint="compare `etcdctl endpoint status` and `etcdctl endpoint hashkv` of the "
                "members; before the API servers start, undo brings the old data back",
                within=self.within,
            )
        said = group.hosts[0].read(EtcdStatus(**overrides(group.hosts[0], self.service)))
        return {"cluster_id": said.cluster, "revision": said.revision}


class Disarm(GroupStep):
    """Disarm an alarm where it is raised: NOSPACE once there is room under the quota, or CORRUPT.

    NOSPACE travels inside a snapshot and blocks every write after a restore (measured). CORRUPT
    stops reads as well; it is disarmed when the member that differs was stopped. Alarms are the
    cluster's, and one command ends them all: refused while the other one is raised too.
    """

    uses = "etcd.alarms.disarm"
    effect = Effect.CHANGE
    repeat = Repeat.SAFE

    alarm: Literal["NOSPACE", "CORRUPT"] = "NOSPACE"
    """Which alarm."""
    share: float = 0.9
    """How full, of the quota, the database may be for the alarm to be disarmed."""
    quota: int = 2 * 1024**3
    """The quota in bytes where the unit does not set one: etcd's default."""
    service: str = "etcd"
    """etcd's unit."""

    def rules(self) -> Sequence[Demand]:
        """Not while this runbook has stopped etcd; and proved afterwards to be gone."""
        because = "an alarm that is raised again was not worth disarming"
        gone = Duty(step_done("etcd.consistent"), "", value=True, because=because, some=True)
        return [while_running(self.service, "an etcd that is stopped disarms nothing"), gone]

    def run(self, group: Group) -> None:
        """One conditional change on the first host: alarms are the cluster's."""
        from drrun_steps.etcd.ruling import config_fact

        host = group.hosts[0]
        config = host.read(config_fact(host, self.service))
        room = int((config.quota or self.quota) * self.share)
        fact = EtcdStatus(**overrides(host, self.service))
        gone = satisfies(f"without {self.alarm}", lambda said: self.alarm not in said.alarms)
        room_or_not = f", yet below {room} bytes" if self.alarm == "NOSPACE" else ""
        host.change(
            "disarm",
            sh(
                f"# disarm the alarms of the cluster\n{CLIENT}own alarm disarm",
                **environment(host, self.service),
            ),
            sets={fact: gone},
            touches=(f"@{self.service}",),
            only_if=(
                fact,
                satisfies(
                    f"raised: {self.alarm} alone{room_or_not}",
                    lambda said: (
                        said.alarms == (self.alarm,)
                        and (self.alarm == "CORRUPT" or said.size <= room)
                    ),
                ),
            ),
            repeat=Repeat.SAFE,
            within="10s",
        )
        host.require(
            fact,
            gone,
            because="etcd refuses every write while NOSPACE is raised, and reads while CORRUPT is",
            hint="NOSPACE: raise --quota-backend-bytes on all members, restart them one by one, and "
            "disarm; CORRUPT: see etcd-corrupt-member",
        )
