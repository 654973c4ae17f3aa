"""What a run is admitted by: `--window`, and `--rehearsed`, from the runs that are kept (hazard H2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime

from drrun.app import App
from drrun.cli.options import Admission
from drrun.cli.terminal import Terminal
from drrun.errors import DrrunError, Refused, UsageError
from drrun.plan.plan import Plan
from drrun.plan.window import Window, refusal
from drrun.report.region import learnt
from drrun.report.rehearsal import rehearsed
from drrun.report.story import Story
from drrun.values import seconds

_KEPT = 100
"""The newest runs that are looked at."""


def windowed(app: App, plan: Plan, asked: Admission) -> Plan:
    """The plan with its window, and with what earlier runs of it took. Raises Refused, UsageError."""
    proved(app, plan, asked.rehearsed)
    window = asked.window
    if not window:
        return plan
    try:
        Window.parse(window)
    except ValueError as error:
        raise UsageError(f"--window: {error}") from error
    return dataclasses.replace(plan, window=window, expected=learnt(_earlier(app, plan)))


def admitted(plan: Plan, screen: Terminal, now: float) -> None:
    """Say before anything is begun that it will rest; raise Refused where it could not even do that."""
    why = refusal(plan.window, plan.expected, now) if plan.window else ""
    if why and not plan.staging:
        raise Refused(why, hint="begin it then, or leave --window out")
    if why:
        screen.warn(f"{why}; unless that changes, the run rests at its safe point")


def proved(app: App, plan: Plan, rehearsed_within: str) -> None:
    """Raise Refused where the runbook was not run to its good end within that time, UsageError."""
    if not rehearsed_within:
        return
    try:
        within = seconds(rehearsed_within)
    except ValueError as error:
        raise UsageError(f"--rehearsed: {error}") from error
    now = datetime.fromtimestamp(app.clock.now(), UTC)
    if why := rehearsed(plan, _runs(app, plan)).refusal(within, now):
        raise Refused(
            f"{plan.name}: {why}",
            hint="rehearse it on a cluster that is like this one (docs/how-to/lab.md)",
        )


def _earlier(app: App, plan: Plan) -> Iterator[Story]:
    """Of the same inventory."""
    return (s for s in _runs(app, plan) if s.plan.inventory_name == plan.inventory_name)


def _runs(app: App, plan: Plan) -> Iterator[Story]:
    """Stories of runs of the same runbook; what cannot be read tells nothing."""
    for run in sorted(app.store.runs(), reverse=True)[:_KEPT]:
        try:
            found = app.store.load(run)
        except DrrunError:
            continue
        if found.plan.name == plan.name:
            yield Story.of(found.plan, found.records)
