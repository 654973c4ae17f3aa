"""Step types for the world whose changes are hard to judge: what the policies are for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from drrun.spi import (
    CHANGED,
    Command,
    Done,
    Effect,
    Fact,
    Flag,
    Group,
    GroupStep,
    Host,
    HostStep,
    Outputs,
    Question,
    Repeat,
    Reply,
    Where,
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


class BothBack(Both):
    """The same, and its undo gives the key its old value."""

    uses, repeat = "odd.both-back", Repeat.SAFE

    def undo(self, group: Group, done: Done) -> None:
        """Always `old`."""
        if done.did("set"):
            group.hosts[0].change("unset", argv("set", self.key, "old"))


class Await(HostStep):
    """Wait for a value that is asked for before anything is taken away."""

    uses, effect, repeat = "odd.await", Effect.READ, Repeat.SAFE
    key: str
    value: str
    number: ClassVar[bool] = False

    def questions(self, at: Where) -> Sequence[Question]:
        """The same value, while the server runs."""
        fact: Fact[Any] = Number(self.key) if self.number else Value(self.key)
        return [
            Question(
                f"await:{self.key}",
                fact,
                must=7 if self.number else self.value,
                because="a later step waits for it",
                hint=f"set it on {at.name}",
                up=[(Value("server"), "running")],
            )
        ]

    def run(self, host: Host) -> None:
        """One read."""
        host.require(Value(self.key), self.value, because="the runbook says so")


class AwaitNumber(Await):
    """The same, of a question that not every host can answer."""

    uses = "odd.await-number"
    number = True


@dataclass(frozen=True, slots=True)
class Number(Fact[int]):
    """A key's value as a number."""

    name: ClassVar[str] = "odd.number"
    key_: str

    def about(self) -> tuple[str, ...]:
        """The key."""
        return (f"key:{self.key_}",)

    def ask(self) -> Command:
        """Read it."""
        return argv("get", self.key_)

    def parse(self, reply: Reply) -> int:
        """Raises ValueError where it is none."""
        return 7 if reply.text == "yes" else int(reply.text)


class Serve(HostStep):
    """Stop a server (its key says so); its undo starts it, and expects that its probe says yes."""

    uses, effect, repeat = "odd.serve", Effect.CHANGE, Repeat.SAFE
    server: str
    number: Flag = False
    """Whether its probe is a question that not every host can answer."""

    def run(self, host: Host) -> None:
        """Stop it."""
        fact = Value(self.server)
        host.change("stop", argv("set", self.server, "stopped"), sets={fact: "stopped"})

    def undo(self, host: Host, done: Done) -> None:
        """Start it."""
        if not done.did("stop"):
            return
        fact = Value(self.server)
        host.change("start", argv("set", self.server, "runs"), sets={fact: "runs"})
        probe = f"{self.server}-probe"
        why, hint = f"{self.server} was ready before", f"look at {self.server}"
        if self.number:
            host.expect(Number(probe), 7, because=why, hint=hint, within="5s")
        else:
            host.expect(Value(probe), "yes", because=why, hint=hint, within="5s")


STEPS = (Await, AwaitNumber, Do, Renew, Hang, Both, BothBack, Serve)
FACTS = (Number,)
