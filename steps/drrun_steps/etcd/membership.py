"""Who the members are and which of them answer, and what may be changed about that.

A membership change is the one act by which a healthy cluster loses its quorum in a second: a
member added beside a dead one, two added at once, a live one removed too many. The rules below are
pure functions of what the members say, and each change asks them again right before it is sent.
Sources: etcd's runtime-reconfiguration page; recovery.md 0.9, 1.4 and pitfalls 23 to 25.
"""

from __future__ import annotations

import json
from collections.abc import Set
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from drrun.spi import Command, Fact, Reply
from drrun_steps.etcd.access import MemberFact
from drrun_steps.etcd.config import Config, host_of
from drrun_steps.etcd.live import Member, member_of, why_not

Seat = Literal["voter", "learner", "absent", "not known"]


@dataclass(frozen=True, slots=True)
class Membership:
    """The members as one of them tells, and the ids of those that answer for themselves."""

    members: tuple[Member, ...] = ()
    answering: tuple[str, ...] = ()
    leader: str = ""
    quorum: bool = False
    corrupt: bool = False
    size: int = 0
    """Bytes of the largest database among those that answer."""
    why: str = ""
    """Why nobody tells; empty when somebody does."""

    @property
    def voters(self) -> tuple[Member, ...]:
        """The members that count for a quorum, dead ones too."""
        return tuple(m for m in self.members if not m.learner)

    @property
    def silent(self) -> tuple[Member, ...]:
        """Voters that do not answer."""
        return tuple(m for m in self.voters if m.id not in self.answering)

    @property
    def endpoints(self) -> tuple[str, ...]:
        """A client URL of each voter that answers."""
        live = [m for m in self.voters if m.id in self.answering]
        return tuple(m.client_urls[0] for m in live if m.client_urls)

    @property
    def initial_cluster(self) -> str:
        """The members as a joining one must be told: `name=peer URL`, comma between."""
        return ",".join(f"{m.name}={url}" for m in self.members if m.name for url in m.peer_urls)

    def without(self, ids: Set[str]) -> Membership:
        """The same cluster when these members are gone."""
        return replace(self, members=tuple(m for m in self.members if m.id not in ids))

    def at(self, address: str, name: str = "") -> Member | None:
        """The member whose peer URL is on that address, else the one of that name."""
        there = [m for m in self.members if address in map(host_of, m.peer_urls)]
        named = [m for m in self.members if name and m.name == name]
        return next(iter(there + named), None)


def quorum_of(voters: int) -> int:
    """How many of so many voters must answer."""
    return voters // 2 + 1


def joined(cluster: str, config: Config) -> str:
    """An initial cluster with this member in it, once."""
    own = [f"{config.name}={url}" for url in config.peer_urls.split(",")]
    others = [part for part in cluster.split(",") if part and part not in own]
    return ",".join([*others, *own])


def against_removal(now: Membership, leaving: Member, *, alive: bool) -> tuple[str, ...]:
    """Why this member must not be removed now, in words; empty when it may be."""
    found = _unsettled(now, learners=not leaving.learner)
    if leaving.learner:
        return tuple(found)
    answers = leaving.id in now.answering
    if answers and not alive:
        found.append(
            f"{leaving.name or leaving.id} answers: it is not dead; stop it first, so that nobody "
            "goes on writing to a member that was removed"
        )
    left = [m for m in now.voters if m.id != leaving.id]
    live = [m for m in left if m.id in now.answering]
    if not left:
        found.append("it is the only voter")
    elif len(live) < quorum_of(len(left)):
        found.append(
            f"only {len(live)} of the {len(left)} voters left would answer, "
            f"{quorum_of(len(left))} are needed: removing it loses the quorum"
        )
    others = [m.name or m.id for m in now.silent if m.id != leaving.id]
    if others and answers:
        found.append(f"{', '.join(others)} does not answer: replace the dead member first")
    return tuple(found)


def against_addition(now: Membership) -> tuple[str, ...]:
    """Why no member must be added now, in words; empty when one may be."""
    found = _unsettled(now, learners=True)
    if now.silent:
        dead = ", ".join(m.name or m.id for m in now.silent)
        found.append(
            f"{dead} does not answer: a dead member is removed before another is added, or the "
            "cluster needs a larger quorum with fewer members to give it"
        )
    return tuple(found)


def _unsettled(now: Membership, *, learners: bool) -> list[str]:
    """What forbids any change: nobody tells, no quorum, corrupt data, a change under way."""
    if now.why:
        return [f"the members cannot be asked: {now.why}"]
    found = [] if now.quorum else ["no quorum answers: membership cannot be changed"]
    if now.corrupt:
        found.append("the alarm CORRUPT is raised: find out which member is right first")
    if learners:
        found += [f"{m.name or m.id} is a learner still" for m in now.members if m.learner]
    found += [
        f"{', '.join(m.peer_urls)} was added and never started" for m in now.voters if not m.name
    ]
    return found


_MEMBERSHIP = r"""
list=$(own member list -w json) || exit 3
echo "== members"; printf '%s\n' "$list"
urls=$(own member list | awk -F', ' '$2 == "started" { split($5, u, ","); print u[1] }' | paste -s -d , -)
echo "== status"; ctl --endpoints="${urls:-$own}" --command-timeout="${WAIT:-2s}" endpoint status -w json
echo "== alarms"; own alarm list
own get drrun/quorum --keys-only >/dev/null && echo '== quorum'
true
"""


@dataclass(frozen=True, slots=True)
class EtcdMembership(MemberFact[Membership]):
    """The members, which of them answer, who leads, and whether a quorum does."""

    name: ClassVar[str] = "etcd.membership"
    timeout: ClassVar[float] = 60.0

    def about(self) -> tuple[str, ...]:
        """The service and the certificates here, and what all members have agreed on."""
        here = (f"service:{self.service}", f"client:{self.service}")
        return (*here, f"@{self.service}", f"@members:{self.service}")

    def ask(self) -> Command:
        """The list, then the status of every started member in its own words."""
        return self._client(_MEMBERSHIP)

    def parse(self, reply: Reply) -> Membership:
        """Not answering is an answer."""
        return membership_of(reply)


def membership_of(reply: Reply) -> Membership:
    """The parts of the answer put together."""
    parts: dict[str, str] = {}
    for line in reply.text.splitlines():
        if line.startswith("== "):
            parts[line[3:]] = ""
        elif parts:
            parts[next(reversed(parts))] += line
    if not parts.get("members"):
        return Membership(why=why_not(reply))
    statuses = [entry["Status"] for entry in json.loads(parts.get("status") or "[]")]
    leaders = {f"{s['leader']:x}" for s in statuses if s.get("leader")}
    return Membership(
        members=tuple(member_of(e) for e in json.loads(parts["members"]).get("members", ())),
        answering=tuple(sorted(f"{s['header']['member_id']:x}" for s in statuses)),
        leader=next(iter(leaders)) if len(leaders) == 1 else "",
        quorum="quorum" in parts,
        corrupt="CORRUPT" in parts.get("alarms", ""),
        size=max((int(s.get("dbSize", 0)) for s in statuses), default=0),
    )


@dataclass(frozen=True, slots=True)
class EtcdSeat(MemberFact[Seat]):
    """What the peer at a URL is to the cluster. Stopping its service does not change that."""

    name: ClassVar[str] = "etcd.seat"
    peer: str = ""

    def about(self) -> tuple[str, ...]:
        """This seat, whatever happens to another member; and all seats, which a restore deals anew.

        A host without certificates is told of none.
        """
        return (*self.marks(), f"@seats:{self.service}", f"client:{self.service}")

    def marks(self) -> tuple[str, ...]:
        """One member that is added, promoted or removed leaves the seats of the others."""
        return (f"@seat:{self.peer}",)

    def ask(self) -> Command:
        """The member list."""
        return self._client("own member list -w json")

    def parse(self, reply: Reply) -> Seat:
        """Nobody who tells is not the same as absent."""
        if reply.exit != 0 or not reply.text.strip().startswith("{"):
            return "not known"
        for member in map(member_of, json.loads(reply.text).get("members", ())):
            if set(self.peer.split(",")) & set(member.peer_urls):
                return "learner" if member.learner else "voter"
        return "absent"


FACTS: tuple[type[Fact[Any]], ...] = (EtcdMembership, EtcdSeat)
