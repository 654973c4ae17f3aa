"""Step types for the world of `drrun.testing.world`: what a plugin looks like, in one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from drrun.spi import (
    Command,
    Done,
    Effect,
    Fact,
    FactRef,
    Group,
    GroupStep,
    Host,
    HostStep,
    Json,
    Outputs,
    Repeat,
    Reply,
    Rule,
    argv,
)


@dataclass(frozen=True, slots=True)
class Value(Fact[str]):
    """A key's value on a host of the world."""

    name: ClassVar[str] = "world.value"
    when_fenced: ClassVar[str] = "stopped"
    key_: str

    def about(self) -> tuple[str, ...]:
        """The key."""
        return (f"key:{self.key_}",)

    def ask(self) -> Command:
        """Read it."""
        return argv("get", self.key_)

    def parse(self, reply: Reply) -> str:
        """The text."""
        return reply.text

    def pinned(self, answer: str) -> Json:
        """The key `cluster` says which world this is; all others may move."""
        return answer if self.key_ == "cluster" else None


class Set(HostStep):
    """Set a key of the world, unless it has the value already."""

    uses, effect, repeat = "world.set", Effect.CHANGE, Repeat.NEVER
    outputs = ("was",)
    key: str
    to: str

    def transitions(self) -> Mapping[Fact[Any], Any]:
        """The key has the value."""
        return {Value(self.key): self.to}

    def run(self, host: Host) -> Outputs:
        """Set it."""
        was = host.read(Value(self.key))
        if was != self.to:
            host.change("set", argv("set", self.key, self.to), sets={Value(self.key): self.to})
        return {"was": was}

    def undo(self, host: Host, done: Done) -> None:
        """Set it back."""
        before = done.before(Value(self.key))
        if done.did("set") and before is not None:
            host.change("unset", argv("set", self.key, before), sets={Value(self.key): before})


class SafeSet(Set):
    """The same, safe to repeat."""

    uses, repeat = "world.safe-set", Repeat.SAFE


class Wipe(Set):
    """Set a key of the world, destroying what was there; guarded by the rule it carries."""

    uses, effect = "world.wipe", Effect.DESTROY
    guard_key: str = "server"
    role: str = "members"

    def rules(self) -> Sequence[Rule]:
        """The guard key must be `stopped` everywhere."""
        fact = FactRef("world.value", {"key_": self.guard_key})
        return (Rule(fact, self.role, "stopped", "wiping under a live server loses data"),)


class Fail(HostStep):
    """Fail with an exit code."""

    uses, repeat = "world.fail", Repeat.SAFE
    code: str = "3"

    def run(self, host: Host) -> None:
        """Fail."""
        host.change("fail", argv("fail", self.code))


class Agree(GroupStep):
    """All hosts must have the same value of a key."""

    uses, effect, repeat = "world.agree", Effect.READ, Repeat.SAFE
    outputs = ("value",)
    key: str

    def run(self, group: Group) -> Outputs:
        """Compare."""
        values = group.read(Value(self.key))
        first = group.hosts[0]
        for host in group.hosts:
            host.require(Value(self.key), values[first.name], because="they must agree")
        return {"value": values[first.name]}


STEPS = (Set, SafeSet, Wipe, Fail, Agree)
FACTS = (Value,)
