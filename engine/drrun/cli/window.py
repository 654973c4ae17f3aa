"""`--window`: what earlier runs say of a run's critical region, and when it may begin (hazard H2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from drrun.app import App
from drrun.cli.terminal import Terminal
from drrun.errors import DrrunError, Refused, UsageError
from drrun.plan.plan import Plan
from drrun.plan.window import Window, refusal
from drrun.report.region import learnt
from drrun.report.story import Story

_KEPT = 100
"""The newest runs that are looked at."""


def windowed(app: App, plan: Plan, window: str) -> Plan:
    """The plan with its window, and with what earlier runs of it took. Raises UsageError."""
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


def _earlier(app: App, plan: Plan) -> Iterator[Story]:
    """Stories of runs of the same runbook on the same inventory; what cannot be read tells nothing."""
    for run in sorted(app.store.runs(), reverse=True)[:_KEPT]:
        try:
            found = app.store.load(run)
        except DrrunError:
            continue
        if (found.plan.name, found.plan.inventory_name) == (plan.name, plan.inventory_name):
            yield Story.of(found.plan, found.records)
