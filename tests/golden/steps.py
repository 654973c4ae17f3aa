"""The step types of the golden runs.

Rule 1: never change what one of these does: a kept journal is resumed with it. A new scene that needs
something else gets a new step type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from drrun.spi import (
    Command,
    Done,
    Effect,
    Fact,
    Host,
    HostStep,
    Outputs,
    Question,
    Repeat,
    Reply,
    Where,
    argv,
)


@dataclass(frozen=True, slots=True)
class Value(Fact[str]):
    """A key's value on a host."""

    name: ClassVar[str] = "golden.value"
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


class Set(HostStep):
    """Set a key, note it, and give what the command said."""

    uses, effect, repeat = "golden.set", Effect.CHANGE, Repeat.NEVER
    outputs = ("was", "said")
    key: str
    to: str

    def transitions(self) -> Mapping[Fact[Any], Any]:
        """The key has the value."""
        return {Value(self.key): self.to}

    def run(self, host: Host) -> Outputs:
        """Set it."""
        was, said = host.read(Value(self.key)), ""
        if was != self.to:
            said = host.change(
                "set",
                argv("set", self.key, self.to),
                sets={Value(self.key): self.to},
                returns=lambda reply: reply.text.strip(),
            )
        host.note(f"{self.key} was {was or 'nothing'}")
        host.measure("keys", 1)
        return {"was": was, "said": said}

    def undo(self, host: Host, done: Done) -> None:
        """Set it back."""
        before = done.before(Value(self.key))
        if done.did("set") and before is not None:
            host.change("unset", argv("set", self.key, before), sets={Value(self.key): before})


class Fail(HostStep):
    """Fail with an exit code."""

    uses, repeat = "golden.fail", Repeat.SAFE
    code: str = "3"

    def run(self, host: Host) -> None:
        """Fail."""
        host.change("fail", argv("fail", self.code))


class Await(HostStep):
    """Wait for a value that is asked for before anything is taken away."""

    uses, effect, repeat = "golden.await", Effect.READ, Repeat.SAFE
    key: str
    value: str

    def questions(self, at: Where) -> Sequence[Question]:
        """The same value, while the server runs."""
        return [
            Question(
                f"await:{self.key}",
                Value(self.key),
                must=self.value,
                because="a later step waits for it",
                hint=f"set it on {at.name}",
                up=[(Value("server"), "running")],
            )
        ]

    def run(self, host: Host) -> None:
        """One read."""
        host.require(Value(self.key), self.value, because="the runbook says so")


class Ask(HostStep):
    """Ask a person before anything is set."""

    uses, effect, repeat = "golden.ask", Effect.CHANGE, Repeat.NEVER
    key: str
    to: str

    def run(self, host: Host) -> None:
        """Ask, then set."""
        if host.ask(f"Set {self.key} to {self.to}?", expect="yes") == "yes":
            host.change("set", argv("set", self.key, self.to), sets={Value(self.key): self.to})


STEPS = (Set, Fail, Await, Ask)
FACTS = (Value,)
