"""Which etcd a host would start, which one it runs, and how far the cluster has come with it.

A cluster takes up a minor version when its last member has it; from then on no member of the one
before starts on its data (etcd.io, "Upgrade etcd from 3.4 to 3.5": downgrade).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from drrun.spi import Command, Fact, Reply, sh
from drrun_steps.etcd.access import FETCH, MemberFact
from drrun_steps.etcd.settings import SETTINGS

_PROGRAM = (
    SETTINGS
    + r"""
if [ -x "$own_way" ]; then echo by=command; exit 0; fi
if [ -r "$MANIFEST" ]; then
  echo by=pod; sed -n 's/^ *image: *//p' "$MANIFEST" | head -n 1 | sed 's/^/path=/'; exit 0
fi
[ -n "$words" ] || { echo by=none; exit 0; }
program=$(printf '%s\n' "$words" | head -n 1)
printf 'by=unit\npath=%s\n' "$program"
env -i PATH="$PATH" timeout 10 "$program" --version 2>/dev/null | sed -n 's/^etcd Version: /version=/p'
"""
)


@dataclass(frozen=True, slots=True)
class Program:
    """What a host would start as etcd. `by`: what starts it."""

    by: Literal["unit", "pod", "command", "none"]
    path: str = ""
    """The program, or the image of a static pod."""
    version: str = ""
    """As 3.5.16; empty where the program does not say."""


@dataclass(frozen=True, slots=True)
class EtcdProgram(Fact[Program]):
    """The program that a start of etcd would run, and its version; not the one that runs."""

    name: ClassVar[str] = "etcd.program"
    service: str = "etcd"

    def about(self) -> tuple[str, ...]:
        """The file."""
        return (f"program:{self.service}",)

    def ask(self) -> Command:
        """The unit's first word, asked for its version."""
        return sh(_PROGRAM, SERVICE=self.service)

    def parse(self, reply: Reply) -> Program:
        """Raises ValueError when the script broke off."""
        said = dict(line.partition("=")[::2] for line in reply.text.splitlines())
        by = said.get("by", "")
        if reply.exit != 0 or by not in {"unit", "pod", "command", "none"}:
            raise ValueError(f"cannot tell which etcd would be started: {reply.complaint!r}")
        return Program(by, said.get("path", ""), said.get("version", ""))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class EtcdClusterVersion(MemberFact[str]):
    """The minor version that the whole cluster has taken up, as `3.5`; empty where nobody says."""

    name: ClassVar[str] = "etcd.cluster_version"

    def about(self) -> tuple[str, ...]:
        """What all members have agreed on."""
        return (f"@{self.service}",)

    def ask(self) -> Command:
        """`/version` of the member here."""
        return self._client(FETCH + 'fetch "$own/version"')

    def parse(self, reply: Reply) -> str:
        """Not answering is an answer."""
        if reply.exit != 0:
            return ""
        told = str(json.loads(reply.text).get("etcdcluster", ""))
        return told.rpartition(".")[0] if parsed(told) else ""


def parsed(version: str) -> tuple[int, int, int] | None:
    """`3.5.16` as numbers; None for what is no version. A build's own suffix does not count."""
    match = re.match(r"(\d+)\.(\d+)\.(\d+)(?![.\d])", version)
    return (int(match[1]), int(match[2]), int(match[3])) if match else None


FACTS: tuple[type[Fact[Any]], ...] = (EtcdProgram, EtcdClusterVersion)
