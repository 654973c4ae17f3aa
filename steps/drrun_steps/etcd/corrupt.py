"""Which member holds other data than the rest: found by majority, never guessed.

Rule 1: two of three that agree are right, whoever leads (etcd#14828, #14849: an alarm may name the
wrong one, or none). Without a majority nobody is right: every variant is saved, and a person rules.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from drrun.spi import Command, Effect, Fact, Group, GroupStep, Outputs, Refused, Repeat, Reply
from drrun_steps.etcd.access import MemberFact, ask_each, overrides
from drrun_steps.etcd.live import EtcdMembers, EtcdStatus, Status, hash_of
from drrun_steps.etcd.ruling import config_fact


@dataclass(frozen=True, slots=True)
class EtcdHash(MemberFact[str]):
    """The member's cluster and its hash of all keys at `revision`; empty where it has none."""

    name: ClassVar[str] = "etcd.hash"
    timeout: ClassVar[float] = 120.0
    revision: int = 0

    def about(self) -> tuple[str, ...]:
        """The service here, and what all members have agreed on."""
        return (f"service:{self.service}", f"@{self.service}")

    def ask(self) -> Command:
        """`endpoint hashkv` reads every key; it works without quorum."""
        return self._client(
            'limit=100; WAIT=90s; own endpoint hashkv --rev="$REV" -w json', REV=self.revision
        )

    def parse(self, reply: Reply) -> str:
        """Not answering is an answer."""
        if reply.exit != 0 or not reply.text.strip().startswith("["):
            return ""
        entry: dict[str, Any] = json.loads(reply.text)[0]
        found = entry.get("HashKV") or entry.get("Hash") or {}
        return f"{found.get('header', {}).get('cluster_id', 0):x}/{hash_of(entry)}"


@dataclass(frozen=True, slots=True)
class Found:
    """Who holds other data than the majority; or why that cannot be said. `silent` say nothing."""

    odd: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    why: str = ""


def odd_ones(hashes: Mapping[str, str], members: int) -> Found:
    """Of `members`, those whose hash is not the majority's. `hashes`: host -> hash, or empty."""
    said = {host: value for host, value in hashes.items() if value}
    silent = tuple(host for host in hashes if host not in said)
    value, count = Counter(said.values()).most_common(1)[0] if said else ("", 0)
    if 2 * count <= members:
        variants = "; ".join(f"{host} {value}" for host, value in said.items()) or "nobody answers"
        return Found(silent=silent, why=f"no majority of the {members} members agrees ({variants})")
    return Found(tuple(host for host in said if said[host] != value), silent)


class CorruptProve(GroupStep):
    """Prove that the named member, and no other, holds other data than the majority or is dead.

    Every member is asked for the hash of all its keys at one revision that all have reached. It
    only reads. Refused when all agree, when another member is the odd one, and when no majority
    agrees: then nobody can know which variant is right.
    """

    uses = "etcd.corrupt.prove"
    effect = Effect.READ
    repeat = Repeat.SAFE
    outputs = ("endpoints", "odd")

    bad: str
    """The host whose member is taken for corrupt, as an expression over roles."""
    service: str = "etcd"
    """etcd's unit."""

    def run(self, group: Group) -> Outputs:
        """Statuses for the common revision, then hashes, then one judgement."""
        hosts = group.hosts
        named = {host.name for host in group.role(self.bad)}
        statuses = ask_each(group, hosts, lambda h: EtcdStatus(**overrides(h, self.service)))
        lowest = min((s.revision for s in statuses.values() if s.answers), default=0)
        hashes = ask_each(
            group, hosts, lambda h: EtcdHash(**overrides(h, self.service), revision=lowest)
        )
        for name, value in hashes.items():
            group.note(f"{name}: {value or 'does not answer'} at revision {lowest}")
        members = max(len(hosts), self._listed(group))
        found = self._confirmed(group, odd_ones(hashes, members), statuses, lowest, members)
        if found.why:
            raise Refused(
                f"{found.why}: which one is right cannot be known",
                hint="save a snapshot of every member (`etcdctl snapshot save` on each), decide "
                "which is right, and bring that one back with restore-cluster",
            )
        self._judge(found, named)
        others = [host for host in hosts if host.name not in named]
        configs = ask_each(group, others, lambda h: config_fact(h, self.service))
        return {
            "endpoints": [config.client_url for config in configs.values()],
            "odd": list(found.odd),
        }

    def _confirmed(
        self,
        group: Group,
        found: Found,
        statuses: Mapping[str, Status],
        lowest: int,
        members: int,
    ) -> Found:
        """Asked again at the lowest revision of those that agree, which the odd ones held down.

        Two that agree up to where a third one stopped may differ above.
        """
        wrong = {*found.odd, *found.silent}
        agreed = [host for host in group.hosts if host.name not in wrong]
        higher = min((statuses[host.name].revision for host in agreed), default=0)
        if found.why or higher <= lowest:
            return found
        again = ask_each(
            group, agreed, lambda h: EtcdHash(**overrides(h, self.service), revision=higher)
        )
        for name, value in again.items():
            group.note(f"{name}: {value or 'does not answer'} at revision {higher}")
        once_more = odd_ones(again, members)
        return Found((*found.odd, *once_more.odd), found.silent + once_more.silent, once_more.why)

    def _judge(self, found: Found, named: set[str]) -> None:
        wrong = sorted({*found.odd, *found.silent})
        if not wrong:
            raise Refused(
                "all members hold the same data: none is corrupt",
                hint="`etcdctl alarm list` may name an alarm that is over: disarm it",
            )
        if set(wrong) != named:
            raise Refused(
                f"{', '.join(wrong)} differs from the majority or does not answer, not "
                f"{', '.join(sorted(named))}",
                hint=f"say -e role.bad={wrong[0]}"
                if len(wrong) == 1
                else "one member at a time: bring back those that only do not answer",
            )

    def _listed(self, group: Group) -> int:
        """How many members the list has: hosts that nobody named count as well."""
        asked = (h.read(EtcdMembers(**overrides(h, self.service))) for h in group.hosts)
        return max((len(said.members) for said in asked), default=0)


FACTS: tuple[type[Fact[Any]], ...] = (EtcdHash,)
