"""The smallest steps there are: what is timed is the engine, not the command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from drrun.spi import Command, Effect, Fact, Host, HostStep, Repeat, Reply, sh


@dataclass(frozen=True, slots=True)
class Nothing(Fact[str]):
    """A fact that costs nothing to answer."""

    name: ClassVar[str] = "bench.nothing"

    def about(self) -> tuple[str, ...]:
        """Nothing."""
        return ("nothing",)

    def ask(self) -> Command:
        """The floor's command."""
        return sh("echo x >/dev/null")

    def parse(self, reply: Reply) -> str:
        """Nothing."""
        return reply.text


class Never(HostStep):
    """A change that may never run twice."""

    uses, effect, repeat = "bench.never", Effect.CHANGE, Repeat.NEVER

    def run(self, host: Host) -> None:
        """One change."""
        host.change("change", sh("echo x >/dev/null"))


class Safe(HostStep):
    """A change that is safe to repeat."""

    uses, effect, repeat = "bench.safe", Effect.CHANGE, Repeat.SAFE

    def run(self, host: Host) -> None:
        """One change."""
        host.change("change", sh("echo x >/dev/null"))


class Read(HostStep):
    """A question."""

    uses, effect, repeat = "bench.read", Effect.READ, Repeat.SAFE

    def run(self, host: Host) -> None:
        """One read."""
        host.read(Nothing())


STEPS = (Never, Safe, Read)
FACTS = (Nothing,)
