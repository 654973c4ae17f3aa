"""What is due, given where the run stands. Pure: reads no clock, no socket, no file.

The table of a run's end (first match): undo failed 9, undone 8, refused 5, waiting or unknown 6,
failed 1, done 0. Signals, disk and connection errors are the driver's own words.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

from drrun.journal.state import RunState, Status
from drrun.plan.plan import PlanStep
from drrun.values import Effect, HostName, StepId, UnitId


@dataclass(frozen=True, slots=True)
class Start:
    """Begin (or take up again) a unit's attempt, after `delay` seconds."""

    unit: UnitId
    attempt: int
    delay: float = 0.0


@dataclass(frozen=True, slots=True)
class Undo:
    """Undo a unit. An undo that was cut keeps its attempt; one that failed makes a new one."""

    unit: UnitId
    attempt: int


@dataclass(frozen=True, slots=True)
class Prove:
    """Ask again what a unit's undo could not prove: everything else is undone."""

    unit: UnitId
    attempt: int


@dataclass(frozen=True, slots=True)
class TurnBack:
    """Begin to undo the run, because a step asked for it."""

    why: str


@dataclass(frozen=True, slots=True)
class Finish:
    """Nothing is left to do."""

    status: str
    exit_code: int
    why: str = ""


Command: TypeAlias = Start | Undo | Prove | TurnBack | Finish

ENDS: Mapping[Status, tuple[str, int]] = {
    Status.UNDO_FAILED: ("undo-failed", 9),
    Status.REFUSED: ("refused", 5),
    Status.UNKNOWN: ("waiting", 6),
    Status.FAILED: ("failed", 1),
}
"""A unit's bad end -> the run's, in the order of precedence."""


def decide(
    state: RunState,
    in_flight: Collection[UnitId],
    *,
    room: int = 64,
    stopping: bool = False,
    only: Collection[StepId] = (),
) -> Sequence[Command]:
    """What is due, at most `room` new units. Empty while all that is left is in flight.

    With `only`, no unit of another step is begun: the run rests when these have ended well.
    """
    if state.phase == "undo":
        return _undo(state, in_flight, stopping=stopping)
    due: list[Command] = [] if stopping else _interrupted(state, in_flight)
    blocked = _blockers(state)
    due += _retries(state, in_flight, stopping=stopping)
    if not blocked and not stopping:
        fresh = (
            Start(unit, 1)
            for unit in state.ready
            if unit not in in_flight
            and not _step(state, unit).always
            and (not only or _step(state, unit).id in only)
        )
        due += islice(fresh, max(room, 0))
    if due or in_flight or stopping:
        return due
    turn = _turn_back(state)
    if turn is not None:
        return [turn]
    if only and not blocked:
        return [_rest(state, only)]
    return _always(state) or [_finish(state)]


def _rest(state: RunState, only: Collection[StepId]) -> Finish:
    """The run's end for now: what was to be staged is, or could not be reached."""
    left = [u.id for u in state.plan.units if u.step in only and _pending(state, u.id)]
    if left:
        return Finish("failed", 1, f"{left[0]} was never reached")
    return Finish("resting", 0, "staged: nothing that runs was changed")


def _pending(state: RunState, unit: UnitId) -> bool:
    return state.units[unit].status is Status.PENDING


def _step(state: RunState, unit: UnitId) -> PlanStep:
    return state.plan.step_of[state.plan.unit_of[unit].step]


def _interrupted(state: RunState, in_flight: Collection[UnitId]) -> list[Command]:
    """Units that were running when a controller went away are taken up again, same attempt."""
    return [
        Start(unit, state.units[unit].attempt) for unit in state.running if unit not in in_flight
    ]


def _blockers(state: RunState) -> list[UnitId]:
    """Bad ends that keep anything new from starting."""
    return [unit for unit in state.failures if not state.may_go_on(unit)]


def _retries(state: RunState, in_flight: Collection[UnitId], *, stopping: bool) -> list[Command]:
    if stopping:
        return []
    due: list[Command] = [
        Start(unit, attempt) for unit, attempt in state.again.items() if unit not in in_flight
    ]
    for unit, status in state.failures.items():
        record, retry = state.units[unit], _step(state, unit).retry
        may = status is Status.FAILED and record.attempt < retry.attempts
        if may and unit not in in_flight:
            due.append(Start(unit, record.attempt + 1, retry.wait(record.attempt)))
    return due


def _turn_back(state: RunState) -> TurnBack | None:
    """Not while anything is unknown or out of reach: nobody undoes what nobody knows."""
    for unit, status in state.failures.items():
        if status is Status.UNKNOWN or state.units[unit].unreached:
            return None
    for unit in state.failures:
        if _step(state, unit).on_failure == "undo" and state.no_return is None:
            return TurnBack(f"{unit} failed and its step says on_failure: undo")
    return None


def _always(state: RunState) -> list[Command]:
    """Steps that run whatever happened, one after the other, once the rest has ended."""
    for unit in state.plan.units:
        if not state.plan.step_of[unit.step].always:
            continue
        if state.units[unit.id].status is Status.PENDING:
            return [Start(unit.id, 1)]
        if unit.id in state.always_again:
            return [Start(unit.id, state.always_again[unit.id])]
    return []


def _undo(state: RunState, in_flight: Collection[UnitId], *, stopping: bool) -> list[Command]:
    """What really ran, back to front, a step at a time: a group act (hazard H7).

    A service that does not come back keeps nothing else away: what stands by itself is put back all the same.
    What could not be proved on the way is asked again at the end.
    """
    if in_flight or stopping:
        return []
    if due := _undo_next(state):
        return due
    owed = [Prove(u, r.undo_attempt) for u, r in state.units.items() if r.unproved]
    if owed:
        return list(owed)
    if state.undo_failures:
        return _always(state) or [_stuck(state)]
    left = f"undone, but left as it is: {', '.join(state.left)}"
    return _always(state) or [
        Finish("undone", 8, left if state.left else "every change was undone")
    ]


def _undo_next(state: RunState) -> list[Command]:
    """The next step's undo. Of steps that ran side by side the one that is listed first goes first.

    So a runbook that stops servers, and beside them who needs them, has the servers back first.
    """
    due = {
        step.id: units
        for step in state.plan.steps
        if step.id in state.changed and not step.always and (units := _undo_step(state, step.id))
    }
    rested_on = {need for step in due for need in state.plan.rests_on[step]}
    return next((units for step, units in due.items() if step not in rested_on), [])


def _untouchable(state: RunState) -> Collection[HostName]:
    """Hosts on which no undo may begin, because one that failed there may be what it rests on.

    All of them behind one that destroys, one whose hosts take turns, and one of which nobody knows what became of
    it. Behind a group's, its own hosts. Behind any other, none: it is one service on one host.
    """
    found: set[HostName] = set()
    for unit in state.undo_failures:
        step = _step(state, unit)
        turns = step.keep is not None or _serial(state, step.id)
        if state.units[unit].undo_open or turns or step.effect is not Effect.CHANGE:
            return state.plan.targets
        if step.kind == "group":
            found.update(state.plan.unit_of[unit].hosts)
    return found


def _serial(state: RunState, step: StepId) -> bool:
    return any(n.reason == "serial" for u in state.plan.units_of[step] for n in u.needs)


def _undo_step(state: RunState, step: StepId) -> list[Command]:
    """The units of a step that are to be undone now; of a serial step, its last one."""
    due: list[Command] = []
    untouchable = _untouchable(state) if state.undo_failures else ()
    for unit in state.plan.units_of[step]:
        record = state.units[unit.id]
        if _to_undo(state, unit.id) and not any(host in untouchable for host in unit.hosts):
            cut = record.status is Status.UNDOING or record.undo_open
            due.append(Undo(unit.id, record.undo_attempt + (0 if cut else 1)))
    return due[-1:] if _serial(state, step) else due


def _to_undo(state: RunState, unit: UnitId) -> bool:
    record = state.units[unit]
    done = record.status is Status.UNDONE or unit in state.undo_failures
    return bool(record.changes) and not done


def _stuck(state: RunState) -> Finish:
    """An undo that failed, or waits for somebody to say what became of a change; and what it kept away."""
    failed = [u for u in state.undo_failures if not state.units[u].undo_open]
    status, code = ("undo-failed", 9) if failed else ("waiting", 6)
    told = [f"{unit}: {state.units[unit].why}" for unit in failed or list(state.undo_failures)[:1]]
    kept = [u for u in state.units if _to_undo(state, u) and not _step(state, u).always]
    if kept:
        told.append(f"not begun because of that: {', '.join(kept)}")
    return Finish(status, code, "; ".join(told))


def _finish(state: RunState) -> Finish:
    worst = {record.status for record in state.units.values()}
    for status, (name, code) in ENDS.items():
        if status in worst:
            first = next(u for u, r in state.units.items() if r.status is status)
            return Finish(name, code, f"{first}: {state.units[first].why}")
    left = [u for u, r in state.units.items() if r.status is Status.PENDING]
    if left:
        return Finish("failed", 1, f"{left[0]} was never reached")
    return Finish("done", 0)
