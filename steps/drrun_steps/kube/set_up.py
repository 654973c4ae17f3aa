"""How a member was set up when a snapshot was taken, against how it is now: what a restore would get wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from drrun_steps.etcd.config import Config

_NAMES = ("name", "data_dir", "wal_dir", "peer_urls", "client_url")


def set_up(config: Config) -> Mapping[str, str]:
    """A member's settings as a manifest keeps them: `etcd.data_dir` and others, those that are said."""
    return {f"etcd.{name}": str(said) for name in _NAMES if (said := getattr(config, name))}


def differing(
    recorded: Mapping[str, Mapping[str, str]], now: Mapping[str, Mapping[str, str]]
) -> Sequence[str]:
    """What hosts say now that was otherwise when the snapshot was taken; only of what was recorded."""
    return [
        f"{host}: {name} was {value}, is {now[host].get(name) or 'not known'}"
        for host, answers in recorded.items()
        if host in now
        for name, value in answers.items()
        if name.startswith("etcd.") and now[host].get(name) != value
    ]
