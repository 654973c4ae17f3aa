"""One program with its arguments; no shell in between.

Nobody but the author can say what a command does, so that it is never repeated by itself: a lost
result is unknown until a person, or `check`, says what became of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from drrun.spi import ANYTHING, Effect, Fact, Host, HostStep, Outputs, Repeat, Step, TooLarge, argv
from drrun_steps.fields import Listed, Numbers, Words
from drrun_steps.probes import CommandCheck, text_of
from drrun_steps.unseen import unseen


class Run(HostStep):
    """Run one program. Never sent a second time unless `check` says that it has not been done.

    `argv` is a list: each element is one word, whatever blanks or quotes are in it. There is no
    undo; write the reverse as a step of its own. All that it prints is in `drrun logs`, up to the
    cap; `stdout` can be referred to when it has at most 64 KiB.
    """

    uses = "command"
    effect = Effect.CHANGE
    repeat = Repeat.NEVER
    authors_word = True
    outputs = ("stdout",)

    argv: Words
    """The program and its arguments."""
    check: Words = ()
    """A read-only command that ends with 0 when this need not be done (any more)."""
    exits: Numbers = (0,)
    """Exits that are a success."""
    touches: Listed = (ANYTHING,)
    """Components that it may change, as service:etcd: a dry-run forgets what it knows of them."""
    timeout: str = "10m"
    """How long it may take; a command that was killed is unknown, not failed."""

    def cautions(self) -> Sequence[str]:
        """A change of etcd or Kubernetes by hand."""
        return unseen(" ".join(str(word) for word in self.argv))

    def checkable(self) -> bool:
        """With `check`."""
        return bool(self.check)

    def run(self, host: Host) -> Outputs:
        """Look at `check`, then run it once."""
        fact = CommandCheck(self.check)
        done = host.read(fact) if self.check else False
        if done:
            return {"stdout": ""}
        try:
            stdout = host.change(
                "run",
                argv(*self.argv),
                sets={fact: True} if self.check else None,
                touches=self.touches,
                returns=text_of,
                repeat=Repeat.CHECK if self.check else None,
                timeout=self.timeout,
                exits=self.exits,
            )
        except TooLarge as error:
            host.note(f"no `stdout` to refer to: {error.message}")
            return {}
        return {"stdout": stdout}


STEPS: tuple[type[Step], ...] = (Run,)
FACTS: tuple[type[Fact[Any]], ...] = (CommandCheck,)
