"""The addresses under which API servers are announced, and those that nobody takes back.

Each API server keeps `/registry/masterleases/ADDRESS`, attached to an etcd lease of 15 s, and renews
it; the addresses become the endpoints of the Service `kubernetes`. One without a lease of etcd's was
written by no API server that lives: a copy of keys, an old tool, a hand. It never goes by itself,
and every n-th client of that Service runs into it.
Sources: kubernetes#86812; kops' restore page (recovery.md 1.9, pitfall 17).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from drrun.spi import (
    Command,
    Demand,
    Effect,
    Group,
    GroupStep,
    Repeat,
    Reply,
    StepFailed,
    satisfies,
    sh,
)
from drrun_steps.etcd.access import CLIENT, MemberFact, environment, overrides
from drrun_steps.etcd.order import while_running

_LISTED = r"""
said=$(own get "$PREFIX/masterleases/" --prefix --keys-only) || exit
for k in $said; do
  one=$(own get "$k" -w fields) || exit
  lease=$(printf '%s\n' "$one" | sed -n 's/^"Lease" : //p')
  rev=$(printf '%s\n' "$one" | sed -n 's/^"ModRevision" : //p')
"""
"""Each key with its lease (0: none) and the revision that wrote it; empty when it went meanwhile."""

TOLD = _LISTED + '  [ -z "$lease" ] || echo "$lease ${k##*/}"\ndone'
"""Prints each: its lease and its address."""


@dataclass(frozen=True, slots=True)
class Announced:
    """The address of an API server, and whether it goes when nobody renews it."""

    address: str
    renewed: bool


@dataclass(frozen=True, slots=True)
class KubeMasterLeases(MemberFact[tuple[Announced, ...]]):
    """The addresses that are announced as API servers."""

    name: ClassVar[str] = "kube.masterleases"
    prefix: str = "/registry"

    def about(self) -> tuple[str, ...]:
        """The member here, and what all members have agreed on."""
        return (f"service:{self.service}", f"@{self.service}")

    def ask(self) -> Command:
        """Keys and their leases; no value is read."""
        return self._client(TOLD, PREFIX=self.prefix)

    def parse(self, reply: Reply) -> tuple[Announced, ...]:
        """In order of text. Raises StepFailed when etcd does not tell."""
        if reply.exit != 0:
            raise StepFailed(f"etcd does not tell who is announced: {reply.complaint[:200]}")
        return announced(reply.text)


def announced(text: str) -> tuple[Announced, ...]:
    """What TOLD printed, in order of text."""
    pairs = (line.split() for line in text.splitlines())
    found = (Announced(address, lease != "0") for lease, address in pairs)
    return tuple(sorted(found, key=lambda one: one.address))


def _all_renewed(found: tuple[Announced, ...]) -> bool:
    return all(one.renewed for one in found)


class PruneMasterLeases(GroupStep):
    """Remove announced API servers that nobody renews: keys without a lease of etcd's.

    What an API server wrote is never removed: it has a lease, and goes in 15 s when its server
    does. A key that changes between the look and the removal stays.
    """

    uses = "kube.masterleases.prune"
    effect = Effect.CHANGE
    repeat = Repeat.SAFE

    prefix: str = "/registry"
    """The API servers' `--etcd-prefix`."""
    service: str = "etcd"
    """etcd's unit."""

    def rules(self) -> Sequence[Demand]:
        """Not while this runbook has stopped etcd."""
        return [while_running(self.service, "an etcd that is stopped forgets nothing")]

    def run(self, group: Group) -> None:
        """One conditional change on the first host: the keys are the cluster's."""
        host = group.hosts[0]
        fact = KubeMasterLeases(**overrides(host, self.service), prefix=self.prefix)
        host.change(
            "prune",
            sh(
                f"# remove announced API servers that nobody renews\n{CLIENT}{_LISTED}"
                '  [ "$lease" = 0 ] || continue\n'
                '  echo "removing $k"\n'
                '  printf \'mod("%s") = "%s"\\n\\ndel %s\\n\\n\\n\' "$k" "$rev" "$k" | own txn || exit\n'
                "done",
                **environment(host, self.service),
                PREFIX=self.prefix,
            ),
            sets={fact: satisfies("all renewed by their servers", _all_renewed)},
            touches=(f"@{self.service}",),
            only_if=(
                fact,
                satisfies("with one that nobody renews", lambda found: not _all_renewed(found)),
            ),
            repeat=Repeat.SAFE,
            within="10s",
        )
