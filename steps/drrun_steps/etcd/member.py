"""Members that leave and join: one at a time, each act proved by the members themselves.

Rule 1: what may be done is decided by membership.py from what the members say at that moment.
Rule 2: a newcomer is a learner first: filling it cannot cost the quorum (etcd; kubeadm 1.29).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from drrun.spi import (
    Demand,
    Done,
    Effect,
    Fact,
    Flag,
    Group,
    GroupStep,
    Host,
    NotKnown,
    Outputs,
    Refused,
    Repeat,
    Whole,
    satisfies,
    sh,
)
from drrun_steps.etcd import turns
from drrun_steps.etcd.access import CLIENT, environment, overrides
from drrun_steps.etcd.config import Config, cluster_flag, state_flag
from drrun_steps.etcd.live import Member
from drrun_steps.etcd.membership import (
    EtcdMembership,
    EtcdSeat,
    Membership,
    against_addition,
    against_removal,
    joined,
)
from drrun_steps.etcd.ruling import config_fact, data_fact
from drrun_steps.fields import Listed
from drrun_steps.service.facts import ServiceHeld, ServiceState
from drrun_steps.service.flags import put_back, set_flag
from drrun_steps.service.steps import lift, start_unit

# Right after a change or a start, etcd wants five seconds of connection before the next change
# (HealthInterval; recovery.md 0.9). It says so, and has changed nothing.
_PATIENTLY = r"""
end=$(($(date +%s) + PATIENCE))
while :; do
  said=$("$@" 2>&1) && { printf '%s\n' "$said"; exit 0; }
  case $said in
    *"unhealthy cluster"* | *"in sync with leader"* | *"too many learner"* | *"not started"*) ;;
    *) printf '%s\n' "$said" >&2; exit 1 ;;
  esac
  [ "$(date +%s)" -lt "$end" ] || { printf '%s\n' "$said" >&2; exit 1; }
  sleep 0.5 2>/dev/null || sleep 1
done
"""
_REMOVE = f'# remove a member\n{CLIENT}set -- own member remove "$MEMBER"\n{_PATIENTLY}'
_ADD = (
    "# add this host as a learner\n"
    f'{CLIENT}set -- own member add "$NAME" --learner --peer-urls="$PEERS"\n{_PATIENTLY}'
)
_PROMOTE = (
    "# make the learner a voter once it has caught up\n"
    + CLIENT
    + r"""
id=$(own member list | awk -F', ' -v p="$PEER" 'index("," $4 ",", "," p ",") { print $1 }')
[ -n "$id" ] || { echo "drrun: no member has the peer URL $PEER" >&2; exit 5; }
set -- own member promote "$id"
"""
    + _PATIENTLY
)


class _Members(GroupStep):
    """What the steps on membership share."""

    service: str = "etcd"
    """etcd's unit."""

    def checkable(self) -> bool:
        """The member list says who was removed, added or promoted."""
        return True

    def _touched(self) -> tuple[str, ...]:
        return (f"@members:{self.service}", f"@{self.service}")


class Remove(_Members):
    """Remove the members of the `leaving` hosts from the cluster, one after the other.

    Before each, the members are asked: a quorum must answer and must be left, nobody may be
    joining, and a member that still answers is not dead (`alive` says that it may be removed
    all the same, as when a cluster is made smaller). The hosts that leave are not connected to.
    """

    uses = "etcd.member.remove"
    effect = Effect.DESTROY
    repeat = Repeat.CHECK
    outputs = ("endpoints", "initial_cluster")

    leaving: str
    """The hosts whose members go: an expression over roles, as `failed` or `etcd & !keep`."""
    alive: Flag = False
    """Whether they may still answer."""

    def rules(self) -> Sequence[Demand]:
        """One at a time, after a backup; before anybody joins, or after when it is alive."""
        return turns.of_removal(self.service, alive=bool(self.alive))

    def run(self, group: Group) -> Outputs:
        """Ask, judge, remove, prove; for each of them."""
        host = group.hosts[0]
        fact = EtcdMembership(**overrides(host, self.service))
        start = host.read(fact)
        if start.why:
            raise Refused(
                f"{host.name}: the members cannot be asked: {start.why}",
                hint="without a quorum no member can be removed: see etcd-quorum-rescue",
            )
        leaving = {
            away.name: start.at(away.address, away.name) for away in group.role(self.leaving)
        }
        for name, member in leaving.items():
            if member is None:
                group.note(f"{name} is no member: passed over")
            else:
                self._remove(host, fact, name, member)
        return _told(start.without({member.id for member in leaving.values() if member}))

    def _remove(self, host: Host, fact: EtcdMembership, name: str, member: Member) -> None:
        seat = EtcdSeat(**overrides(host, self.service), peer=",".join(member.peer_urls))
        host.require(
            fact,
            satisfies(
                f"ready to lose {name}",
                lambda now: not against_removal(now, member, alive=bool(self.alive)),
            ),
            because="a removal at the wrong moment costs the quorum, and no member can undo it",
            hint="see `etcdctl member list` and `etcdctl endpoint status --cluster` there",
            within="15s",
        )
        host.change(
            f"remove-{name}",
            sh(_REMOVE, **environment(host, self.service), MEMBER=member.id, PATIENCE=60),
            sets={seat: "absent"},
            touches=self._touched(),
            timeout="90s",
        )


def _told(now: Membership) -> Outputs:
    """Where the voters are reached, and what a newcomer must be told of them."""
    return {
        "endpoints": [m.client_urls[0] for m in now.voters if m.client_urls],
        "initial_cluster": now.initial_cluster,
    }


class Join(_Members):
    """Make these hosts members of a running cluster, one by one: learner, filled, then voter.

    Each is told the members as they are now, added as a learner, started on an empty data
    directory, and promoted when it has caught up. All but the last host's adding waits for the
    one before. Undo puts the settings back; a member that joined is taken out again with
    etcd.member.remove.
    """

    uses = "etcd.member.join"
    effect = Effect.CHANGE
    repeat = Repeat.CHECK
    outputs = ("endpoints", "initial_cluster")

    endpoints: Listed
    """Client URLs of members that answer, from etcd.member.remove or etcd.members."""
    initial_cluster: str
    """The members as they are, `name=peer URL`, from the same step."""
    catch_up: Whole = 600
    """Seconds that a newcomer may take to catch up: 15 s a gigabyte, or 15 s per 100 MB on a slow disk."""

    def transitions(self) -> Mapping[Fact[Any], Any]:
        """Running, also where this runbook stopped it: the same host may join again."""
        return {ServiceState(self.service): "running"}

    def rules(self) -> Sequence[Demand]:
        """One at a time, and proved afterwards."""
        return turns.of_upkeep(self.service)

    def run(self, group: Group) -> Outputs:
        """Judge, tell, add, start, promote; for each host in turn: what may fail here comes before the add."""
        endpoints, cluster = tuple(self.endpoints), str(self.initial_cluster)
        for host in group.hosts:
            config = self._fit(host)
            cluster = joined(cluster, config)
            self._ready(host, config, endpoints)
            self._tell(host, cluster)
            self._add(host, config, endpoints)
            self._start(host)
            self._promote(host, config, endpoints)
            endpoints = (*endpoints, config.client_url)
        return {"endpoints": list(dict.fromkeys(endpoints)), "initial_cluster": cluster}

    def _fit(self, host: Host) -> Config:
        """The host's own settings, which must make a member."""
        config = host.read(config_fact(host, self.service))
        if not config.found or not config.peer_urls or not config.client_url:
            raise Refused(
                f"{host.name} has no etcd that says its initial-advertise-peer-urls and "
                "advertise-client-urls",
                hint="install etcd there with its certificates and its unit, stopped; drrun tells "
                "it the members",
            )
        return config

    def _ready(self, host: Host, config: Config, endpoints: tuple[str, ...]) -> None:
        """Refuse where it must not be added, unless it has been."""
        now: object = host.read(self._seat(host, config, endpoints))
        if isinstance(now, NotKnown) or now == "absent":
            host.require(
                data_fact(host, self.service),
                satisfies("missing or empty", lambda found: found.state in {"missing", "empty"}),
                because="a member that starts on old data mixes two clusters, or crashes",
                hint=f"set {config.data_dir} aside with etcd.data.aside",
            )
            host.require(
                EtcdMembership(**self._toward(host, endpoints)),
                satisfies("ready for another member", lambda now: not against_addition(now)),
                because="a member added at the wrong moment raises the quorum that is needed",
                hint="see `etcdctl member list` and `etcdctl endpoint status --cluster`",
                within="15s",
            )

    def _add(self, host: Host, config: Config, endpoints: tuple[str, ...]) -> None:
        seat = self._seat(host, config, endpoints)
        newcomer = satisfies("absent", lambda now: now == "absent")
        host.change(
            f"add-{host.name}",
            sh(
                _ADD,
                **self._reach(host, endpoints),
                NAME=config.name,
                PEERS=config.peer_urls,
                PATIENCE=60,
            ),
            sets={seat: "learner"},
            only_if=(seat, newcomer),
            touches=self._touched(),
            timeout="90s",
        )

    def _tell(self, host: Host, cluster: str) -> None:
        for fact, value in (
            (cluster_flag(self.service), cluster),
            (state_flag(self.service), "existing"),
        ):
            if host.read(fact) != (value,):
                host.change(
                    f"set-{fact.flag}-{host.name}",
                    set_flag(fact, value, host.run),
                    sets={fact: (value,)},
                    touches=(f"unit:{self.service}",),
                    repeat=Repeat.SAFE,
                )

    def _start(self, host: Host) -> None:
        state, held = host.read(ServiceState(self.service), ServiceHeld(self.service))
        if held:
            host.change(
                f"lift-{host.name}",
                lift(self.service),
                sets={ServiceHeld(self.service): False},
                repeat=Repeat.SAFE,
            )
        if state == "stopped":
            start_unit(host, self.service, f"start-{host.name}", "100s")

    def _promote(self, host: Host, config: Config, endpoints: tuple[str, ...]) -> None:
        seat = self._seat(host, config, endpoints)
        host.change(
            f"promote-{host.name}",
            sh(
                _PROMOTE,
                **self._reach(host, endpoints),
                PEER=config.peer_urls.partition(",")[0],
                PATIENCE=self.catch_up,
            ),
            sets={seat: "voter"},
            only_if=(seat, satisfies("no voter yet", lambda now: now != "voter")),
            touches=self._touched(),
            timeout=f"{self.catch_up + 30}s",
        )

    def _seat(self, host: Host, config: Config, endpoints: tuple[str, ...]) -> EtcdSeat:
        return EtcdSeat(**self._toward(host, endpoints), peer=config.peer_urls)

    def _reach(self, host: Host, endpoints: tuple[str, ...]) -> Mapping[str, str]:
        return {**environment(host, self.service), "ENDPOINT": ",".join(endpoints)}

    def _toward(self, host: Host, endpoints: tuple[str, ...]) -> dict[str, Any]:
        return {**overrides(host, self.service), "endpoint": ",".join(endpoints)}

    def undo(self, group: Group, done: Done) -> None:
        """Put the settings of the hosts back. Members that joined stay: they hold a vote."""
        for host in group.hosts:
            for fact in (cluster_flag(self.service), state_flag(self.service)):
                if done.did(f"set-{fact.flag}-{host.name}", host.name):
                    host.change(f"put-back-{fact.flag}-{host.name}", put_back(fact, host.run))
            if done.did(f"promote-{host.name}", host.name):
                group.note(
                    f"{host.name} has joined and stays a member: etcd.member.remove ends that"
                )


class Members(_Members):
    """Ask who the members are; refuse where one does not answer, or answers and is called dead.

    Gives what joining needs. It only reads.
    """

    uses = "etcd.members"
    effect = Effect.READ
    repeat = Repeat.SAFE
    outputs = ("endpoints", "initial_cluster", "voters", "staying", "size")

    leaving: str = ""
    """Hosts whose members will go, as an expression over roles: `staying` are the others' URLs."""
    dead: str = ""
    """Hosts whose members are known not to answer, as an expression over roles."""

    def run(self, group: Group) -> Outputs:
        """Ask the first host that answers."""
        said = {h.name: h.read(EtcdMembership(**overrides(h, self.service))) for h in group.hosts}
        now = next((m for m in said.values() if not m.why and m.quorum), None)
        if now is None:
            why = "; ".join(f"{name}: {m.why or 'no quorum'}" for name, m in said.items())
            raise Refused(
                f"no quorum of etcd answers ({why}): membership cannot be changed",
                hint="bring members back; if they are lost for good, see etcd-quorum-rescue",
            )
        expected = self._ids(group, now, self.dead)
        surprise = [m.name or m.id for m in now.silent if m.id not in expected]
        if surprise:
            raise Refused(
                f"{', '.join(surprise)} does not answer either",
                hint="replace one dead member at a time, and only while the others answer",
            )
        alive = [m.name or m.id for m in now.members if m.id in expected & {*now.answering}]
        if alive:
            raise Refused(
                f"{', '.join(alive)} answers: it is not dead",
                hint="name the dead one; a member that is well leaves with etcd-shrink, once another has joined",
            )
        for member in now.members:
            state = "answers" if member.id in now.answering else "does not answer"
            group.note(f"{member.name or member.id} at {','.join(member.peer_urls)} {state}")
        away = expected | self._ids(group, now, self.leaving)
        return {
            **_told(now.without(expected)),
            "voters": len(now.voters),
            "staying": _told(now.without(away))["endpoints"],
            "size": now.size,
        }

    def _ids(self, group: Group, now: Membership, expression: str) -> frozenset[str]:
        hosts = group.role(expression) if expression else ()
        found = (now.at(host.address, host.name) for host in hosts)
        return frozenset(member.id for member in found if member)
