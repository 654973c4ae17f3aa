"""Where a run stands: the fold of its events over its plan.

Rule 1: everything that moves a unit from one status to another lives in this file, in TRANSITIONS.
Rule 2: `apply` costs what the event touches (in-degrees, never a rescan), so ten thousand units and
their events stay linear.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, TypeAlias

from drrun.errors import JournalDamaged, NotKnownError
from drrun.journal.events import (
    Answered,
    ChangeFinished,
    ChangeIntended,
    ChangeLost,
    Event,
    PointOfNoReturn,
    Resolved,
    RunAttached,
    RunFinished,
    UndoStarted,
    UnitFinished,
    UnitStarted,
)
from drrun.plan.plan import Plan, PlanStep, Unit
from drrun.values import Json, Outcome, StepId, UnitId


class Status(StrEnum):
    """A unit's status. `lost` units were running when their controller went away."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    UNDOING = "undoing"
    UNDONE = "undone"
    UNDO_FAILED = "undo-failed"


TRANSITIONS: Mapping[tuple[Status, str], frozenset[Status]] = {
    (Status.PENDING, "unit.started"): frozenset({Status.RUNNING}),
    (Status.PENDING, "unit.finished"): frozenset({Status.DONE, Status.REFUSED}),
    (Status.RUNNING, "unit.started"): frozenset({Status.RUNNING}),
    (Status.RUNNING, "unit.finished"): frozenset(
        {Status.DONE, Status.FAILED, Status.REFUSED, Status.UNKNOWN}
    ),
    (Status.FAILED, "unit.started"): frozenset({Status.RUNNING}),
    (Status.REFUSED, "unit.started"): frozenset({Status.RUNNING}),
    (Status.UNKNOWN, "unit.started"): frozenset({Status.RUNNING}),
    (Status.DONE, "undo.started"): frozenset({Status.UNDOING}),
    (Status.FAILED, "undo.started"): frozenset({Status.UNDOING}),
    (Status.REFUSED, "undo.started"): frozenset({Status.UNDOING}),
    (Status.UNKNOWN, "undo.started"): frozenset({Status.UNDOING}),
    (Status.RUNNING, "undo.started"): frozenset({Status.UNDOING}),
    (Status.UNDOING, "undo.started"): frozenset({Status.UNDOING}),
    (Status.UNDO_FAILED, "undo.started"): frozenset({Status.UNDOING}),
    (Status.UNDOING, "undo.finished"): frozenset({Status.UNDONE, Status.UNDO_FAILED}),
}
"""(status, what happens) -> what may follow. `undo.started/finished` are unit events of an undo."""

OUTCOME_STATUS: Mapping[Outcome, Status] = {
    Outcome.ALREADY: Status.DONE,
    Outcome.CHANGED: Status.DONE,
    Outcome.SKIPPED: Status.DONE,
    Outcome.FAILED: Status.FAILED,
    Outcome.UNKNOWN: Status.UNKNOWN,
    Outcome.REFUSED: Status.REFUSED,
}

Entry: TypeAlias = Answered | ChangeIntended | ChangeFinished | ChangeLost | Resolved


@dataclass(slots=True)
class UnitRecord:
    """What the journal holds of one unit: its attempts' answers and changes, by ordinal."""

    status: Status = Status.PENDING
    outcome: Outcome | None = None
    attempt: int = 0
    undo_attempt: int = 0
    why: str = ""
    hint: str = ""
    outputs: Mapping[str, Json] = field(default_factory=dict)
    entries: dict[tuple[int, bool], list[Entry]] = field(default_factory=dict)
    """(attempt, undo) -> entries in the order of the journal."""

    def replay(self, attempt: int, *, undo: bool) -> tuple[Entry, ...]:
        """The journaled entries of one attempt."""
        return tuple(self.entries.get((attempt, undo), ()))

    @property
    def changes(self) -> tuple[ChangeIntended, ...]:
        """Every change that was sent, in all forward attempts."""
        return tuple(
            entry
            for (_, undo), entries in self.entries.items()
            if not undo
            for entry in entries
            if isinstance(entry, ChangeIntended)
        )


@dataclass(slots=True)
class RunState:
    """The fold. Only `apply` changes it."""

    plan: Plan
    units: dict[UnitId, UnitRecord]
    ready: dict[UnitId, None]
    """Pending units whose needs are met, in plan order."""
    phase: Literal["forward", "undo"] = "forward"
    epoch: int = 0
    no_return: UnitId | None = None
    finished: RunFinished | None = None
    failures: dict[UnitId, Status] = field(default_factory=dict)
    """Units that ended badly and were not tried again yet."""
    running: dict[UnitId, None] = field(default_factory=dict)
    """Units that were started and did not end."""
    again: dict[UnitId, int] = field(default_factory=dict)
    """Units that a resume takes up again, with the attempt to make."""
    undo_failures: dict[UnitId, None] = field(default_factory=dict)
    left: dict[UnitId, None] = field(default_factory=dict)
    """Units whose changes an undo left as they are: their step type cannot be undone."""
    _unmet: dict[UnitId, int] = field(default_factory=dict)
    _left: dict[StepId, int] = field(default_factory=dict)
    _left_ok: dict[StepId, int] = field(default_factory=dict)
    _waiting: dict[tuple[StepId, str | None, str], list[UnitId]] = field(default_factory=dict)

    @classmethod
    def of(cls, plan: Plan, events: Iterable[Event] = ()) -> RunState:
        """The state after `events`."""
        state = cls(plan, {unit.id: UnitRecord() for unit in plan.units}, {})
        state._index()
        for event in events:
            state.apply(event)
        return state

    def _index(self) -> None:
        waiting: dict[tuple[StepId, str | None, str], list[UnitId]] = defaultdict(list)
        for step, units in self.plan.units_of.items():
            self._left[step] = self._left_ok[step] = len(units)
        for unit in self.plan.units:
            self._unmet[unit.id] = len(unit.needs)
            for need in unit.needs:
                waiting[(need.step, need.host, need.outcome)].append(unit.id)
            if not unit.needs:
                self.ready[unit.id] = None
        self._waiting = dict(waiting)

    def apply(self, event: Event) -> None:
        """Take one event in. Raises JournalDamaged on one that cannot follow."""
        match event:
            case UnitStarted():
                self._started(event)
            case UnitFinished():
                self._finished(event)
            case Answered() | ChangeIntended() | ChangeFinished() | ChangeLost():
                record = self.units[event.unit]
                record.entries.setdefault((event.attempt, event.undo), []).append(event)
            case Resolved():
                record = self.units[event.unit]
                record.entries.setdefault((record.attempt, False), []).append(event)
            case RunAttached():
                self._attached(event)
            case RunFinished():
                self.finished = event
            case UndoStarted():
                self.phase = "undo"
            case PointOfNoReturn():
                self.no_return = event.unit
            case _:
                pass

    def _attached(self, event: RunAttached) -> None:
        """A resume tries again what failed; a lost result keeps its attempt, to be found out."""
        self.epoch, self.finished = event.epoch, None
        self.undo_failures.clear()
        for unit, status in list(self.failures.items()):
            if self._step(unit).on_failure == "continue":
                continue
            del self.failures[unit]
            same = status is Status.UNKNOWN
            self.again[unit] = self.units[unit].attempt + (0 if same else 1)

    def _step(self, unit: UnitId) -> PlanStep:
        return self.plan.step_of[self.plan.unit_of[unit].step]

    def _move(self, unit: UnitId, happening: str, to: Status) -> None:
        record = self.units[unit]
        if to not in TRANSITIONS.get((record.status, happening), frozenset()):
            raise JournalDamaged(
                f"the journal says that {unit} went from {record.status} to {to} by {happening}",
                hint="this is a bug in drrun, or the journal was edited",
            )
        record.status = to

    def _started(self, event: UnitStarted) -> None:
        if event.undo:
            self._move(event.unit, "undo.started", Status.UNDOING)
            self.units[event.unit].undo_attempt = event.attempt
            return
        self._move(event.unit, "unit.started", Status.RUNNING)
        self.units[event.unit].attempt = event.attempt
        self.running[event.unit] = None
        self.ready.pop(event.unit, None)
        self.failures.pop(event.unit, None)
        self.again.pop(event.unit, None)

    def _finished(self, event: UnitFinished) -> None:
        record = self.units[event.unit]
        record.why, record.hint = event.why, event.hint
        if event.undo:
            good = event.outcome in {Outcome.UNDONE, Outcome.SKIPPED}
            self._move(event.unit, "undo.finished", Status.UNDONE if good else Status.UNDO_FAILED)
            if not good:
                self.undo_failures[event.unit] = None
            if event.outcome is Outcome.SKIPPED:
                self.left[event.unit] = None
            return
        self._move(event.unit, "unit.finished", OUTCOME_STATUS[event.outcome])
        record.outcome, record.outputs = event.outcome, event.outputs
        self.ready.pop(event.unit, None)
        self.running.pop(event.unit, None)
        step, good = self._step(event.unit), event.outcome.good
        if not good:
            self.failures[event.unit] = record.status
        last = event.attempt >= step.retry.attempts
        if good or (step.on_failure == "continue" and last):
            self._release(self.plan.unit_of[event.unit], good=good)

    def _release(self, unit: Unit, *, good: bool) -> None:
        """Tell those that wait for this unit, or for the last unit of its step."""
        keys: list[tuple[StepId, str | None, str]] = []
        self._left[unit.step] -= 1
        if unit.host is not None:
            keys.append((unit.step, unit.host, "any"))
        if not self._left[unit.step]:
            keys.append((unit.step, None, "any"))
        if good:
            self._left_ok[unit.step] -= 1
            if unit.host is not None:
                keys.append((unit.step, unit.host, "ok"))
            if not self._left_ok[unit.step]:
                keys.append((unit.step, None, "ok"))
        for key in keys:
            for waiter in self._waiting.get(key, ()):
                self._unmet[waiter] -= 1
                if not self._unmet[waiter] and self.units[waiter].status is Status.PENDING:
                    self.ready[waiter] = None

    def outputs(self) -> Mapping[str, Mapping[str, object]]:
        """`steps` for templates: id -> {outputs, on}; a step is looked at when it is named."""
        return _Outputs(self)


class _Outputs(Mapping[str, Mapping[str, object]]):
    """What each step gave. `outputs` holds what all of its hosts agree on, `on` each host's own."""

    def __init__(self, state: RunState) -> None:
        self._state = state

    def __getitem__(self, step: str) -> Mapping[str, object]:
        by_host: dict[str, Mapping[str, Json]] = {}
        for unit in self._state.plan.units_of[StepId(step)]:
            record = self._state.units[unit.id]
            if record.status is Status.DONE:
                by_host[unit.host or "group"] = record.outputs
        return step_outputs(by_host)

    def __iter__(self) -> Iterator[str]:
        return iter(self._state.plan.step_of)

    def __len__(self) -> int:
        return len(self._state.plan.step_of)


def step_outputs(by_host: Mapping[str, Mapping[str, object]]) -> Mapping[str, object]:
    """What templates see of one step: `outputs`, on which all hosts agree, and `on` each host."""
    agreed = dict(next(iter(by_host.values()), {}))
    for outputs in by_host.values():
        agreed = {k: v for k, v in agreed.items() if _same(v, outputs.get(k))}
    return {"outputs": agreed, "on": by_host}


def _same(one: object, other: object) -> bool:
    try:
        return bool(one == other)
    except NotKnownError:
        return True  # a hole on every host of a dry-run: the step's output is one hole
