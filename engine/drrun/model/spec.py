"""What the compiler knows of a step type and of a fact, without running either.

The registry makes these from classes that come in by the `drrun.steps` entry points; the engine
below the SPI sees nothing else of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from drrun.values import Effect, Json, Repeat


@dataclass(frozen=True, slots=True)
class FactRef:
    """A fact by name and arguments: `service.state(service=etcd)`."""

    name: str
    args: Mapping[str, Json] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The one text that names this fact in plans, journals and rules."""
        inner = ",".join(f"{name}={_plain(value)}" for name, value in sorted(self.args.items()))
        return f"{self.name}({inner})"


def _plain(value: Json) -> str:
    from drrun.values import canonical

    return value if isinstance(value, str) else canonical(value).decode()


@dataclass(frozen=True, slots=True)
class Rule:
    """Before a guarded unit, `fact` must be `value` on every host of `hosts`.

    Proved on the graph for every interleaving, and read again live before each guarded change
    and before its undo (hazard H5). `hosts` is a host expression over roles.
    """

    fact: FactRef
    hosts: str
    value: Json
    because: str
    guards: str = ""


@dataclass(frozen=True, slots=True)
class FactSpec:
    """A fact that runbooks may name in `requires`, `ensures` and `rules`."""

    name: str
    title: str
    describe: Callable[[], Mapping[str, Json]]
    """Makes the JSON Schema of its arguments."""
    check: Callable[[Mapping[str, object]], FactRef]
    """Validates arguments and gives the canonical reference; raises ValueError."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a step's `with:`; `where` is the path inside it."""

    where: tuple[str | int, ...]
    message: str


@dataclass(frozen=True, slots=True)
class Effects:
    """What one configured step promises: states it brings about, rules it carries."""

    transitions: Mapping[str, Json] = field(default_factory=dict)
    """FactRef.key -> value, at each host of the step."""
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True, slots=True)
class StepSpec:
    """A step type: its schema, its harm, and what its configured form promises."""

    uses: str
    kind: Literal["host", "group"]
    effect: Effect
    repeat: Repeat
    title: str
    doc: str
    describe: Callable[[], Mapping[str, Json]]
    """Makes the JSON Schema of `with:`; slow, so only when it is wanted."""
    fields: tuple[str, ...]
    outputs: tuple[str, ...]
    undoable: bool
    source: str
    """Where it came from: distribution and version."""
    check: Callable[[Mapping[str, object]], tuple[Problem, ...]]
    """Every problem of a `with:` mapping; values that are NotKnown are taken on trust."""
    effects: Callable[[Mapping[str, object]], Effects]
    """What a valid `with:` promises. Holes are allowed."""

    @property
    def schema(self) -> Mapping[str, Json]:
        """The JSON Schema of `with:`."""
        return self.describe()
