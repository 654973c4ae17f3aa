"""The one loop that acts: ask `decide` what is due, perform it, record it, until nothing is left.

Units run on worker threads (paramiko blocks). This file is the outermost boundary: any error of a
step ends here, as an outcome in the journal.
"""

from __future__ import annotations

import dataclasses
import threading
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from drrun.errors import ConnectError, DrrunError, Refused, StoreError, Waiting
from drrun.execute.backward import Backward
from drrun.execute.changing import Changer
from drrun.execute.decide import Command, Finish, Prove, Start, TurnBack, Undo, decide
from drrun.execute.follow import Detached, as_error
from drrun.execute.gate import Gate
from drrun.execute.hosts import Hosts
from drrun.execute.keep import Keeper
from drrun.execute.live import LiveSession
from drrun.execute.means import Means
from drrun.execute.past import Past
from drrun.execute.patience import Patience
from drrun.execute.recorder import Recorder
from drrun.execute.unit import Catalog, Performance, Skip, names_for
from drrun.journal.events import (
    RunDetached,
    RunFinished,
    UndoStarted,
    UnitFinished,
    UnitStarted,
)
from drrun.journal.state import Status
from drrun.plan.plan import PlanStep, Unit
from drrun.plan.window import Window, refusal
from drrun.ports import Chance, Clock, Prompt
from drrun.spi import Outputs
from drrun.values import Effect, Json, Outcome, StepId, UnitId

GOOD = frozenset({Outcome.CHANGED, Outcome.ALREADY, Outcome.SKIPPED})
DONE = frozenset({Outcome.CHANGED, Outcome.ALREADY})
LEFT = "it cannot be reached, and is left out as tolerated"
FORKS = 16
"""Units at once; a host has one connection whatever this is."""


@dataclass(slots=True)
class Driver:
    """Drives one run from where its journal stands to its end, or until asked to stop."""

    recorder: Recorder
    hosts: Hosts
    catalog: Catalog
    clock: Clock
    prompt: Prompt
    forks: int = FORKS
    stop: threading.Event = field(default_factory=threading.Event)
    only: frozenset[StepId] = frozenset()
    """The steps to stage; empty: all."""
    chance: Chance | None = None
    """Spreads the waits between attempts; None: they are as written."""
    _admitted: bool = False
    """Whether the critical region was admitted by this controller."""
    _keeper: Keeper = field(init=False)
    _gate: Gate = field(init=False)
    _broken: list[StoreError] = field(default_factory=list)
    _bugs: list[str] = field(default_factory=list)
    _unreached: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """One keeper and one gate for all of the run's branches."""
        self._gate = Gate(self.recorder, self.hosts, self.catalog, self.clock, self.stop)
        self._keeper = Keeper(
            self.hosts, self.catalog.make_fact, self.clock, self.stop, self.recorder.record
        )

    @property
    def _means(self) -> Means:
        return Means(self.hosts, self.recorder, self.clock, self.prompt, self.stop)

    @property
    def _back(self) -> Backward:
        return Backward(self._means, self.catalog, self._stage, self._ending, self._record_end)

    def drive(self) -> Finish:
        """Go on until nothing is due. Raises StoreError when the journal cannot be written."""
        self.hosts.patience = Patience(self.clock, self.stop, self.recorder.record)
        with ThreadPoolExecutor(max_workers=self.forks, thread_name_prefix="unit") as pool:
            try:
                return self._loop(pool)
            except BaseException:
                self.stop.set()  # the pool waits for its units: they let go of their commands
                raise

    def _loop(self, pool: ThreadPoolExecutor) -> Finish:
        in_flight: dict[UnitId, Future[None]] = {}
        while True:
            self._reap(in_flight)
            for command in self._due(in_flight):
                if isinstance(command, Finish):
                    end = self._admit(command)
                    if end is not None:
                        return self._finish(end)
                    continue
                self._perform(command, pool, in_flight)
            if in_flight:
                wait(in_flight.values(), timeout=0.5, return_when=FIRST_COMPLETED)
            elif self._broken:
                raise self._broken[0]
            elif self.stop.is_set():
                return self._detach()

    def _due(self, in_flight: Mapping[UnitId, Future[None]]) -> list[Command]:
        with self.recorder.lock:
            stopping = self.stop.is_set() or bool(self._broken)
            room = self.forks - len(in_flight)
            state = self.recorder.state
            only = self.only or self._before_region()
            return list(decide(state, in_flight, room=room, stopping=stopping, only=only))

    def _before_region(self) -> frozenset[StepId]:
        """The steps that may begin before the critical region is admitted; empty once it was."""
        state = self.recorder.state
        staging = state.plan.staging
        if not state.plan.window or self._admitted:
            return frozenset()
        behind = (u.id for u in state.plan.units if u.step not in staging)
        begun = any(
            state.units[unit].status is not Status.PENDING
            for unit in behind
            if not state.plan.step_of[state.plan.unit_of[unit].step].always
        )
        return frozenset() if begun else staging

    def _admit(self, finish: Finish) -> Finish | None:
        """The run's end; None where it has come to its region, and that may begin now (hazard H2)."""
        if finish.status != "resting" or self.only:
            return finish
        plan = self.recorder.state.plan
        if why := refusal(plan.window, plan.expected, self.clock.now()):
            return Finish("resting", Refused.exit_code, why)
        self._admitted = True
        return None

    def _reap(self, in_flight: dict[UnitId, Future[None]]) -> None:
        for unit in [unit for unit, future in in_flight.items() if future.done()]:
            in_flight.pop(unit).result()

    def _perform(
        self, command: Command, pool: ThreadPoolExecutor, in_flight: dict[UnitId, Future[None]]
    ) -> None:
        match command:
            case Start(unit=unit, attempt=attempt, delay=delay):
                self._start(unit, attempt)
                in_flight[unit] = pool.submit(self._guarded, self._run, unit, attempt, delay)
            case Undo(unit=unit, attempt=attempt):
                self.recorder.record(UnitStarted(unit=unit, attempt=attempt, undo=True))
                in_flight[unit] = pool.submit(self._guarded, self._back.undo, unit, attempt, 0.0)
            case Prove(unit=unit, attempt=attempt):
                in_flight[unit] = pool.submit(self._guarded, self._back.prove, unit, attempt, 0.0)
            case TurnBack(why=why):
                self.recorder.record(UndoStarted(why=why), durable=True)
            case Finish():
                raise AssertionError(command)

    def _start(self, unit: UnitId, attempt: int) -> None:
        """A unit that was running when its controller went away keeps its start."""
        record = self.recorder.state.units[unit]
        if record.status is Status.RUNNING and record.attempt == attempt:
            return
        self.recorder.record(UnitStarted(unit=unit, attempt=attempt))

    def _guarded(
        self, act: Callable[[UnitId, int, float], None], unit: UnitId, attempt: int, delay: float
    ) -> None:
        try:
            act(unit, attempt, delay)
        except Detached:
            return
        except StoreError as error:
            self._broken.append(error)
            self.stop.set()

    # --- forward -----------------------------------------------------------------------------

    def _run(self, unit_id: UnitId, attempt: int, delay: float) -> None:
        if delay:
            self.clock.wait(self._apart(delay))
        self._spread(unit_id, attempt)
        if self.stop.is_set():
            raise Detached
        unit, began = self.recorder.state.plan.unit_of[unit_id], self.clock.monotonic()
        session, stage = self._stage(unit, attempt, undo=False)
        outputs: Mapping[str, Json] = {}
        why, hint, unreached = "", "", False
        try:
            result = self._absent(unit) or self._left(unit) or self._performed(session, stage)
            if isinstance(result, Skip):
                outcome, why, unreached = Outcome.SKIPPED, result.why, bool(self._left(unit))
            else:
                outcome = Outcome.CHANGED if session.changed else Outcome.ALREADY
                outputs = dict(result)
        except (StoreError, Detached):
            raise
        except Exception as error:  # noqa: BLE001 - the boundary: whatever a step type raises ends here
            outcome, why, hint = self._ending(unit_id, error)
            unreached = isinstance(error, ConnectError)
            if unreached and self._tolerates(unit):
                outcome, why = Outcome.SKIPPED, f"{LEFT}: {why}"
        ended = UnitFinished(
            unit=unit_id,
            attempt=attempt,
            outcome=outcome,
            why=why,
            hint=hint,
            outputs=outputs,
            unreached=unreached,
        )
        self._record_end(ended, began)

    def _performed(self, session: LiveSession, stage: Performance) -> Outputs | Skip:
        """The step itself, between what an earlier attempt left open and what is left of that."""
        session.take_up()
        result = stage.run()
        session.leave()
        return result

    def _absent(self, unit: Unit) -> Skip | None:
        """A unit without its fenced hosts: passed over, or None. Raises Refused if it may not be."""
        state = self.recorder.state
        step, fenced = state.plan.step_of[unit.step], state.fenced
        cut = [host for host in unit.hosts if host in fenced]
        if not cut:
            return None
        why = f"{cut[0]} is fenced ({fenced[cut[0]].words})"
        left = {host for u in state.plan.units_of[step.id] for host in u.hosts} - set(fenced)
        if step.on_unreachable != "skip-fenced" or not left:
            reason = "the step stops without it" if left else "nobody else is left to do it"
            raise Refused(f"{why}: {reason}", hint="bring that host back, then `drrun resume`")
        return Skip(why) if len(cut) == len(unit.hosts) else None

    def _left(self, unit: Unit) -> Skip | None:
        """A unit on a host that could not be reached: passed over, unless a change of it is under way."""
        if unit.host not in self.hosts.unreached or self._begun(unit):
            return None
        return Skip(LEFT)

    def _tolerates(self, unit: Unit) -> bool:
        """Whether a unit whose host fell silent may be passed over: nothing was sent, and few are."""
        with self.recorder.lock:
            state = self.recorder.state
            step = state.plan.step_of[unit.step]
            left = sum(
                state.units[one.id].unreached and one.id != unit.id
                for one in state.plan.units_of[step.id]
            )
        return left < step.tolerate and not self._begun(unit)

    def _begun(self, unit: Unit) -> bool:
        with self.recorder.lock:
            return bool(self.recorder.state.units[unit.id].changes)

    def _spread(self, unit: UnitId, attempt: int) -> None:
        """Hosts that begin together press together on whatever they all ask."""
        plan = self.recorder.state.plan
        longest = plan.step_of[plan.unit_of[unit].step].spread
        if longest and attempt == 1 and self.chance is not None:
            self.clock.wait(longest * self.chance.fraction())

    def _apart(self, delay: float) -> float:
        """Between half and all of a wait: hosts that failed together do not come back together."""
        return delay if self.chance is None else delay * (0.5 + self.chance.fraction() / 2)

    def _record_end(self, ended: UnitFinished, began: float) -> None:
        took = round(self.clock.monotonic() - began, 3)
        # A good end is found again from what the unit journaled; the next intent takes it along.
        durable = ended.outcome not in GOOD
        self.recorder.record(dataclasses.replace(ended, seconds=took), durable=durable)

    def _stage(self, unit: Unit, attempt: int, *, undo: bool) -> tuple[LiveSession, Performance]:
        state = self.recorder.state
        step = state.plan.step_of[unit.step]
        means = self._means
        changer = Changer(means, unit, step, attempt, undo)
        if step.timeout is not None:
            changer.ends = self.clock.monotonic() + step.timeout
        past = Past(unit.id, self.recorder.entries(unit.id, attempt, undo=undo))
        with self.recorder.lock:
            names = names_for(state.plan, unit, state.outputs())
            gone = frozenset(state.fenced)
        session = LiveSession(means, changer, past, gone)
        stage = Performance(state.plan, unit, self.catalog, session, names, self._done, undo)
        stage.fenced = gone
        stage.turn = lambda: self._keeper.turn(step.keep, unit, begun=past.sent, back=undo)
        changer.before_change = self._before_change(stage, unit, step)
        return session, stage

    def _before_change(self, stage: Performance, unit: Unit, step: PlanStep) -> Callable[[], None]:
        """What must hold right before each change: who is fenced is silent, guards, `keep`, and the gate."""
        prove = stage.prove_guards(self.hosts)

        def before_change() -> None:
            if step.effect is Effect.DESTROY or unit.guards:
                self.hosts.prove_fenced()
            prove()
            self._keeper.again(step.keep, unit)
            if not stage.undoing:
                self._gate.admit(unit)

        return before_change

    def _done(self, unit: UnitId) -> bool:
        with self.recorder.lock:
            record = self.recorder.state.units[unit]
            return record.status is Status.DONE and record.outcome in DONE

    def _ending(self, unit: UnitId, error: Exception) -> tuple[Outcome, str, str]:
        known = as_error(error)
        if known is not error:
            trace = "".join(traceback.format_exception(error))
            self.recorder.journal.save_output(f"{unit}.traceback", trace.encode())
            self._bugs.append(known.message)
        if isinstance(known, ConnectError):
            self._unreached.append(known.message)
        outcome = Outcome.FAILED
        if isinstance(known, Refused):
            outcome = Outcome.REFUSED
        elif isinstance(known, Waiting):
            outcome = Outcome.UNKNOWN
        return outcome, known.message, known.hint

    # --- the end -----------------------------------------------------------------------------

    def _finish(self, finish: Finish) -> Finish:
        code = finish.exit_code
        nothing_changed = not any(r.changes for r in self.recorder.state.units.values())
        if code == 1 and self._unreached and nothing_changed:
            code = 4
        if self._bugs and code == 1:
            code = DrrunError.exit_code
        end = Finish(finish.status, code, self._overrun(finish))
        # Before the last record: a controller that dies between the two leaves a run that a resume
        # can still end, and never a finished one that holds its hosts for ever.
        if self.recorder.state.plan.changes_anything:
            self.hosts.release(self.recorder.state.epoch)
        self.recorder.record(
            RunFinished(status=end.status, exit_code=end.exit_code, why=end.why), durable=True
        )
        return end

    def _overrun(self, finish: Finish) -> str:
        """Why the run ended, and that its window was over: an alert, and a record."""
        window = self.recorder.state.plan.window
        with self.recorder.lock:
            closed = bool(window) and not Window.parse(window).left(self.clock.now())
            over = closed and not self._before_region()
        said = f"it ended outside of its window {window} UTC" if over else ""
        return "; ".join(filter(None, (finish.why, said)))

    def _detach(self) -> Finish:
        self.recorder.record(RunDetached(why="asked to stop"), durable=True)
        return Finish("detached", 130, "asked to stop: commands on hosts go on")
