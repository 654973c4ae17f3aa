"""Ask a URL from a host and look at the answer."""

from __future__ import annotations

from typing import Any

from drrun.spi import (
    Effect,
    Fact,
    Flag,
    Host,
    HostStep,
    Outputs,
    Repeat,
    Step,
    Whole,
)
from drrun_steps.probes import HttpAnswer, answers


class Get(HostStep):
    """Ask a URL from the host and expect a status, and a text in the body."""

    uses = "http.get"
    effect = Effect.READ
    repeat = Repeat.SAFE
    outputs = ("status", "body")

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
    because: str = "the runbook goes on from here only when this answers"
    """The reason that an operator is shown."""
    within: str = ""
    """How long to wait for it."""

    def run(self, host: Host) -> Outputs:
        """One read, waited for."""
        found = host.require(
            HttpAnswer(self.url, self.cacert, bool(self.insecure)),
            answers(self.status, self.body),
            because=self.because,
            within=self.within,
        )
        return {"status": found.status, "body": found.body}


STEPS: tuple[type[Step], ...] = (Get,)
FACTS: tuple[type[Fact[Any]], ...] = (HttpAnswer,)
