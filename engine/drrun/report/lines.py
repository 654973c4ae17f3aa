"""A run as plain lines, one an event of interest: for pipes, logs and terminals that are none.

`TIME EVENT key=value …`, UTC, values quoted where they hold blanks: what grep and logfmt read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import datetime
from typing import TypeAlias

from drrun.journal.events import (
    Answered,
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
    RunAttached,
    RunDetached,
    RunFinished,
    RunStarted,
    UndoStarted,
    UnitFinished,
    UnitStarted,
)
from drrun.plan.plan import Plan
from drrun.report.words import cut, fold, one_line
from drrun.values import Outcome, RunId, UnitId, span

Told: TypeAlias = tuple[str, list[tuple[str, object]]]
"""An event's name on a line, and its pairs."""

_BARE = re.compile(r"[A-Za-z0-9_.,:;/@%+|()\[\]-]+")


def line(plan: Plan, event: Event, when: datetime, *, verbose: bool = False) -> str:
    """The event's line, or the empty text when it is of no interest."""
    found = _told(plan, event, verbose=verbose)
    if found is None:
        return ""
    name, pairs = found
    return logfmt(when, name, [("run", plan.run), *pairs])


def heartbeat(plan: Plan, unit: UnitId, seconds: float, when: datetime, saying: str = "") -> str:
    """A line that says that a unit still runs."""
    pairs = [*_where(plan, unit), ("seconds", f"{seconds:.0f}"), ("last", saying)]
    return logfmt(when, "step.host.running", [("run", plan.run), *pairs])


def logfmt(when: datetime, name: str, pairs: Iterable[tuple[str, object]]) -> str:
    """`2026-11-22T01:16:02Z step.host.ok run=… host=…`; pairs without a value are left out."""
    words = [f"{key}={_quoted(str(value))}" for key, value in pairs if value not in ("", None)]
    return " ".join([when.strftime("%Y-%m-%dT%H:%M:%SZ"), name, *words])


def _quoted(text: str) -> str:
    text = one_line(text, 400)
    return text if _BARE.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _where(plan: Plan, unit: UnitId) -> list[tuple[str, object]]:
    found = plan.unit_of[unit]
    return [("step", found.step), ("host", fold(found.hosts).replace(" ", ","))]


def _told(plan: Plan, event: Event, *, verbose: bool) -> Told | None:
    match event:
        case UnitStarted():
            tries = event.attempt if event.attempt > 1 else ""
            name = "undo.host.started" if event.undo else "step.host.started"
            return name, [*_where(plan, event.unit), ("attempt", tries)]
        case UnitFinished():
            return _unit_finished(plan, event)
        case Answered():
            return _answer(plan, event) if verbose else None
        case Noted() | Measured():
            return _said(plan, event)
        case ChangeIntended() | ChangeFinished() | ChangeLost() | Resolved():
            return _change(plan, event)
    return _run(plan.run, event)


def _answer(plan: Plan, event: Answered) -> Told:
    answers = json.dumps(event.answers, ensure_ascii=False)
    pairs = [("kind", event.kind), ("asked", event.name), ("answers", answers)]
    return "step.answer", [*_where(plan, event.unit), *pairs]


def _said(plan: Plan, event: Noted | Measured) -> Told:
    where = _where(plan, event.unit)
    if isinstance(event, Noted):
        return "step.note", [*where, ("text", event.text)]
    return "step.measure", [*where, ("name", event.name), ("value", event.value)]


def _unit_finished(plan: Plan, event: UnitFinished) -> Told:
    word = "ok" if event.outcome.good or event.outcome is Outcome.UNDONE else str(event.outcome)
    name = f"undo.host.{word}" if event.undo else f"step.host.{word}"
    return name, [
        *_where(plan, event.unit),
        ("outcome", event.outcome if word == "ok" else ""),
        ("seconds", event.seconds),
        ("why", event.why),
        ("hint", event.hint),
    ]


def _change(plan: Plan, event: ChangeIntended | ChangeFinished | ChangeLost | Resolved) -> Told:
    where = [("step", plan.unit_of[event.unit].step), ("host", event.host)]
    match event:
        case ChangeIntended():
            return "change.sent", [*where, ("change", event.name), ("command", event.preview)]
        case ChangeFinished():
            said = event.complaint if event.code else ""
            pairs = [("rc", event.code), ("seconds", event.seconds), ("cut", cut(event))]
            pairs.append(("said", said))
            return "change.ended", [*where, ("change", event.name), *pairs]
        case ChangeLost():
            return "change.lost", [*where, ("change", event.name), ("why", event.why)]
        case Resolved():
            by = [("by", event.by), ("why", event.why)]
            return "change.resolved", [*where, ("verdict", event.verdict), *by]


def _host(event: HostFenced | HostSilent | HostHeard) -> list[tuple[str, object]]:
    match event:
        case HostFenced():
            how = [("method", event.method), ("reason", event.reason), ("by", event.by)]
            return [("host", event.host), *how]
        case HostSilent():
            going_on = f"it is asked again for {span(event.patience)}"
            return [("host", event.host), ("why", event.why), ("next", going_on)]
        case HostHeard():
            return [("host", event.host), ("seconds", event.seconds)]


def _run(run: RunId, event: Event) -> Told | None:
    pairs: list[tuple[str, object]]
    match event:
        case RunStarted():
            pairs = [
                ("runbook", event.runbook),
                ("inventory", event.inventory),
                ("operator", event.operator),
                ("plan", event.plan[:12]),
            ]
        case RunAttached():
            pairs = [("epoch", event.epoch), ("operator", event.operator)]
        case RunDetached():
            pairs = [("why", event.why), ("next", f"drrun resume {run}")]
        case RunFinished():
            pairs = [("status", event.status), ("exit", event.exit_code), ("why", event.why)]
        case UndoStarted():
            pairs = [("why", event.why), ("operator", event.operator)]
        case PointOfNoReturn():
            pairs = [("unit", event.unit)]
        case OutageForeseen():
            told = [
                f"{one['name']}@{one['host']}" for one in event.answers if one["standing"] == "bad"
            ]
            pairs = [("unit", event.unit), ("asked", len(event.answers)), ("bad", ",".join(told))]
        case JournalTrimmed():
            pairs = [("bytes", event.size)]
        case HostFenced() | HostSilent() | HostHeard():
            pairs = _host(event)
        case _:
            return None
    return event.type, pairs
