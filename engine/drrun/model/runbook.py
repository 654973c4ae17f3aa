"""A runbook as its author wrote it: frozen, complete, with nothing rendered yet.

Scalars arrive as text (drrun.lang.yaml): `22:30`, `no` and `1.10` mean what they look like, and the
types here say what each must be. A value that may hold a template stays text until the plan.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from drrun.model.fencing import Unreached
from drrun.model.inventory import Part
from drrun.values import seconds

NAME = r"^[a-z][a-z0-9-]{0,62}$"
ACCEPT_ANSWERS = "accept_answers"
"""The input that every runbook has: answers, as NAME@HOST with commas between, that are accepted as they
are, though the outage will wait for others (`drrun.spi.Question`)."""


def _bool(value: object) -> object:
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


def _int(value: object) -> object:
    if isinstance(value, str) and re.fullmatch("-?[0-9]{1,18}", value):
        return int(value)
    return value


def _duration(value: object) -> object:
    return seconds(value) if isinstance(value, str) else value


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


# Strict after the conversion: pydantic would take "yes", "on", "1_000" and "5.0" as well.
# The bounds stand inside, or the JSON Schema would not have them.
Flag = Annotated[bool, Field(strict=True), BeforeValidator(_bool)]
Whole = Annotated[int, Field(strict=True, ge=0), BeforeValidator(_int)]
Count = Annotated[int, Field(strict=True, ge=1), BeforeValidator(_int)]
Duration = Annotated[float, Field(gt=0), BeforeValidator(_duration)]
Name = Annotated[str, Field(pattern=NAME)]
OnUnknown = Literal["check", "ask", "rerun"]
Names = Annotated[
    tuple[str, ...],
    BeforeValidator(_listed, json_schema_input_type=str | tuple[str, ...]),
]


class InputSpec(Part):
    """One value that the operator gives with -e NAME=VALUE."""

    type: Literal["string", "int", "bool", "duration", "path", "host", "choice"] = "string"
    """What the value must be; a path must exist and is hashed into the plan."""
    required: Flag = False
    """Whether a run without it is refused."""
    default: str | None = None
    """The value when none is given."""
    choices: tuple[str, ...] = ()
    """The accepted values of type choice."""
    empty: Flag = False
    """Whether the empty text is accepted."""
    help: str = ""
    """What it is, for `drrun RUNBOOK --help` and the docs."""


class RoleSpec(Part):
    """A group of hosts that the runbook needs."""

    min: Whole = 1
    """The least number of hosts. 0: the role may be empty, or missing in the inventory; steps that act on
    nobody else are then left out, and said to be."""
    max: Count | None = None
    """The greatest number of hosts."""
    odd: Flag = False
    """Whether the number must be odd (members of a quorum)."""
    whole: Flag = False
    """Whether --limit may not narrow it."""
    of: str | None = None
    """A role above that each of its hosts must be in."""
    default: str | None = None
    """A host expression over roles above: who it is where neither the inventory nor `-e` says."""
    help: str = ""
    """What these hosts are."""


class Objectives(Part):
    """What the run is measured against."""

    rto: Duration | None = None
    """The longest acceptable outage."""
    rpo: Duration | None = None
    """The oldest acceptable data."""


class FactTest(Part):
    """A fact, and what it must be."""

    fact: str
    """The fact's name, as in `drrun steps --facts`."""
    with_: Mapping[str, object] = Field(default_factory=dict, alias="with")
    """The fact's arguments."""
    hosts: str | None = None
    """Where it is asked; the step's own hosts when left out."""
    is_: object = Field(alias="is")
    """The value that it must have; a template is allowed."""
    within: Duration | None = None
    """How long to wait for it."""


class StateNeeded(FactTest):
    """A state that must hold before every guarded step."""

    standing: Flag = False
    """Whether it may hold from the beginning: then only a step that changes it breaks the rule."""


class StateOwed(FactTest):
    """A state that must hold after every such step, and when the runbook ends."""

    anew: Flag = False
    """Whether it must have been otherwise in between: started again, not merely running still."""


class StepNeeded(Part):
    """A step that must have been done: neither skipped nor failed."""

    uses: str
    """Its type."""
    with_: Mapping[str, object] = Field(default_factory=dict, alias="with")
    """Fields that it must have, as its step says them."""
    hosts: str | None = None
    """On which hosts, every one of them; the guarded step's own when left out."""


class Guarded(Part):
    """Which steps a rule is about: those of a type, or all that do such harm."""

    uses: str | None = None
    """A step type."""
    with_: Mapping[str, object] = Field(default_factory=dict, alias="with")
    """Fields that such a step must have, as it says them itself: a default that is left out is none."""
    effect: Literal["read", "change", "destroy"] | None = None
    """Every step of this effect."""


class RuleText(Part):
    """An ordering rule, proved on the graph for every interleaving, and read live as well.

    It says one thing: what such a step needs before it, what it needs after it, or that no two of
    them run at the same time.
    """

    every: Guarded | None = None
    """The steps that it is about; without it, `then_…` is what every run must have done."""
    needs_state: StateNeeded | None = None
    """What must hold before, and where."""
    needs_step: StepNeeded | None = None
    """What must have been done before, and where."""
    then_state: StateOwed | None = None
    """What must hold after, and where."""
    then_step: StepNeeded | None = None
    """What must be done after, and where."""
    alone: Flag = False
    """No two of them at the same time."""
    because: str
    """The reason that an operator is shown."""


class Service(Part):
    """Something that steps rest on, and that this runbook could take away from under them."""

    alive: FactTest
    """The fact that tells that it is there, and where it is asked."""
    because: str
    """What stands on it, for the operator who is refused."""


AtLeast = Annotated[
    int | Literal["quorum"] | Annotated[str, Field(pattern="^([1-9][0-9]?|100)%$")],
    BeforeValidator(_int),
]


class KeepText(Part):
    """How many hosts of a role must stay healthy while a host has its turn; measured each time."""

    role: str
    """Whose health is counted: an expression over roles, never narrowed by --limit."""
    fact: str
    """The fact that tells whether a host is healthy."""
    with_: Mapping[str, object] = Field(default_factory=dict, alias="with")
    """The fact's arguments."""
    is_: object = Field(default="true", alias="is")
    """The answer of a healthy host."""
    at_least: AtLeast = "quorum"
    """A number of hosts, a share as 75%, or `quorum`: more than half."""
    if_lost: Literal["stop", "proceed"] = "stop"
    """What to do where fewer are healthy before anything began: there is nothing to keep then."""
    within: Duration = 60.0
    """How long to wait for it, once nobody else has a turn."""


class Retries(Part):
    """How often a failed unit is tried again. Only where the change is safe to repeat."""

    attempts: Annotated[int, Field(strict=True, ge=1, le=100), BeforeValidator(_int)] = 3
    """All attempts, the first one included."""
    delay: Duration = 2.0
    """The wait before the second attempt."""
    backoff: Literal["fixed", "exponential"] = "exponential"
    """How the wait grows."""


class Need(Part):
    """A step that must come first."""

    step: str
    """The step's id."""
    per: Literal["all", "host"] = "all"
    """`host`: each host goes on as soon as its own unit is done."""
    outcome: Literal["ok", "any"] = "ok"
    """`any`: also after a failure that was allowed to continue."""


def _need(value: object) -> object:
    return {"step": value} if isinstance(value, str) else value


NeedText = Annotated[Need, BeforeValidator(_need, json_schema_input_type=str | Need)]


class Step(Part):
    """One node of the graph."""

    id: Name
    """The step's name, unique in the runbook."""
    uses: str
    """The step type, as in `drrun steps`."""
    title: str = ""
    """One line for people."""
    hosts: str = "controller"
    """Where: a role, role[i], a host, !x, x & y, x | y, (x), or controller."""
    with_: Mapping[str, object] = Field(default_factory=dict, alias="with")
    """The step type's own fields."""
    needs: tuple[NeedText, ...] | None = None
    """What comes first; every earlier step when left out, nothing when empty."""
    when: str | None = None
    """An expression; the step is skipped when it is false."""
    order: Literal["parallel", "serial"] = "parallel"
    """Whether the hosts go together or one after the other."""
    batch: Count | None = None
    """At most so many hosts at once; as many as there are connections when left out."""
    spread: Duration = 0.0
    """Each host waits before it begins, by chance, up to so long: many that begin together press
    together on whatever they all ask."""
    tolerate: str = ""
    """How many of its hosts may be left out because they cannot be reached: a number, or a share as
    20%; a template is allowed. More than that stop the run before its first step."""
    keep: KeepText | None = None
    """What must stay healthy while a host has its turn, whatever the order."""
    timeout: Duration | None = None
    """How long one attempt on one host may take."""
    retries: Retries | None = None
    """Trying again after a failure."""
    repeat: Literal["safe", "check", "never"] | None = None
    """Whether its changes may be sent again when their result was lost; the step type's word when
    left out. Stricter than that is always taken, looser only where the type leaves it to you."""
    on_failure: Literal["stop", "continue", "undo"] = "stop"
    """What a failure does to the run."""
    on_unreachable: Unreached | None = None
    """`skip-fenced`: the step is right without hosts that the operator has fenced by name. A host that
    only cannot be reached stops a run, but for `tolerate`. The runbook's own word when left out."""
    on_unknown: OnUnknown | None = None
    """What to do when the result of a change was lost. Must be said where it may not simply be
    sent again and no fact can tell what became of it."""
    requires: tuple[FactTest, ...] = ()
    """Facts that must hold before the step."""
    ensures: tuple[FactTest, ...] = ()
    """Facts that must hold after the step."""
    uses_service: Names = ()
    """What it needs to be alive, of the runbook's `services`."""
    point_of_no_return: Flag = False
    """From this step's first change on, undo is refused."""
    safe_point: Flag = False
    """Whether a run may rest here: `--stage` runs up to the first such step, `resume` goes on."""
    always: Flag = False
    """Whether it runs whatever happened, after any undo."""
    accept_unknown: Flag = False
    """Accepts that a dry-run cannot say what this destroying step will do."""
    tags: Names = ()
    """Words to select steps by."""


class Runbook(Part):
    """A whole runbook."""

    drrun: Literal["1"]
    """The version of this language."""
    name: Name
    """The runbook's name."""
    title: str
    """One line for people."""
    help: str = ""
    """What it is for, what it assumes, what it leaves behind."""
    objectives: Objectives = Objectives()
    """What a run is measured against."""
    inputs: Mapping[str, InputSpec] = Field(default_factory=dict)
    """Values that the operator gives."""
    roles: Mapping[str, RoleSpec] = Field(default_factory=dict)
    """Groups of hosts, bound to the inventory's groups of the same name."""
    rules: tuple[RuleText, ...] = ()
    """Ordering rules of this runbook, beside those that the step types carry."""
    services: Mapping[str, Service] = Field(default_factory=dict)
    """What steps may say that they rest on: names, secrets, images, stores."""
    on_unreachable: Unreached = "stop"
    """What a fenced host does to steps that do not say: `stop`, or `skip-fenced`."""
    steps: tuple[Step, ...] = Field(min_length=1)
    """The steps, in the order in which a person would do them."""
