"""Options that many verbs share, once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from drrun.errors import UsageError
from drrun.model.fencing import METHODS, Fencing
from drrun.values import HostName

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


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """What must be so before a run is begun."""

    window: str = ""
    """When what is behind the safe point may begin, as 22:00-02:00 in UTC: not unless it is then open for as long as that took in earlier runs, undo included. Once begun, nothing stops it."""
    rehearsed: str = ""
    """Refused unless this runbook, as it stands now, was run to its good end within that time, as 90d, on whatever cluster; only runs that are kept here count."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """Hosts that a run goes on without."""

    fenced: Annotated[list[str] | None, Parameter(name="--fenced")] = None
    """HOST=METHOD: a host that cannot act any more, and how that was made sure of: power (off or unplugged), hypervisor (stopped there), network (cut off from the others). Repeatable; with --reason."""
    reason: str = ""
    """With --fenced: the evidence. It goes into the journal and every report, with your name."""

    @property
    def words(self) -> list[str]:
        """The same as words of a command line."""
        hosts = [word for host in self.fenced or () for word in ("--fenced", host)]
        return [*hosts, "--reason", self.reason] if hosts else []

    def fencings(self, by: str) -> tuple[Fencing, ...]:
        """What was said. Raises UsageError."""
        found: dict[HostName, Fencing] = {}
        for word in self.fenced or ():
            host, _, method = word.partition("=")
            if not host or method not in METHODS:
                known = "; ".join(f"{name}: {meaning}" for name, meaning in METHODS.items())
                raise UsageError(f"--fenced takes HOST=METHOD, not {word!r}", hint=known)
            if not self.reason.strip():
                raise UsageError(
                    f"--fenced {word} needs a --reason: what shows that {host} cannot act?",
                    hint=f'--fenced {word} --reason "outlet 4 is off, seen dark"',
                )
            found[HostName(host)] = Fencing(HostName(host), method, self.reason.strip(), by)
        return tuple(found.values())


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
