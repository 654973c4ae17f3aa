"""Who is announced as an API server, asked of a cluster in trouble: silence is an answer (H3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from drrun.spi import Command, Reply
from drrun_steps.etcd.access import MemberFact
from drrun_steps.etcd.live import why_not
from drrun_steps.kube.masterleases import TOLD, Announced, announced


@dataclass(frozen=True, slots=True)
class Announcements:
    """Who is announced as an API server. `why` says why etcd does not tell; empty when it does."""

    servers: tuple[Announced, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True)
class KubeAnnounced(MemberFact[Announcements]):
    """Who is announced as an API server, where an etcd that does not answer is an answer (H3)."""

    name: ClassVar[str] = "kube.announced"
    prefix: str = "/registry"

    def about(self) -> tuple[str, ...]:
        """The member here, and what all members have agreed on."""
        return (f"service:{self.service}", f"@{self.service}")

    def ask(self) -> Command:
        """As the pruning asks: without a quorum no lease ends, so nothing is told either."""
        return self._client(TOLD, PREFIX=self.prefix)

    def parse(self, reply: Reply) -> Announcements:
        """Not answering is an answer."""
        if reply.exit != 0:
            return Announcements(why=why_not(reply))
        return Announcements(announced(reply.text))
