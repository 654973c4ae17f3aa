"""The dry-run: every unit in plan order over one overlay; reads are real, nothing is launched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from drrun.errors import ConnectError, DrrunError, NotKnownError, Refused
from drrun.execute.forecast import DrySession, Guarded, Overlay, Predicted, Reader
from drrun.execute.foreseeing import Foreseen, Foresight
from drrun.execute.foreseeing import refusal as refusal_of
from drrun.execute.keep import lost, measure, refusal
from drrun.execute.observed import Observed, Observing
from drrun.execute.unit import Catalog, Performance, Skip, names_for
from drrun.journal.state import step_outputs
from drrun.model.fencing import names
from drrun.plan.plan import Plan, Unit
from drrun.values import ANYTHING, Effect, Grade, HostName, NotKnown, StepId, UnitId


@dataclass(frozen=True, slots=True)
class UnitForecast:
    """What a run would do in one unit."""

    unit: UnitId
    step: StepId
    hosts: tuple[HostName, ...]
    grade: Grade
    changes: tuple[Predicted, ...]
    asked: tuple[tuple[HostName, str], ...] = ()
    unchecked: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    skipped: str = ""
    refused: str = ""
    hint: str = ""
    unknown: str = ""
    """Why the prediction ends in this unit."""
    guards: tuple[Guarded, ...] = ()
    """What it required of hosts."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a run would do, change for change, in the order of the plan."""

    plan: Plan
    units: tuple[UnitForecast, ...]
    offline: bool = False
    facts: tuple[Observed, ...] = ()
    """What the hosts said, each question once."""
    foreseen: tuple[Foreseen, ...] = ()
    """What the outage will wait for, asked on the state of now; empty where nothing is taken away."""

    @property
    def changes(self) -> tuple[Predicted, ...]:
        """Every sure change, in order."""
        return tuple(c for unit in self.units for c in unit.changes if not c.conditional)

    @property
    def conditional(self) -> tuple[Predicted, ...]:
        """Changes that depend on what only a run can see."""
        return tuple(c for unit in self.units for c in unit.changes if c.conditional)

    @property
    def refusals(self) -> tuple[UnitForecast, ...]:
        """Units that a run would refuse, given what is there now."""
        return tuple(unit for unit in self.units if unit.refused)

    @property
    def exit_code(self) -> int:
        """0, or 5 when the run would be refused."""
        return Refused.exit_code if self.refusals else 0

    def coverage(self) -> Mapping[Grade, int]:
        """Units by grade."""
        return {g: sum(unit.grade is g for unit in self.units) for g in Grade}


@dataclass(slots=True)
class Dry:
    """One dry-run."""

    plan: Plan
    catalog: Catalog
    reader: Reader
    offline: bool = False
    unreached: frozenset[HostName] = frozenset()
    """Hosts that cannot be reached and that the plan can do without."""
    overlay: Overlay = field(default_factory=Overlay)
    foreseen: tuple[Foreseen, ...] | None = None
    """What was asked before the first unit that takes something away; None before it."""
    _done: set[UnitId] = field(default_factory=set)
    _ended: dict[UnitId, bool] = field(default_factory=dict)
    """Units that the run would come to the end of: whether well."""
    _outputs: dict[StepId, dict[str, Mapping[str, Any]]] = field(default_factory=dict)

    def forecast(self) -> Forecast:
        """Go through every unit that a run would come to, in its order. Raises ConnectError.

        What waits for a refused unit is left out; what does not may be done before the refusal
        comes, and is told. `always` steps come last, whatever happened.
        """
        units: list[UnitForecast] = []
        sure, always = (
            [step for step in self.plan.steps if step.always is last] for last in (False, True)
        )
        left = [unit for step in sure for unit in self.plan.units_of[step.id]]
        while due := next((unit for unit in left if self._reached(unit)), None):
            left.remove(due)
            units.append(self._unit(due))
        if any(u.refused and self.plan.step_of[u.step].on_failure == "undo" for u in units):
            self._blur(self.plan.targets, "undoing")
        for step in always:
            units += [self._unit(unit) for unit in self.plan.units_of[step.id]]
        return Forecast(self.plan, tuple(units), self.offline, foreseen=self.foreseen or ())

    def _reached(self, unit: Unit) -> bool:
        """Whether all that the unit waits for ends as it asks."""
        for need in unit.needs:
            before = [u for u in self.plan.units_of[need.step] if need.host in (None, u.host)]
            for one in before:
                good = self._ended.get(one.id)
                if good is None or not (good or need.outcome == "any"):
                    return False
        return True

    def _unit(self, unit: Unit) -> UnitForecast:
        if self.unreached & set(unit.hosts):
            self._ended[unit.id] = True
            why = "it cannot be reached: a run would leave it out, as tolerated"
            return UnitForecast(unit.id, unit.step, unit.hosts, Grade.OBSERVED, (), skipped=why)
        session = DrySession(unit, self.overlay, self.reader)
        names = names_for(self.plan, unit, self._steps())
        stage = Performance(self.plan, unit, self.catalog, session, names, self._done.__contains__)
        stage.turn = lambda: self._turn(unit, session)
        skipped = refused = hint = unknown = ""
        try:
            result = stage.run()
            if isinstance(result, Skip):
                skipped, result = result.why, {}
            self._outputs.setdefault(unit.step, {})[unit.host or "group"] = result
            if session.changes:
                self._foresee(unit)
            if not skipped:
                self._done.add(unit.id)
        except NotKnownError as error:
            unknown = error.message
            self._untold(unit)
            refused, hint = self._foresaw(unit)
            self._outputs.setdefault(unit.step, {})[unit.host or "group"] = self._holes(unit)
            self._done.add(unit.id)  # given that it succeeds: what it does is all that is not known
        except ConnectError:
            raise
        except DrrunError as error:
            refused, hint = error.message, error.hint
        step = self.plan.step_of[unit.step]
        told = not unknown or step.accept_unknown or self.offline
        if step.effect is Effect.DESTROY and not told:
            refused = f"{unit.id} destroys, and what it will do cannot be told: {unknown}"
            hint = "`accept_unknown: true` on the step accepts that by name"
        self._ended[unit.id] = not refused
        return UnitForecast(
            unit.id,
            unit.step,
            unit.hosts,
            Grade.UNKNOWN if unknown else session.grade,
            tuple(session.changes),
            tuple(session.asked),
            tuple(session.at_run),
            tuple(session.notes),
            skipped,
            refused,
            hint,
            unknown,
            tuple(session.guards),
        )

    def _foresee(self, unit: Unit) -> None:
        """Ask what the outage will wait for, before the first unit that takes something away. Raises Refused."""
        if self.offline or self.foreseen is not None:
            return
        foresight = Foresight(self.plan, self.catalog, self._names, self._gone)
        if foresight.takes_away(unit):
            # Guards, not facts of a sealed plan: what they say is not kept to be compared.
            reader = self.reader.reader if isinstance(self.reader, Observing) else self.reader
            foresight.known = self.overlay.get
            self.foreseen = foresight.ask(self.plan.units, reader)
            if no := refusal_of(self.foreseen):
                raise no

    def _foresaw(self, unit: Unit) -> tuple[str, str]:
        """The same, for a unit whose prediction ended before its changes: message and hint, or nothing."""
        try:
            self._foresee(unit)
        except Refused as error:
            return error.message, error.hint
        return "", ""

    @property
    def _gone(self) -> frozenset[HostName]:
        return self.unreached | names(self.plan.fenced) | {*self.plan.unasked}

    def _names(self, unit: Unit) -> Mapping[str, Any]:
        return names_for(self.plan, unit, self._steps())

    @contextmanager
    def _turn(self, unit: Unit, session: DrySession) -> Iterator[None]:
        """What `keep` would say now; what earlier turns changed is measured by the run."""
        keep = self.plan.step_of[unit.step].keep
        if keep is not None:
            fact = self.catalog.make_fact(keep.fact.name, keep.fact.args)
            found = measure(keep, unit.hosts, (), session.read_all(self._present(keep.hosts), fact))
            already = lost(keep, found, ())
            short = found.left + found.perhaps < keep.least
            if short and not (already and keep.if_lost == "proceed"):
                raise refusal(keep, unit, found, already=already)
            if found.left < keep.least and not already:
                session.unchecked(f"{keep.least} of {len(keep.hosts)} stay healthy: {fact.key}")
        yield

    def _untold(self, unit: Unit) -> None:
        """What a unit does that cannot be told may be anything, wherever it can act."""
        step = self.plan.step_of[unit.step]
        if step.effect is not Effect.READ and not self.offline:
            everywhere = step.kind == "group"  # it reaches hosts of any role
            self._blur(self.plan.targets if everywhere else unit.hosts, unit.id)

    def _blur(self, hosts: Iterable[HostName], origin: str) -> None:
        for host in hosts:
            self.overlay.touch(host, (ANYTHING,), origin)

    def _holes(self, unit: Unit) -> Mapping[str, Any]:
        """What the unit would give: later steps know the names, and none of the values."""
        spec = self.catalog.step(self.plan.step_of[unit.step].uses)
        return {name: NotKnown(f"{unit.id}.{name}") for name in (spec.outputs if spec else ())}

    def _present(self, hosts: Sequence[HostName]) -> list[HostName]:
        gone = names(self.plan.fenced)
        return [host for host in hosts if host not in gone]

    def _steps(self) -> Mapping[str, Mapping[str, object]]:
        return {step.id: step_outputs(self._outputs.get(step.id, {})) for step in self.plan.steps}
