"""How well a member keeps up: what it counted and timed since it started, from its own /metrics.

etcd's documentation asks for a 99th percentile of 10 ms for a sync of the log and 25 ms for a commit; a
leader that waits longer misses heartbeats, and a cluster that changes its leader again and again is ill
whatever its members answer.
Sources: etcd.io, "Metrics" and "FAQ" (what does the warning "failed to send out heartbeat" mean);
Prometheus' histogram_quantile for the percentile.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

from drrun.spi import Command, Fact, Reply
from drrun_steps.etcd.access import FETCH, MemberFact

FSYNC, COMMIT = 10.0, 25.0
"""Milliseconds that etcd's documentation asks for."""

_TIMED = {
    "etcd_disk_wal_fsync_duration_seconds": "fsync",
    "etcd_disk_backend_commit_duration_seconds": "commit",
    "etcd_network_peer_round_trip_time_seconds": "round_trip",
}
_COUNTED = {
    "etcd_server_leader_changes_seen_total": "leader_changes",
    "etcd_server_heartbeat_send_failures_total": "heartbeats_failed",
}
_LINE = re.compile(r'^(\w+?)(?:_bucket\{.*?le="([^"]+)".*\}|\{.*\})? ([0-9.eE+-]+|\+Inf)$')

_METRICS = (
    FETCH
    + r"""
at=$(setting listen-metrics-urls | tr ',' '\n' | head -n 1 |
  sed -e 's,//0\.0\.0\.0,//127.0.0.1,' -e 's,//\[::\],//[::1],')
said=$(fetch "${at:-$own}/metrics") || exit
printf '%s\n' "$said" | grep -E "^($NAMES|process_start_time_seconds)"
echo "now $(date +%s)"
"""
)


@dataclass(frozen=True, slots=True)
class Pace:
    """Counts, and 99th percentiles in milliseconds (0: none was timed), since the member started."""

    seconds: float = 0.0
    """How long ago it started."""
    leader_changes: int = 0
    heartbeats_failed: int = 0
    fsync: float = 0.0
    commit: float = 0.0
    round_trip: float = 0.0
    """To the slowest of the other members."""
    why: str = ""
    """Why nothing could be read; empty when it was."""


@dataclass(frozen=True, slots=True)
class EtcdPace(MemberFact[Pace]):
    """How well the member keeps up."""

    name: ClassVar[str] = "etcd.pace"

    def about(self) -> tuple[str, ...]:
        """The service here, and what all members have agreed on."""
        return (f"service:{self.service}", f"@{self.service}")

    def ask(self) -> Command:
        """One request, at the address for metrics if there is one; only these lines leave the host."""
        return self._client(_METRICS, NAMES="|".join((*_TIMED, *_COUNTED)))

    def parse(self, reply: Reply) -> Pace:
        """Not answering is an answer."""
        if reply.exit != 0 or "now " not in reply.text:
            return Pace(why=reply.complaint[:200] or f"exit {reply.exit}")
        buckets: dict[str, dict[float, float]] = {name: {} for name in _TIMED}
        single: dict[str, float] = {}
        for line in reply.text.splitlines():
            match = _LINE.match(line)
            if match is None:
                continue
            name, bound, value = match[1], match[2], float(match[3])
            if bound is None:
                single[name] = value
            elif name in buckets:  # one histogram a peer: the sum of all is near enough
                found, at = buckets[name], float(bound)
                found[at] = found.get(at, 0.0) + value
        return Pace(
            seconds=max(
                0.0, single.get("now", 0.0) - single.get("process_start_time_seconds", 0.0)
            ),
            leader_changes=int(single.get("etcd_server_leader_changes_seen_total", 0)),
            heartbeats_failed=int(single.get("etcd_server_heartbeat_send_failures_total", 0)),
            fsync=percentile(buckets["etcd_disk_wal_fsync_duration_seconds"]),
            commit=percentile(buckets["etcd_disk_backend_commit_duration_seconds"]),
            round_trip=percentile(buckets["etcd_network_peer_round_trip_time_seconds"]),
        )


def percentile(buckets: dict[float, float], share: float = 0.99) -> float:
    """The upper bound in milliseconds of `share` of what was timed, between bounds as Prometheus does.

    `buckets`: bound in seconds -> how many were at most that long. Above the last bound nothing more is
    known: then it is that bound.
    """
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0.0
    if not total:
        return 0.0
    for below, bound in pairwise([0.0, *bounds]):
        before, here = buckets.get(below, 0.0), buckets[bound]
        if here >= share * total:
            if math.isinf(bound):
                return below * 1000
            part = (share * total - before) / (here - before) if here > before else 1.0
            return (below + (bound - below) * part) * 1000
    return bounds[-1] * 1000


FACTS: tuple[type[Fact[Any]], ...] = (EtcdPace,)
