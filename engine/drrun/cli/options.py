"""Options that many verbs share, once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from drrun.errors import UsageError

Output = Literal["text", "json"]
Color = Literal["auto", "always", "never"]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a verb shows what it has."""

    output: Annotated[Output, Parameter(name=["--output", "-o"])] = "text"
    """Text for people, or JSON for programs."""
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"])] = False
    """No progress, only the result."""
    verbose: Annotated[int, Parameter(name=["--verbose", "-v"], count=True)] = 0
    """More: every fact that was asked."""
    color: Color = "auto"
    """Colours; auto: on a terminal, unless NO_COLOR is set or TERM is dumb."""


InventoryPath = Annotated[
    Path | None,
    Parameter(
        name=["--inventory", "-i"],
        help="The inventory; else $DRRUN_INVENTORY, else ./inventory.yaml.",
    ),
]


def find_inventory(given: Path | None) -> Path:
    """-i, $DRRUN_INVENTORY, ./inventory.yaml, in this order. Raises UsageError."""
    if given is not None:
        return given
    named = os.environ.get("DRRUN_INVENTORY")
    if named:
        return Path(named)
    here = Path("inventory.yaml")
    if here.exists():
        return here
    raise UsageError(
        "there is no inventory: -i was not given, DRRUN_INVENTORY is not set, "
        "and there is no ./inventory.yaml",
        hint="name one: -i INVENTORY, or begin one with `drrun init DIR`",
    )


def answers(extra: tuple[str, ...]) -> dict[str, str]:
    """`-e KEY=VALUE` pairs. Raises UsageError on one that is none, or is given twice."""
    found: dict[str, str] = {}
    for pair in extra:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            raise UsageError(f"-e takes KEY=VALUE, not {pair!r}", hint="-e snapshot=/path/to/file")
        if key in found:
            raise UsageError(f"-e {key}=… is given twice", hint="give it once")
        found[key] = value
    return found
