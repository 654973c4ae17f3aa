"""Step types whose effects can be counted on the host: each writes one line more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from drrun.spi import (
    Command,
    Effect,
    Fact,
    Group,
    GroupStep,
    Host,
    HostStep,
    Outputs,
    Repeat,
    Reply,
    sh,
)

COUNT = 'mkdir -p "${F%/*}"; echo "$L" >>"$F"; echo "wrote $L"'


@dataclass(frozen=True, slots=True)
class Lines(Fact[int]):
    """How many lines of a file say a word."""

    name: ClassVar[str] = "crash.lines"
    path: str
    word: str

    def about(self) -> tuple[str, ...]:
        """The file."""
        return (f"file:{self.path}",)

    def ask(self) -> Command:
        """Count them."""
        return sh('[ ! -e "$F" ] || grep -c -x -- "$L" "$F" || :', F=self.path, L=self.word)

    def parse(self, reply: Reply) -> int:
        """The number."""
        return int(reply.text.strip() or 0)


class Once(HostStep):
    """Write a line, and never twice: nothing tells afterwards but the host's own claim."""

    uses, effect, repeat = "crash.once", Effect.CHANGE, Repeat.NEVER
    outputs = ("said",)
    file: str
    word: str
    slow: str = "0"

    def run(self, host: Host) -> Outputs:
        """Write it."""
        command = sh(f'sleep "$S"; {COUNT}', F=self.file, L=self.word, S=self.slow)
        said = host.change("write", command, returns=lambda reply: reply.text.strip())
        return {"said": said}


class Checked(HostStep):
    """Write a line unless it is there: the fact that it sets is its check."""

    uses, effect, repeat = "crash.checked", Effect.CHANGE, Repeat.CHECK
    file: str
    word: str

    def transitions(self) -> Mapping[Fact[Any], Any]:
        """The line is there."""
        return {Lines(self.file, self.word): 1}

    def run(self, host: Host) -> None:
        """Write it if it is not there."""
        fact = Lines(self.file, self.word)
        if host.read(fact) == 0:
            host.change("write", sh(COUNT, F=self.file, L=self.word), sets={fact: 1})


class Sent(HostStep):
    """Copy a file to the host, then write a line about it."""

    uses, effect, repeat = "crash.sent", Effect.CHANGE, Repeat.NEVER
    source: str
    file: str
    word: str

    def run(self, host: Host) -> None:
        """Copy and write."""
        host.change("folder", sh('mkdir -p "${F%/*}"', F=self.file), repeat=Repeat.SAFE)
        host.put("copy", Path(self.source), f"{self.file}.copy")
        host.change("write", sh(COUNT, F=self.file, L=self.word))


class Equal(GroupStep):
    """Every host must have written the word as often as the first one."""

    uses, effect, repeat = "crash.equal", Effect.READ, Repeat.SAFE
    outputs = ("count",)
    file: str
    word: str

    def run(self, group: Group) -> Outputs:
        """Compare."""
        counts = group.read(Lines(self.file, self.word))
        for host in group.hosts:
            host.require(Lines(self.file, self.word), 1, because="every effect happens once")
        return {"count": max(counts.values())}


STEPS = (Once, Checked, Sent, Equal)
FACTS = (Lines,)
