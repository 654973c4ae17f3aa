"""The step that writes who the members are into their own settings, for whoever rebuilds one later."""

from __future__ import annotations

from drrun.spi import Done, Effect, Host, HostStep, Repeat
from drrun_steps.etcd.config import cluster_flag
from drrun_steps.etcd.program import EtcdProgram
from drrun_steps.service.facts import ServiceState
from drrun_steps.service.flags import put_back, set_flag


class Tell(HostStep):
    """Write the members as they are into this host's settings of etcd.

    A member that runs does not read them; whoever restores or rebuilds it later does. The manifest of a
    static pod that runs is left as it is: kubelet would restart the member, every one at once, for a flag
    that is read only while there is no data, and kubeadm itself leaves it different on each host.
    """

    uses = "etcd.member.tell"
    effect = Effect.CHANGE
    repeat = Repeat.SAFE

    initial_cluster: str
    """The members, `name=peer URL`, from etcd.member.join."""
    service: str = "etcd"
    """etcd's unit."""

    def run(self, host: Host) -> None:
        """One flag, where the unit's files say it."""
        fact = cluster_flag(self.service)
        told = host.read(fact)
        if len(told) == 1 and set(told[0].split(",")) == set(self.initial_cluster.split(",")):
            return
        program, state = host.read(EtcdProgram(self.service), ServiceState(self.service))
        if (program.by, state) == ("pod", "running"):
            host.note(
                f"{host.name}: kubelet would restart etcd for a new manifest: it is left as it is"
            )
            return
        host.change(
            "set",
            set_flag(fact, self.initial_cluster, host.run),
            sets={fact: (self.initial_cluster,)},
            touches=(f"unit:{self.service}",),
            repeat=Repeat.SAFE,
        )

    def undo(self, host: Host, done: Done) -> None:
        """Put the file back."""
        fact = cluster_flag(self.service)
        if done.did("set", host.name):
            before = done.before(fact)
            host.change("put-back", put_back(fact, host.run), sets={fact: before})
