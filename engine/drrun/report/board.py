"""What the live view shows: lines that stay, and lanes for what is under way. Pure: time comes in.

`take` gives the lines that an event leaves behind; `lanes` are the units that run now.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from drrun.journal.events import (
    ChangeFinished,
    ChangeIntended,
    ChangeLost,
    Event,
    HostFenced,
    HostHeard,
    HostSilent,
    JournalTrimmed,
    Measured,
    Noted,
    OutageForeseen,
    PointOfNoReturn,
    Resolved,
    UndoStarted,
    UnitFinished,
    UnitStarted,
)
from drrun.plan.plan import Plan
from drrun.report.outlook import journaled
from drrun.report.words import MARKS, cut, fold, one_line, outcome_word, safe
from drrun.values import Outcome, StepId, UnitId, span


@dataclass(slots=True)
class Lane:
    """One unit that runs now."""

    unit: UnitId
    hosts: str
    since: float
    undo: bool
    change: str = ""
    token: str = ""


@dataclass(slots=True)
class Board:
    """The fold of a run's events into what a person watches."""

    plan: Plan
    lanes: dict[UnitId, Lane] = field(default_factory=dict)
    undoing: bool = False
    _ended: dict[StepId, dict[UnitId, UnitFinished]] = field(default_factory=dict)
    _began: dict[StepId, float] = field(default_factory=dict)

    @property
    def steps_done(self) -> int:
        """Steps whose every unit ended well."""
        return sum(
            len(ended) == len(self.plan.units_of[step])
            and all(e.outcome.good for e in ended.values())
            for step, ended in self._ended.items()
        )

    def take(self, event: Event, now: float) -> list[str]:
        """The lines that this event leaves on the screen for good."""
        match event:
            case UnitStarted():
                return self._unit_started(event, now)
            case UnitFinished():
                return self._unit_finished(event, now)
            case ChangeIntended() if event.unit in self.lanes:
                lane = self.lanes[event.unit]
                lane.change, lane.token = f"{event.host} {event.name}", event.token
            case ChangeFinished() if event.unit in self.lanes:
                self.lanes[event.unit].change = ""
                if where := cut(event):
                    return [f"    {event.host}│ {event.name} was cut: {where}"]
            case HostSilent() | HostHeard():
                return [_reach(event)]
            case _:
                return self._said(event)
        return []

    def _unit_started(self, event: UnitStarted, now: float) -> list[str]:
        unit = self.plan.unit_of[event.unit]
        self.lanes[event.unit] = Lane(event.unit, fold(unit.hosts), now, event.undo)
        self._began.setdefault(unit.step, now)
        if event.attempt > 1 and not event.undo:
            return [f"▶ {self._name(event.unit)}  attempt {event.attempt}"]
        return []

    def _said(self, event: Event) -> list[str]:
        match event:
            case Noted():
                return [f"    {self._hosts(event.unit)}│ {one_line(event.text, 300)}"]
            case Measured():
                return [f"    {self._hosts(event.unit)}│ {event.name} = {event.value:g}"]
            case ChangeLost() | Resolved():
                return [self._doubt(event)]
            case _:
                return self._turned(event)

    def _turned(self, event: Event) -> list[str]:
        """What changes the course of the run."""
        match event:
            case UndoStarted():
                self.undoing = True
                self._ended.clear()
                self._began.clear()
                return [f"! undoing: {one_line(event.why, 300)}"]
            case HostFenced():
                return [f"! {event.host} is fenced, and left out: {one_line(event.words, 300)}"]
            case OutageForeseen():
                return [f"    {line}" for line in journaled(event.answers)]
            case PointOfNoReturn() | JournalTrimmed():
                return [self._told(event)]
            case _:
                return []

    def _doubt(self, event: ChangeLost | Resolved) -> str:
        why = one_line(event.why, 300)
        if isinstance(event, Resolved):
            return f"    {event.host}│ {event.verdict}, says {event.by}: {why}"
        return f"? {self._name(event.unit)}  {event.host} {event.name}: not known: {why}"

    def _told(self, event: PointOfNoReturn | JournalTrimmed) -> str:
        if isinstance(event, JournalTrimmed):
            return f"! the journal's last record was cut short: its {event.size} bytes are trimmed"
        return f"! {self._name(event.unit)}  point of no return: from here on no undo"

    def _unit_finished(self, event: UnitFinished, now: float) -> list[str]:
        self.lanes.pop(event.unit, None)
        step = self.plan.unit_of[event.unit].step
        ended = self._ended.setdefault(step, {})
        ended[event.unit] = event
        if not (event.outcome.good or event.outcome is Outcome.UNDONE):
            mark = MARKS[event.outcome]
            took = span(event.seconds)
            head = f"{mark} {self._name(event.unit)}  {self._hosts(event.unit)}"
            return [f"{head}  {event.outcome}  {took}: {safe(event.why)}"]
        units = self.plan.units_of[step]
        if self.undoing:
            told = f"{event.why or event.outcome}  {span(event.seconds)}"
            return [f"✔ undo {self._name(event.unit)}  {self._hosts(event.unit)}  {told}"]
        if len(ended) < len(units) or not all(e.outcome.good for e in ended.values()):
            return []
        return [self._step_line(step, now)]

    def _step_line(self, step: StepId, now: float) -> str:
        ended = self._ended[step]
        words: dict[str, list[str]] = {}
        for unit in self.plan.units_of[step]:
            word = outcome_word(self.plan.step_of[step], ended[unit.id].outcome)
            words.setdefault(word, []).extend(unit.hosts)
        told = ", ".join(
            word if len(words) == 1 else f"{fold(hosts)} {word}" for word, hosts in words.items()
        )
        mark = "-" if set(words) == {"skipped"} else "✔"
        took = span(now - self._began.get(step, now))
        return f"{mark} {self._number(step)} {step}  {fold(self.plan.step_of[step].hosts)}  {told}  {took}"

    def _number(self, step: StepId) -> int:
        return list(self.plan.step_of).index(step) + 1

    def _name(self, unit: UnitId) -> str:
        step = self.plan.unit_of[unit].step
        return f"{self._number(step)} {step}"

    def _hosts(self, unit: UnitId) -> str:
        return fold(self.plan.unit_of[unit].hosts)

    def running(self, now: float) -> list[tuple[str, list[Lane], float]]:
        """Steps under way: their title, lanes, and seconds since the first of them began."""
        found: dict[StepId, list[Lane]] = {}
        for lane in list(self.lanes.values()):
            found.setdefault(self.plan.unit_of[lane.unit].step, []).append(lane)
        return [
            (f"{self._number(step)} {step}", lanes, now - min(lane.since for lane in lanes))
            for step, lanes in found.items()
        ]

    def footer(self, elapsed: float, *, stopping: bool) -> str:
        """`3/6 steps · 2m10s of RTO 15m00s · ^C stops safely`."""
        goal = self.plan.objectives.get("rto")
        clock = span(elapsed) + (f" of RTO {span(goal)}" if goal is not None else "")
        done = f"{self.steps_done}/{len(self.plan.steps)} steps"
        way = "undoing" if self.undoing else done
        stop = "stopping: commands on hosts go on" if stopping else "^C stops safely"
        return f"{way} · {clock} · {stop}"


def _reach(event: HostSilent | HostHeard) -> str:
    if isinstance(event, HostHeard):
        return f"✔ {event.host} answers again, after {span(event.seconds)}"
    why, left = one_line(event.why, 300), span(event.patience)
    return f"? {event.host} does not answer; it is asked again for {left}: {why}"
