"""What an undo could not prove: how the journal holds it, and the asking again when all is undone.

A service may wait for others that the undo brings back later. So nothing that an undo waits for keeps the
rest away; and nothing that could not be proved is forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from drrun.errors import ConnectError, StepFailed
from drrun.execute.asking import short, until
from drrun.execute.means import Means
from drrun.execute.view import Owed, encoded
from drrun.spi import Fact
from drrun.values import HostName, Json

PATIENCE = 100.0
"""Seconds in which what a unit owes may still come, once all is undone: as long as a start may take."""


class Makes(Protocol):
    """Facts by name."""

    def make_fact(self, name: str, args: Mapping[str, object]) -> Fact[Any]:
        """A fact with its arguments."""
        ...


def missing(means: Means, host: HostName, owed: Owed, *, within: float) -> str:
    """What was found instead; empty as soon as it is so. Raises Detached when asked to leave meanwhile."""
    try:
        found = until(
            means.hosts.line(host),
            owed.fact,
            lambda now: bool(now == owed.must),
            within=within,
            clock=means.clock,
            stop=means.stop,
        )
    except (StepFailed, ConnectError) as error:
        return error.message
    if found == owed.must:
        return ""
    must = short(encoded(owed.fact, owed.must))
    answer = short(encoded(owed.fact, found))
    return f"{host}: {short(owed.fact.key)} is {answer}, must be {must}: {owed.because}"


def written(host: HostName, owed: Owed, found: str) -> dict[str, Json]:
    """What is owed, as the journal holds it."""
    ref = owed.fact.ref
    return {
        "host": host,
        "fact": ref.name,
        "args": dict(ref.args),
        "must": encoded(owed.fact, owed.must),
        "because": owed.because,
        "hint": owed.hint,
        "found": found,
    }


def read(makes: Makes, line: Mapping[str, Json]) -> tuple[HostName, Owed]:
    """What the journal says is owed. Raises AuthorError where its fact is known no more."""
    args = line["args"]
    assert isinstance(args, dict)
    fact = makes.make_fact(str(line["fact"]), args)
    must = fact.answers.validate_python(line["must"])
    owed = Owed(fact, must, str(line["because"]), str(line["hint"]))
    return HostName(str(line["host"])), owed
