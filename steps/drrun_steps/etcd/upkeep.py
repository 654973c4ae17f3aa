"""Upkeep of a running etcd, one member at a time, the leader last: defragment, compact, restart.

Rule 1: before each member's turn all of them are asked; nobody's turn comes while one is missing.
Sources: etcd's maintenance page; OpenShift's defragmentation controller (recovery.md 1.8, 1.10).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from drrun.spi import (
    CHANGED,
    Demand,
    Effect,
    Fact,
    Flag,
    Group,
    GroupStep,
    Host,
    Outputs,
    Predicate,
    Refused,
    Repeat,
    Whole,
    satisfies,
    sh,
)
from drrun_steps.etcd.access import CLIENT, ask_each, environment, overrides
from drrun_steps.etcd.live import EtcdStatus, Status
from drrun_steps.etcd.membership import EtcdMembership, Membership, quorum_of
from drrun_steps.etcd.turns import of_upkeep
from drrun_steps.service.certificates import STALE, ServiceStale
from drrun_steps.service.dead_end import ServiceDeadEnd
from drrun_steps.service.facts import ServiceInstance, ServiceReady, ServiceState
from drrun_steps.service.steps import restart
from drrun_steps.service.units import unit

_MIB = 1024**2
Condition = tuple[Fact[Any], Predicate] | None
"""What must hold on a host for a change to be made there; always, when None."""


def whole(now: Membership) -> bool:
    """Whether every voter answers, nobody is joining, and a quorum does."""
    return (
        not now.why
        and now.quorum
        and not now.silent
        and not now.corrupt
        and all(m.name and not m.learner for m in now.members)
    )


class OneByOne(GroupStep):
    """What upkeep shares: the order, and the proof before each turn."""

    service: str = "etcd"
    """etcd's unit."""
    within: str = "60s"
    """How long to wait, before each turn, for all members to answer."""

    def rules(self) -> Sequence[Demand]:
        """No other member may be away at the same time; and proved afterwards."""
        return of_upkeep(self.service)

    def _turns(self, group: Group) -> Iterator[tuple[Host, Status]]:
        """Followers first, the leader last; each once all members answer."""
        statuses = ask_each(group, group.hosts, lambda h: EtcdStatus(**overrides(h, self.service)))
        silent = [name for name, said in statuses.items() if not said.answers]
        if silent:
            raise Refused(
                f"{', '.join(silent)} does not answer: upkeep takes members away for a moment, and "
                "the others must bear that",
                hint="bring it back first, or replace it with etcd-member-replace",
            )
        for host in sorted(group.hosts, key=lambda h: statuses[h.name].leads):
            self._prove(host)
            yield host, statuses[host.name]

    def _prove(self, host: Host) -> None:
        host.require(
            EtcdMembership(**overrides(host, self.service)),
            satisfies("whole: all voters answer, nobody is joining", whole),
            because="one member at a time, and only while all the others carry the quorum",
            hint="see `etcdctl endpoint status --cluster` there",
            within=self.within,
        )


class Defrag(OneByOne):
    """Defragment the members' databases, one at a time, the leader last.

    A member answers nobody while it is defragmented: about 5 s a gigabyte. A database that would
    give back less than `least` is passed over.
    """

    uses = "etcd.defrag"
    effect = Effect.CHANGE
    repeat = Repeat.SAFE
    outputs = ("freed",)

    share: float = 0.45
    """How much of a database must be free inside for its turn to be worth it."""
    least: Whole = 100 * _MIB
    """Bytes that a defragmentation must give back."""
    timeout: str = "10m"
    """How long one member may take."""

    def run(self, group: Group) -> Outputs:
        """Ask, and where it is worth it, defragment and prove that it answers again."""
        freed = 0
        for host, said in self._turns(group):
            free = said.size - said.in_use
            if free < self.least or free < said.size * self.share:
                group.note(
                    f"{host.name}: {free // _MIB} of {said.size // _MIB} MiB are free: passed over"
                )
                continue
            host.change(
                f"defrag-{host.name}",
                sh(
                    f"# defragment this member\n{CLIENT}"
                    'limit=$SECONDS_; ctl --endpoints="$own" --command-timeout="${SECONDS_}s" defrag',
                    **environment(host, self.service),
                    SECONDS_=540,
                ),
                sets={
                    EtcdStatus(**overrides(host, self.service)): satisfies(
                        "smaller, and answering",
                        lambda now, was=said: now.answers and now.size < was.size,  # type: ignore[misc]
                    )
                },
                repeat=Repeat.SAFE,
                timeout=self.timeout,
            )
            freed += free
        return {"freed": freed}


class Compact(GroupStep):
    """Compact the history of all keys up to the present revision, once for the cluster.

    What a defragmentation can give back is what was compacted. API servers do this every five
    minutes by themselves; under NOSPACE nobody may be left who does.
    """

    uses = "etcd.compact"
    effect = Effect.CHANGE
    repeat = Repeat.SAFE
    outputs = ("revision",)

    service: str = "etcd"
    """etcd's unit."""
    keep: Whole = 0
    """Revisions before the present one whose history is kept, for clients that watch."""

    def run(self, group: Group) -> Outputs:
        """One change on the first member that answers."""
        fact = {h.name: EtcdStatus(**overrides(h, self.service)) for h in group.hosts}
        said = {h.name: h.read(fact[h.name]) for h in group.hosts}
        host = next(
            (h for h in group.hosts if said[h.name].answers and said[h.name].has_leader), None
        )
        if host is None:
            raise Refused(
                "no member with a leader answers: history cannot be compacted",
                hint="bring a quorum back first",
            )
        # The revision is asked where it is used: while a plan is reviewed, the cluster writes on.
        revision = host.change(
            "compact",
            sh(_COMPACT, **environment(host, self.service), KEEP=self.keep),
            touches=(f"@{self.service}",),
            returns=lambda reply: int(reply.text),
            repeat=Repeat.SAFE,
            timeout="130s",
        )
        return {"revision": revision}


_COMPACT = (
    "# compact the history up to the present revision; already compacted is as good\n"
    + CLIENT
    + r"""
told=$(own endpoint status -w json | tr ',{}' '\n\n\n') || exit 3
revision=$(printf '%s\n' "$told" | sed -n 's/^"revision":\([0-9]*\)$/\1/p' | head -n 1)
[ -n "$revision" ] || { echo 'drrun: this member does not tell its revision' >&2; exit 4; }
revision=$((revision - KEEP))
[ "$revision" -gt 0 ] || { echo 0; exit 0; }
limit=120
said=$(ctl --endpoints="$own" --command-timeout=100s compact --physical "$revision" 2>&1) ||
  case $said in *'has been compacted'*) ;; *) printf '%s\n' "$said" >&2; exit 1 ;; esac
echo "$revision"
"""
)


class OneRestart(OneByOne):
    """What a restart of all members shares: who is refused, and one member's turn."""

    alone: Flag = False
    """Whether a cluster of one may be restarted: nobody answers meanwhile."""

    def checkable(self) -> bool:
        """The instance's id says whether a member was restarted."""
        return True

    def _accept(self, group: Group) -> None:
        if len(group.hosts) < 3 and not self.alone:
            raise Refused(
                f"{len(group.hosts)} members: while one is away, {quorum_of(len(group.hosts))} "
                "must answer and do not",
                hint="`alone: true` accepts the outage",
            )

    def _hand_over(self, host: Host, only_if: Condition = None) -> None:
        fact = EtcdStatus(**overrides(host, self.service))
        host.change(
            f"hand-over-{host.name}",
            sh(_HAND_OVER, **environment(host, self.service)),
            sets={fact: satisfies("no leader", lambda now: now.answers and not now.leads)},
            touches=(f"@{self.service}",),
            only_if=only_if,
            repeat=Repeat.SAFE,
        )

    def _restart(self, host: Host, only_if: Condition = None) -> None:
        host.change(
            f"restart-{host.name}",
            restart(self.service),
            sets={
                ServiceInstance(self.service): CHANGED,
                ServiceState(self.service): "running",
                ServiceReady(self.service): True,
            },
            touches=(f"@{self.service}",),
            only_if=only_if,
            within="100s",
            hopeless=ServiceDeadEnd(self.service),
        )

    def _prove_back(self, host: Host, must: Predicate | None = None) -> None:
        host.require(
            EtcdStatus(**overrides(host, self.service)),
            must or satisfies("answering, with a leader, caught up", caught_up),
            because="the next member's turn comes when this one carries its vote again",
            hint=f"see `journalctl -u {unit(self.service)}` on {host.name}",
            within="100s",
        )


class Rolling(OneRestart):
    """Restart the members one at a time, the leader last, after it has handed over.

    Each must be another instance afterwards, must answer, and must have caught up before the next
    one's turn.
    """

    uses = "etcd.rolling_restart"
    effect = Effect.CHANGE
    repeat = Repeat.CHECK

    stale: Flag = False
    """Whether only members are restarted that work with other certificates than their files hold."""

    def run(self, group: Group) -> None:
        """Hand over, restart, prove; for each."""
        self._accept(group)
        stale = ServiceStale(self.service)
        only_if = (stale, STALE) if self.stale else None
        for host, said in self._turns(group):
            if said.leads and len(group.hosts) > 1:
                self._hand_over(host, only_if)
            self._restart(host, only_if)
            self._prove_back(host)
            if self.stale:
                host.require(
                    stale,
                    (),
                    because="the next member's turn comes when this one serves what its files hold",
                    hint=f"see `journalctl -u {unit(self.service)}` on {host.name}",
                    within="60s",
                )


_HAND_OVER = (
    "# hand the leadership to another member\n"
    + CLIENT
    + r"""
list=$(own member list) || exit 3
told=$(own endpoint status -w json | tr ',{}' '\n\n\n') || exit 3
mine=$(printf '%s\n' "$told" | sed -n 's/^"member_id":\([0-9]*\)$/\1/p' | head -n 1)
leader=$(printf '%s\n' "$told" | sed -n 's/^"leader":\([0-9]*\)$/\1/p' | head -n 1)
[ "$mine" = "$leader" ] || exit 0 # it has moved by itself meanwhile
to=$(printf '%s\n' "$list" | awk -F', ' -v mine="$(printf '%x' "$mine")" \
  '$2 == "started" && $6 != "true" && $1 != mine { print $1; exit }')
[ -n "$to" ] || { echo 'drrun: nobody to hand over to' >&2; exit 5; }
own move-leader "$to"
"""
)


def caught_up(now: Status) -> bool:
    """Whether a member answers, has a leader, and has applied what it was sent."""
    return now.answers and now.has_leader and now.lag < 100
