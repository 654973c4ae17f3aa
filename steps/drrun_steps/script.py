"""A POSIX sh script. Its text is never templated: values go in as environment variables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import Field

from drrun.spi import (
    ANYTHING,
    OPAQUE,
    Command,
    Effect,
    Fact,
    Host,
    HostStep,
    Outputs,
    Repeat,
    Reply,
    Step,
    TooLarge,
    sh,
)
from drrun_steps.fields import Listed, Numbers, Variables
from drrun_steps.probes import text_of
from drrun_steps.unseen import unseen


@dataclass(frozen=True, slots=True)
class ScriptCheck(Fact[bool]):
    """Whether a read-only script ends with 0. It must change nothing: a dry-run runs it too."""

    name: ClassVar[str] = "script.check"
    script: str

    def about(self) -> tuple[str, ...]:
        """Its own text, which the step that it checks sets; and nobody knows what it asks."""
        return (f"check:{self.script}", OPAQUE)

    def ask(self) -> Command:
        """The script itself; what it says on stdout is nobody's answer."""
        return sh(f"exec >/dev/null\n{self.script}")

    def parse(self, reply: Reply) -> bool:
        """Its exit."""
        return reply.exit == 0


class Script(HostStep):
    """Run a POSIX sh script. Never sent a second time unless `check_script` says it has not been done.

    A value with a quote or a dollar in it stays a value, since it travels in `env` and the text
    is sent as it stands. There is no undo; write the reverse as a step of its own. All that it
    prints is in `drrun logs`, up to the cap; `stdout` can be referred to when it has at most 64 KiB.
    """

    uses = "script"
    effect = Effect.CHANGE
    repeat = Repeat.NEVER
    authors_word = True
    outputs = ("stdout",)

    script: str
    """The text, never templated. Begin it with `set -eu`: otherwise only its last command decides."""
    env: Variables = Field(default_factory=dict)
    """Environment variables, which may be templates."""
    check_script: str = ""
    """A read-only script, never templated, that ends with 0 when this need not be done (any more)."""
    exits: Numbers = (0,)
    """Exits that are a success."""
    touches: Listed = (ANYTHING,)
    """Components that it may change, as service:etcd: a dry-run forgets what it knows of them."""
    timeout: str = "10m"
    """How long it may take; a script that was killed is unknown, not failed."""

    def cautions(self) -> Sequence[str]:
        """Changes of etcd or Kubernetes by hand."""
        return unseen(self.script)

    def checkable(self) -> bool:
        """With `check_script`."""
        return bool(self.check_script)

    def run(self, host: Host) -> Outputs:
        """Look at `check_script`, then run it once."""
        fact = ScriptCheck(self.check_script)
        done = host.read(fact) if self.check_script else False
        if done:
            return {"stdout": ""}
        try:
            stdout = host.change(
                "run",
                Command(text=self.script, env=self.env),
                sets={fact: True} if self.check_script else None,
                touches=self.touches,
                returns=text_of,
                repeat=Repeat.CHECK if self.check_script else None,
                timeout=self.timeout,
                exits=self.exits,
            )
        except TooLarge as error:
            host.note(f"no `stdout` to refer to: {error.message}")
            return {}
        return {"stdout": stdout}


STEPS: tuple[type[Step], ...] = (Script,)
FACTS: tuple[type[Fact[Any]], ...] = (ScriptCheck,)
