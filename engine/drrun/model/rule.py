"""What a step type, or a runbook, demands of every runbook that has such a step.

Rule 1: demands speak of states, a fact and its value on hosts: what the graph is proved on is what
is read live before the guarded change (hazard H5). `step.done` is the one fact that no host is
asked: the run's own journal answers it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from drrun.values import Json, canonical

STEP_DONE = "step.done"
"""The fact that a step of a type was done on a host in this run: not skipped, not failed."""


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
    return value if isinstance(value, str) else canonical(value).decode()


def step_done(uses: str, **fields: Json) -> FactRef:
    """That a step of the type `uses`, with these fields as written, was done on a host."""
    return FactRef(STEP_DONE, {"uses": uses, **fields})


@dataclass(frozen=True, slots=True)
class State:
    """A fact and one value of it."""

    fact: FactRef
    value: Json


@dataclass(frozen=True, slots=True)
class Rule:
    """Before the guarded steps, `fact` must be `value` on every host of `hosts`.

    Proved on the graph for every interleaving, and read again live before each guarded change
    (hazard H5). `hosts` is a host expression over whole roles; the guarded step's own hosts when
    it is empty.
    """

    fact: FactRef
    hosts: str
    value: Json
    because: str
    before: State | None = None
    """What is guarded: every step that brings this state about and is not proved to come before
    the step that carries the rule. What must hold has to be brought about by the carrying step
    or after it. None: the carrying step itself is guarded."""
    earlier: bool = False
    """With `before`: whether steps that come before the carrying one are guarded as well."""
    standing: bool = False
    """Whether it may hold from the beginning: then only a step that changes it breaks the rule."""
    some: bool = False
    """Whether one of the hosts is enough."""
    present: bool = False
    """Whether it is asked of the hosts that are there alone: one that is fenced owes nothing, and
    is to be readmitted. Else such a host counts by the operator's word, or nobody can know."""
    live: bool = True
    """Whether it is read again before the change. Not, where the rule speaks of order alone and
    the state may be another for reasons that are not this run's."""


@dataclass(frozen=True, slots=True)
class Duty:
    """After the carrying step, and when the runbook ends, `fact` must be `value` on every host.

    Proved on the graph. A run whose step for it failed does not end as done, and a step that may
    be skipped is no proof.
    """

    fact: FactRef
    hosts: str
    value: Json
    because: str
    anew: bool = False
    """Whether it must have been otherwise in between: started again, not merely running still."""
    some: bool = False
    """Whether one of the hosts is enough."""


@dataclass(frozen=True, slots=True)
class Alike:
    """All steps of a runbook that carry the same `name` must carry the same `value`."""

    name: str
    value: Json
    because: str


@dataclass(frozen=True, slots=True)
class Alone:
    """No two units of a runbook that carry the same `name` may run at the same time."""

    name: str
    because: str


Demand: TypeAlias = Rule | Duty | Alike | Alone
