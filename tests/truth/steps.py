"""Step types for generated runbooks: between them, everything that a step may do to a forecast.

Keys of the small world stand for components. A value that `mint` makes is one that only a run knows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from drrun.spi import (
    CHANGED,
    Effect,
    Fact,
    Flag,
    Group,
    GroupStep,
    Host,
    HostStep,
    Outputs,
    Repeat,
    Reply,
    argv,
    satisfies,
)
from drrun.testing.steps import Value
from drrun.testing.world import World
from drrun.values import HostName


@dataclass
class Mint(World):
    """A world that knows one command more: `mint KEY` gives a key a value that nobody foresees."""

    minted: int = 0
    made: list[tuple[HostName, tuple[str, ...]]] = field(default_factory=list)

    def perform(self, host: HostName, script: bytes) -> Reply:
        """Mint, or what the world does."""
        words = script.decode().removeprefix("exec ").split()
        if words[:1] != ["mint"] or len(words) != 2:
            return super().perform(host, script)
        self.minted += 1
        value = f"coin-{self.minted}"
        self.of(host)[words[1]] = value
        return Reply(0, f"{value}\n".encode(), b"")


def _text(reply: Reply) -> str:
    return reply.text.strip()


class _Step(HostStep):
    effect, repeat = Effect.CHANGE, Repeat.SAFE
    to: str

    def checkable(self) -> bool:
        """Safe to repeat: nobody needs to ask."""
        return True


class Carry(_Step):
    """Give one key the value of another one, whatever that is: a hole may travel."""

    uses, outputs = "truth.carry", ("carried",)
    key: str

    def run(self, host: Host) -> Outputs:
        """Pass it on."""
        value = host.read(Value(self.key))
        host.change("carry", argv("set", self.to, value), sets={Value(self.to): value})
        return {"carried": value}


class Maybe(_Step):
    """Two changes, each made only if a key is, or is not, what is said."""

    uses = "truth.maybe"
    key: str
    is_: str
    value: str

    def run(self, host: Host) -> None:
        """The second looks at what the first may have set."""
        same = satisfies(f"{self.is_}", lambda now: now == self.is_)
        other = satisfies(f"not {self.is_}", lambda now: now != self.is_)
        sets: dict[Fact[Any], str] = {Value(self.to): self.value}
        host.change(
            "first", argv("set", self.to, self.value), sets=sets, only_if=(Value(self.key), same)
        )
        host.change(
            "second",
            argv("set", self.to, self.is_),
            sets={Value(self.to): self.is_},
            only_if=(Value(self.to), other),
        )


class Coin(_Step):
    """Give a key a value that only the run knows, and hand it on as an output."""

    uses, outputs = "truth.coin", ("coin",)
    proved: Flag = False

    def run(self, host: Host) -> Outputs:
        """Mint it."""
        sets: dict[Fact[Any], Any] = {Value(self.to): CHANGED} if self.proved else {}
        coin = host.change(
            "mint", argv("mint", self.to), sets=sets, touches=Value(self.to).about(), returns=_text
        )
        return {"coin": coin}


class Branch(_Step):
    """One change that is sure, then one of two: what is read decides, and a hole ends it there."""

    uses = "truth.branch"
    key: str
    is_: str

    def run(self, host: Host) -> None:
        """Look, then change."""
        now = host.read(Value(self.key))
        host.change("before", argv("set", "trace", "seen"), sets={Value("trace"): "seen"})
        if now == self.is_:
            host.change("yes", argv("set", self.to, "yes"), sets={Value(self.to): "yes"})
        else:
            host.change("no", argv("set", self.to, "no"), sets={Value(self.to): "no"})


class Insist(_Step):
    """A key must be what is said, before a change and after it."""

    uses = "truth.insist"
    key: str
    is_: str

    def run(self, host: Host) -> None:
        """Refused before the change, failed after it."""
        host.require(Value(self.key), self.is_, because="the step insists")
        host.change("set", argv("set", self.to, self.is_), sets={Value(self.to): self.is_})
        host.require(Value(self.key), self.is_, because="it must not have moved", within="1s")


class Bare(_Step):
    """Set a key and declare nothing of it: a command by hand."""

    uses = "truth.bare"
    value: str

    def run(self, host: Host) -> None:
        """Set it."""
        host.change("bare", argv("set", self.to, self.value))


class _Group(GroupStep):
    effect, repeat = Effect.CHANGE, Repeat.SAFE
    key: str
    to: str

    def checkable(self) -> bool:
        """Safe to repeat: nobody needs to ask."""
        return True


class Spread(_Group):
    """Set a key on every host where another one differs from the first host's, in their order."""

    uses, outputs = "truth.spread", ("first",)

    def run(self, group: Group) -> Outputs:
        """Read all, then change one by one, the greatest value first."""
        values = group.read(Value(self.key))
        first = values[group.hosts[0].name]
        for host in sorted(group.hosts, key=lambda h: values[h.name], reverse=True):
            if values[host.name] != first:
                host.change(
                    "spread",
                    argv("set", self.to, first or "none"),
                    sets={Value(self.to): first or "none"},
                )
        return {"first": first or "none"}


class Pick(_Group):
    """Choose one host by a key, and change that one."""

    uses, outputs = "truth.pick", ("host",)
    is_: str

    def run(self, group: Group) -> Outputs:
        """Choose it, preferring one where `to` has a value already."""
        fits = satisfies(f"not {self.is_}", lambda now: now != self.is_)
        host = group.choose("one", Value(self.key), fits, prefer=Value(self.to))
        host.change("pick", argv("set", self.to, "picked"), sets={Value(self.to): "picked"})
        return {"host": host.name}


class Foreign(_Group):
    """Act on a host that is none of the step's own: the last one of another role."""

    uses = "truth.foreign"
    role: str = "members"

    def run(self, group: Group) -> None:
        """Set there what the first one has here."""
        value = group.hosts[0].read(Value(self.key))
        there = group.role(self.role)[-1]
        if value == "a":
            there.change("foreign", argv("set", self.to, "b"), sets={Value(self.to): "b"})
        else:
            there.change("foreign", argv("set", self.to, "c"), touches=Value(self.to).about())


STEPS = (Carry, Maybe, Coin, Branch, Insist, Bare, Spread, Pick, Foreign)
FACTS = ()
