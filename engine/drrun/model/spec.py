"""What the compiler knows of a step type and of a fact, without running either.

The registry makes these from classes that come in by the `drrun.steps` entry points; the engine
below the SPI sees nothing else of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from drrun.model.rule import Demand, FactRef
from drrun.values import Effect, Json, Repeat


@dataclass(frozen=True, slots=True)
class FactSpec:
    """A fact that runbooks may name in `requires`, `ensures` and `rules`."""

    name: str
    title: str
    describe: Callable[[], Mapping[str, Json]]
    """Makes the JSON Schema of its arguments."""
    check: Callable[[Mapping[str, object]], FactRef]
    """Validates arguments and gives the canonical reference; raises ValueError."""
    value: Callable[[object], Json]
    """An answer as it is written in a runbook, as the fact gives it; raises ValueError."""
    when_fenced: Json = None
    """What a host counts as that the operator has fenced; None: nobody's word stands for it."""


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
    passes: Mapping[str, Json] = field(default_factory=dict)
    """FactRef.key -> a value that holds for a while on the way."""
    rules: tuple[Demand, ...] = ()
    cautions: tuple[str, ...] = ()
    """What no rule can see of this step, in words: lint warns of it."""
    checkable: bool = True
    """Whether facts that its changes set tell what became of one whose result was lost."""


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
    authors_word: bool
    """Whether the runbook may say `repeat` looser than the step type does."""
    source: str
    """Where it came from: distribution and version."""
    check: Callable[[Mapping[str, object]], tuple[Problem, ...]]
    """Every problem of a `with:` mapping; values that are NotKnown are taken on trust."""
    effects: Callable[[Mapping[str, object]], Effects]
    """What a valid `with:` promises. Holes are allowed."""

    asks: bool = False
    """Whether the type says what it waits for, to be asked before anything is taken away."""

    @property
    def schema(self) -> Mapping[str, Json]:
        """The JSON Schema of `with:`."""
        return self.describe()
