"""Where a run waits before its outage begins: what the outage will wait for is asked, and recorded."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from drrun.execute.asking import ask_facts, until
from drrun.execute.foreseeing import Foresight, Makes, refusal
from drrun.execute.hosts import Hosts
from drrun.execute.recorder import Recorder
from drrun.execute.unit import names_for
from drrun.journal.events import OutageForeseen
from drrun.journal.state import Status
from drrun.plan.plan import Unit
from drrun.ports import Clock
from drrun.spi import Fact
from drrun.values import HostName, Json

PATIENCE = 10.0
"""Seconds in which an answer that was wrong at first may still become right: a leader may just change."""


@dataclass(slots=True)
class Gate:
    """Lets a run's first unit that takes something away begin, once its outage was foreseen."""

    recorder: Recorder
    hosts: Hosts
    catalog: Makes
    clock: Clock
    stop: threading.Event
    passed: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def admit(self, unit: Unit) -> None:
        """Ask, before this unit's change is sent. Raises Refused; nothing was taken away then."""
        with self.lock:
            if self.passed:
                return
            foresight = self._foresight()
            if not foresight.takes_away(unit):
                return
            with self.recorder.lock:
                state = self.recorder.state
                left = [u for u in state.plan.units if state.units[u.id].status is not Status.DONE]
                begun = [u for u in state.plan.units if state.units[u.id].changes]
            foresight.begun = any(foresight.takes_away(one) for one in begun)
            found = foresight.ask(left, self._read)
            answers = tuple(dataclasses.asdict(one) for one in found)
            if answers:
                self.recorder.record(OutageForeseen(unit=unit.id, answers=answers), durable=True)
            if no := refusal(found):
                raise no
            self.passed = True

    def _foresight(self) -> Foresight:
        with self.recorder.lock:
            state = self.recorder.state
            outputs, fenced = state.outputs(), frozenset(state.fenced)
        plan = state.plan
        gone = fenced | self.hosts.unreached | {*plan.unasked}
        return Foresight(
            plan,
            self.catalog,
            lambda unit: names_for(plan, unit, outputs),
            gone,
            again=self._again,
        )

    def _read(self, host: HostName, facts: Sequence[Fact[Any]]) -> list[Json]:
        return ask_facts(self.hosts.line(host), facts)

    def _again(self, host: HostName, fact: Fact[Any], good: Callable[[Any], bool]) -> Any:
        line = self.hosts.line(host)
        return until(line, fact, good, within=PATIENCE, clock=self.clock, stop=self.stop)
