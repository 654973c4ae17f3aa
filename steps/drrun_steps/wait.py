"""Wait for a condition on a host. A condition, never a time: nobody knows how long things take."""

from __future__ import annotations

from typing import Any

from drrun.spi import Effect, Fact, Flag, Host, HostStep, Repeat, Step, Whole
from drrun_steps.fields import Words
from drrun_steps.host import HostListening
from drrun_steps.probes import CommandCheck, HttpAnswer, answers


class _Wait(HostStep):
    """What all waits share."""

    effect = Effect.READ
    repeat = Repeat.SAFE

    within: str = "60s"
    """How long at most."""
    because: str = "the runbook goes on from here only in that state"
    """The reason that an operator is shown."""


class Port(_Wait):
    """Wait until a TCP port of the host is listened on, or is free."""

    uses = "wait.port"

    port: Whole
    """The port."""
    open: Flag = True
    """Whether it must be listened on; false: nobody may."""

    def run(self, host: Host) -> None:
        """One read, waited for."""
        fact = HostListening(self.port)
        host.require(fact, bool(self.open), because=self.because, within=self.within)


class Done(_Wait):
    """Wait until a read-only command ends with 0. It must change nothing: dry-runs run it too."""

    uses = "wait.command"

    argv: Words
    """The program and its arguments."""

    def run(self, host: Host) -> None:
        """One read, waited for."""
        host.require(CommandCheck(self.argv), True, because=self.because, within=self.within)


class Answers(_Wait):
    """Wait until a URL, asked from the host, answers with this status and text."""

    uses = "wait.http"

    url: str
    """What to ask."""
    status: Whole = 200
    """The status that it must answer."""
    body: str = ""
    """A text that must be in the body."""
    cacert: str = ""
    """A file on the host with the authority that signed the server's certificate."""
    insecure: Flag = False
    """Whether any certificate will do."""

    def run(self, host: Host) -> None:
        """One read, waited for."""
        host.require(
            HttpAnswer(self.url, self.cacert, bool(self.insecure)),
            answers(self.status, self.body),
            because=self.because,
            within=self.within,
        )


STEPS: tuple[type[Step], ...] = (Port, Done, Answers)
FACTS: tuple[type[Fact[Any]], ...] = ()
