"""Undoing one unit, and proving at the end what could not be proved then."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from drrun.errors import StoreError
from drrun.execute.follow import Detached
from drrun.execute.live import LiveSession
from drrun.execute.means import Means
from drrun.execute.owed import PATIENCE, missing, read
from drrun.execute.past import Past
from drrun.execute.unit import Catalog, Performance
from drrun.journal.events import UnitFinished
from drrun.plan.plan import Unit
from drrun.spi import Done, DoneChange
from drrun.values import Outcome, UnitId


class Stage(Protocol):
    """What a unit is performed on."""

    def __call__(self, unit: Unit, attempt: int, *, undo: bool) -> tuple[LiveSession, Performance]:
        """The session, and the unit in it."""
        ...


@dataclass(frozen=True, slots=True)
class Backward:
    """The way back of one run."""

    means: Means
    catalog: Catalog
    stage: Stage
    ending: Callable[[UnitId, Exception], tuple[Outcome, str, str]]
    """What an error ends a unit with: outcome, why, hint."""
    end: Callable[[UnitFinished, float], None]
    """Records an end, and what it took since."""

    def undo(self, unit_id: UnitId, attempt: int, delay: float) -> None:
        """Undo one unit."""
        del delay
        state, began = self.means.recorder.state, self.means.clock.monotonic()
        unit = state.plan.unit_of[unit_id]
        session, stage = self.stage(unit, attempt, undo=True)
        record = state.units[unit_id]
        done = Done(
            tuple(DoneChange(c.name, c.host, c.before) for c in record.changes), record.outputs
        )
        if unit.host in state.fenced:
            self._leave(unit_id, attempt, f"{unit.host} is fenced: left as it is")
            return
        outcome, why, hint = Outcome.UNDONE, "", ""
        forward = Past(unit_id, self.means.recorder.entries(unit_id, record.attempt, undo=False))
        try:
            for change in forward.unsettled():
                if change.intents[-1].host not in state.fenced:
                    session.changer.settle(change)
            if not stage.undo(done):
                outcome, why = Outcome.SKIPPED, f"{stage.step.uses} cannot be undone: left as it is"
        except (StoreError, Detached):
            raise
        except Exception as error:  # noqa: BLE001 - the boundary: whatever a step type raises ends here
            outcome, why, hint = self.ending(unit_id, error)
            if outcome is not Outcome.UNKNOWN:
                outcome = Outcome.FAILED
        unproved = tuple(session.unproved) if outcome is Outcome.UNDONE else ()
        if unproved:
            why = f"put back, to be proved: {'; '.join(str(one['found']) for one in unproved)}"
        ended = UnitFinished(
            unit=unit_id,
            attempt=attempt,
            outcome=outcome,
            why=why,
            hint=hint,
            undo=True,
            unproved=unproved,
        )
        self.end(ended, began)

    def prove(self, unit_id: UnitId, attempt: int, delay: float) -> None:
        """Ask again what the unit's undo could not prove, for as long as a start may take."""
        del delay
        clock = self.means.clock
        state, began = self.means.recorder.state, clock.monotonic()
        outcome, why, hint = Outcome.UNDONE, "proved", ""
        try:
            owed = [read(self.catalog, line) for line in state.units[unit_id].unproved]
            left = [
                (one, found)
                for host, one in owed
                if host not in state.fenced
                and (
                    found := missing(
                        self.means, host, one, within=max(0.0, began + PATIENCE - clock.monotonic())
                    )
                )
            ]
            if left:
                outcome = Outcome.FAILED
                why = f"put back, and not as it was: {'; '.join(found for _, found in left)}"
                hint = "\n".join(dict.fromkeys(one.hint for one, _ in left if one.hint))
        except (StoreError, Detached):
            raise
        except Exception as error:  # noqa: BLE001 - the boundary, as above
            outcome, why, hint = Outcome.FAILED, *self.ending(unit_id, error)[1:]
        self.end(
            UnitFinished(
                unit=unit_id, attempt=attempt, outcome=outcome, why=why, hint=hint, undo=True
            ),
            began,
        )

    def _leave(self, unit: UnitId, attempt: int, why: str) -> None:
        ended = UnitFinished(
            unit=unit, attempt=attempt, outcome=Outcome.SKIPPED, why=why, undo=True
        )
        self.means.recorder.record(ended, durable=True)
