"""Facts asked of a real shell: what comes back in part is no answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest

from drrun.errors import StepFailed
from drrun.execute.asking import ask_facts
from drrun.spi import Command, Fact, Reply, sh

from .conftest import Lines


@dataclass(frozen=True, slots=True)
class Printed(Fact[int]):
    """How much a script prints; a failing script has no answer."""

    name: ClassVar[str] = "test.printed"
    text: str

    def about(self) -> tuple[str, ...]:
        """Nothing in particular."""
        return ()

    def ask(self) -> Command:
        """The script."""
        return sh(self.text)

    def parse(self, reply: Reply) -> int:
        """The size of its stdout."""
        if reply.exit:
            raise ValueError(f"exit {reply.exit}")
        return len(reply.stdout)


FLOOD = Printed("head -c 5000000 /dev/zero; exit 3")


def test_answers_of_any_bytes_are_told_apart(lines: Lines) -> None:
    """One round trip for all; what a fact prints, and how its script ends, stays its own."""
    facts = [Printed("printf '\\000\\n\\n\\377'"), Printed("seq 300000"), Printed(":")]
    assert ask_facts(lines(), facts) == [4, 1_988_895, 0]


@pytest.mark.parametrize(
    "facts", [[FLOOD], [FLOOD, Printed(":")], [Printed(":"), FLOOD]], ids=["alone", "first", "last"]
)
def test_half_an_answer_is_none(lines: Lines, facts: list[Printed]) -> None:
    """Beyond 4 MiB nobody could tell how a script ended: a failure of one must not read as a success."""
    with pytest.raises(StepFailed, match="larger than 4 MiB"):
        ask_facts(lines(), facts)
