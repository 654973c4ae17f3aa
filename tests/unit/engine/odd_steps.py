"""Step types for the world whose changes are hard to judge: what the policies are for."""

from __future__ import annotations

from collections.abc import Mapping
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
    argv,
)
from drrun.testing.steps import Value


class Do(HostStep):
    """Set a key without looking; with `proved`, what it sets is read again."""

    uses, effect, repeat = "odd.do", Effect.CHANGE, Repeat.NEVER
    key: str
    to: str
    proved: Flag = False
    first: str = ""
    """A key that is set before, in a change of its own that proves nothing."""

    def checkable(self) -> bool:
        """With `proved`."""
        return bool(self.proved)

    def run(self, host: Host) -> None:
        """Set it."""
        if self.first:
            host.change("first", argv("set", self.first, self.to))
        sets: dict[Fact[Any], Any] = {Value(self.key): self.to} if self.proved else {}
        host.change("do", argv("set", self.key, self.to), sets=sets)


class Renew(HostStep):
    """Give a key another value than it has: only what it was before tells whether it was done."""

    uses, effect, repeat = "odd.renew", Effect.CHANGE, Repeat.CHECK
    key: str
    to: str

    def transitions(self) -> Mapping[Fact[Any], Any]:
        """Something."""
        return {Value(self.key): self.to}

    def run(self, host: Host) -> None:
        """Set it, whatever it is."""
        host.change("renew", argv("set", self.key, self.to), sets={Value(self.key): CHANGED})


class Hang(HostStep):
    """Never end by itself; with `key`, a fact could tell that it was done."""

    uses, effect, repeat = "odd.hang", Effect.CHANGE, Repeat.NEVER
    authors_word = True
    key: str = ""

    def checkable(self) -> bool:
        """With a key."""
        return bool(self.key)

    def run(self, host: Host) -> None:
        """Hang."""
        sets: dict[Fact[Any], Any] = {Value(self.key): "done"} if self.key else {}
        host.change("hang", argv("hang"), sets=sets, timeout="30s")


class Both(GroupStep):
    """Set a key on the first host, never twice; then all hosts must be there."""

    uses, effect, repeat = "odd.both", Effect.CHANGE, Repeat.NEVER
    outputs = ("without",)
    key: str

    def run(self, group: Group) -> Outputs:
        """Set it, look at all."""
        group.hosts[0].change("set", argv("set", self.key, "v"))
        group.read(Value(self.key))
        return {"without": list(group.fenced)}


STEPS = (Do, Renew, Hang, Both)
FACTS = ()
