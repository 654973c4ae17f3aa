"""What a restored cluster will be called: its initial cluster, its ids, its raised revisions.

Pure functions. The ids are etcd's own rule (membership/member.go, cluster.go): a member's is the
sha1 of its sorted peer URLs and the token, the cluster's is the sha1 of its members' ids. So the
id of a restored cluster is known before it starts, and a member that was not restored is found
out (recovery.md pitfall 4: all green, diverged).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from drrun_steps.etcd.config import Config, named

SLACK = 1_000_000
"""Revisions put on top of the measured difference: writes since the measurement."""
UNMEASURED = 1_000_000_000
"""The bump where a surviving directory could not be measured (etcd's own advice)."""


def conflicts(configs: Mapping[str, Config]) -> tuple[str, ...]:
    """Why these hosts' settings make no cluster; empty when they do. Names host and setting."""
    found: list[str] = []
    names: dict[str, str] = {}
    urls: dict[str, str] = {}
    for host, config in configs.items():
        if not config.found:
            found.append(f"{host} has neither a unit nor a manifest of etcd")
            continue
        if config.unclear:
            found.append(f"{host}: how etcd is started is not understood: {config.unclear}")
            continue
        if not config.peer_urls:
            found.append(f"{host} does not say its initial-advertise-peer-urls")
        found += [
            f"{host} and {seen[value]} both use {what} {value}"
            for what, value, seen in (
                ("the name", config.name, names),
                ("the peer URL", config.peer_urls, urls),
            )
            if value and value in seen
        ]
        names.setdefault(config.name, host)
        urls.setdefault(config.peer_urls, host)
        own = named(config.initial_cluster).get(config.name)
        if (
            own is not None
            and config.peer_urls
            and set(own.split(",")) != set(config.peer_urls.split(","))
        ):
            found.append(f"{host} advertises {config.peer_urls} but its initial-cluster says {own}")
    return tuple(found)


def strangers(configs: Mapping[str, Config]) -> tuple[str, ...]:
    """Members that some host's initial-cluster names and no host of the role is (H3)."""
    ours = {config.name for config in configs.values()}
    return tuple(
        f"{name} (in the initial-cluster of {host})"
        for host, config in configs.items()
        for name in named(config.initial_cluster)
        if name not in ours
    )


def initial_cluster(configs: Mapping[str, Config]) -> str:
    """One text for all members, computed from what each says of itself."""
    return ",".join(
        f"{config.name}={url}" for config in configs.values() for url in config.peer_urls.split(",")
    )


def cluster_id(peer_urls: list[str], token: str) -> str:
    """The id, in hex, of a cluster restored with these members' peer URLs and this token."""
    members = sorted(_member_id(urls, token) for urls in peer_urls)
    return f"{_first8(b''.join(m.to_bytes(8, 'big') for m in members)):x}"


def _member_id(peer_urls: str, token: str) -> int:
    return _first8(("".join(sorted(peer_urls.split(","))) + token).encode())


def _first8(data: bytes) -> int:
    return int.from_bytes(hashlib.sha1(data, usedforsecurity=False).digest()[:8], "big")


def bump(measured: int, snapshot: int, *, complete: bool, capable: bool) -> int:
    """How far to raise all revisions, so that no client that saw a later one is left waiting.

    The measured difference, 20 % and a million on top; a thousand million where not all could
    be measured; 0 where a tool cannot (k#107457, etcd#16028). Rounded up to a whole million, so
    that a sealed plan's commands stay the same while a cluster writes on.
    """
    if not capable:
        return 0
    gap = max(0, measured - snapshot)
    raised = max(gap + gap // 5 + SLACK, 0 if complete else UNMEASURED)
    return -(-raised // SLACK) * SLACK
