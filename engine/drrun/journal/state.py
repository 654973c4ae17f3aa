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
    HostFenced,
    PointOfNoReturn,
    Resolved,
    RunAttached,
    RunFinished,
    UndoStarted,
    UnitFinished,
    UnitStarted,
)
from drrun.plan.plan import Plan, PlanStep, Unit
from drrun.values import HostName, Json, Outcome, StepId, UnitId


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
    (Status.DONE, "unit.started"): frozenset({Status.RUNNING}),
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
    (Status.UNDONE, "undo.finished"): frozenset({Status.UNDONE, Status.UNDO_FAILED}),
}
"""(status, what happens) -> what may follow. `undo.started/finished` are unit events of an undo.

What is undone ends once more where its undo left something to be proved at the end.
What is done starts again only where its step is `always`: once more, after a resume.
"""

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
    undo_open: bool = False
    """Whether its undo waits for somebody to say what became of a change."""
    unproved: tuple[Mapping[str, Json], ...] = ()
    """What its undo could not prove yet; asked again when all is undone."""
    unreached: bool = False
    """Whether it failed because a host could not be reached."""
    released: bool = False
    """Whether those that wait for it were told."""
    why: str = ""
    hint: str = ""
    outputs: Mapping[str, Json] = field(default_factory=dict)
    entries: dict[tuple[int, bool], list[Entry]] = field(default_factory=dict)
    """(attempt, undo) -> entries in the order of the journal."""

    def replay(self, attempt: int, *, undo: bool) -> tuple[Entry, ...]:
        """The journaled entries of one attempt."""
        return tuple(self.entries.get((attempt, undo), ()))

    def loses(self, *, undo: bool) -> bool:
        """Whether the last attempt's last word on a change is that its result was lost."""
        number = self.undo_attempt if undo else self.attempt
        told = [e for e in self.replay(number, undo=undo) if not isinstance(e, Answered)]
        return bool(told) and isinstance(told[-1], ChangeLost)

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
    fenced: dict[HostName, HostFenced] = field(default_factory=dict)
    """Hosts that the run goes on without."""
    finished: RunFinished | None = None
    failures: dict[UnitId, Status] = field(default_factory=dict)
    """Units that ended badly and were not tried again yet."""
    running: dict[UnitId, None] = field(default_factory=dict)
    """Units that were started and did not end."""
    again: dict[UnitId, int] = field(default_factory=dict)
    """Units that a resume takes up again, with the attempt to make."""
    always_again: dict[UnitId, int] = field(default_factory=dict)
    """Units of `always` steps that ended before a resume, with the attempt to make at its end."""
    changed: dict[StepId, None] = field(default_factory=dict)
    """Steps that changed something, in the order of their first change."""
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
        for f in self.plan.fenced:
            word = HostFenced(host=f.host, method=f.method, reason=f.reason, by=f.by)
            self.fenced[f.host] = word
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
            case Answered() | ChangeIntended() | ChangeFinished() | ChangeLost() | Resolved():
                self._entered(event)
            case RunAttached():
                self._attached(event)
            case RunFinished():
                self.finished = event
            case UndoStarted():
                self.phase = "undo"
            case PointOfNoReturn():
                self.no_return = event.unit
            case HostFenced():
                self._fence(event)
            case _:
                pass

    def _entered(self, event: Entry) -> None:
        record = self.units[event.unit]
        if isinstance(event, Resolved):
            attempt = record.undo_attempt if event.undo else record.attempt
            record.entries.setdefault((attempt, event.undo), []).append(event)
            return
        record.entries.setdefault((event.attempt, event.undo), []).append(event)
        if isinstance(event, ChangeIntended) and not event.undo:
            self.changed.setdefault(self._step(event.unit).id)

    def _fence(self, event: HostFenced) -> None:
        """Its own units, and groups that were cut, begin anew: their questions are other ones now."""
        self.fenced[event.host] = event
        for unit in [u for u, r in self.units.items() if self._begun(u, r, event.host)]:
            self.running.pop(unit, None)
            self.failures.pop(unit, None)
            self.again[unit] = self.units[unit].attempt + 1

    def _begun(self, unit: UnitId, record: UnitRecord, host: HostName) -> bool:
        cut = record.status in {Status.RUNNING, Status.UNKNOWN, Status.FAILED}
        shared = self._step(unit).kind == "group"
        mine = shared or host in self.plan.unit_of[unit].hosts
        return cut and mine and not self.may_go_on(unit)

    def _attached(self, event: RunAttached) -> None:
        """A resume tries again what failed.

        What was lost keeps its attempt, to be found out, and what was cut by a line keeps it too:
        what it made so far is not made again. `always` steps come once more, at the end.
        """
        self.epoch, self.finished = event.epoch, None
        self.undo_failures.clear()
        for unit, record in self.units.items():
            if self._step(unit).always and record.status not in {Status.PENDING, Status.RUNNING}:
                self.always_again[unit] = record.attempt + 1
                self.failures.pop(unit, None)
        for unit, status in list(self.failures.items()):
            if self.may_go_on(unit):
                continue
            del self.failures[unit]
            record = self.units[unit]
            same = status is Status.UNKNOWN or record.unreached
            self.again[unit] = record.attempt + (0 if same else 1)

    def may_go_on(self, unit: UnitId) -> bool:
        """Whether the run goes on past a unit's bad end: never past what is not known or reached."""
        known = self.failures.get(unit) in {Status.FAILED, Status.REFUSED}
        said = self._step(unit).on_failure == "continue"
        return said and known and not self.units[unit].unreached

    def lost(self) -> Mapping[UnitId, bool]:
        """Units that wait for somebody to say what became of a change -> whether of their undo's."""
        return {
            unit: record.undo_open and record.loses(undo=True)
            for unit, record in self.units.items()
            if record.status is Status.UNKNOWN or record.undo_open
        }

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
            self.units[event.unit].undo_open = False
            return
        if self.units[event.unit].status is Status.DONE and event.unit not in self.always_again:
            raise JournalDamaged(
                f"the journal says that {event.unit} was done and began again",
                hint="this is a bug in drrun, or the journal was edited",
            )
        self._move(event.unit, "unit.started", Status.RUNNING)
        self.units[event.unit].attempt = event.attempt
        self.running[event.unit] = None
        self.ready.pop(event.unit, None)
        self.failures.pop(event.unit, None)
        self.again.pop(event.unit, None)
        self.always_again.pop(event.unit, None)

    def _finished(self, event: UnitFinished) -> None:
        record = self.units[event.unit]
        record.why, record.hint = event.why, event.hint
        if event.undo:
            good = event.outcome in {Outcome.UNDONE, Outcome.SKIPPED}
            record.unproved = tuple(event.unproved) if good else ()
            self._move(event.unit, "undo.finished", Status.UNDONE if good else Status.UNDO_FAILED)
            if not good:
                self.undo_failures[event.unit] = None
                record.undo_open = event.outcome is Outcome.UNKNOWN
            if event.outcome is Outcome.SKIPPED:
                self.left[event.unit] = None
            return
        self._move(event.unit, "unit.finished", OUTCOME_STATUS[event.outcome])
        record.outcome, record.outputs = event.outcome, event.outputs
        record.unreached = event.unreached
        self.ready.pop(event.unit, None)
        self.running.pop(event.unit, None)
        step, good = self._step(event.unit), event.outcome.good
        if not good:
            self.failures[event.unit] = record.status
        last = event.attempt >= step.retry.attempts
        if not record.released and (good or (last and self.may_go_on(event.unit))):
            record.released = True
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
