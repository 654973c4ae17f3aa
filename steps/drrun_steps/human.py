"""Ask the person who runs this. What a person says is journaled, like any answer."""

from __future__ import annotations

from typing import Any

from drrun.spi import Effect, Fact, Host, HostStep, Outputs, Refused, Repeat, Step


class Confirm(HostStep):
    """Ask the operator and go on only on the expected word. Without a terminal the run waits."""

    uses = "human.confirm"
    effect = Effect.READ
    repeat = Repeat.SAFE
    outputs = ("answer",)

    question: str
    """What is asked: what has been done by hand, or seen, before the run may go on."""
    expect: str = "yes"
    """The word that must be typed."""

    def run(self, host: Host) -> Outputs:
        """Ask once."""
        answer = host.ask(self.question, expect=self.expect)
        if answer != self.expect:
            raise Refused(
                f"the answer to {self.question!r} was {answer!r}, not {self.expect!r}",
                hint="resume the run to be asked again, or abort it",
            )
        return {"answer": answer}


STEPS: tuple[type[Step], ...] = (Confirm,)
FACTS: tuple[type[Fact[Any]], ...] = ()
