"""A sealed plan for those who review it: what it will do, what it rests on, what it promises. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from datetime import datetime

from drrun.execute.compare import Comparison
from drrun.execute.forecast import Predicted
from drrun.execute.sealed import PROMISE, Sealed
from drrun.report import drift, dry
from drrun.report.promise import SHORT
from drrun.report.words import columns, count, one_line, safe
from drrun.values import Json, canonical, span


def footer(sealed: Sealed, path: str) -> list[str]:
    """What a dry-run says after it sealed its plan."""
    return [
        f"Sealed into {safe(path)}: plan {sealed.digest[:SHORT]}, run {sealed.run}.",
        *textwrap.wrap(PROMISE, 100, break_on_hyphens=False),
        f"Review it: drrun plan show {safe(path)}",
        f"Run exactly this: drrun apply {safe(path)}",
    ]


def reference(sealed: Sealed, path: str) -> dict[str, Json]:
    """Where a plan is and what it is called."""
    return {"path": path, "digest": sealed.digest, "run": sealed.run, "promise": PROMISE}


def head(sealed: Sealed, now: datetime) -> list[str]:
    """Which plan this is, who sealed it, and how long ago."""
    age = (now - datetime.fromisoformat(sealed.at)).total_seconds()
    return [
        f"sealed {sealed.digest[:SHORT]} · run {sealed.run}",
        f"       {span(max(0.0, age))} ago ({sealed.at}) by {safe(sealed.by)} on {safe(sealed.controller)}",
    ]


def screen(sealed: Sealed, now: datetime, *, verbose: bool = False) -> str:
    """The whole plan: the dry-run's screen, then what is pinned, guarded and left to move."""
    lines = [*head(sealed, now), dry.screen(sealed.forecast, verbose=verbose), ""]
    lines += _rests_on(sealed)
    if verbose:
        lines += ["", "guards:", *(f"  {one_line(text, 200)}" for text in _guards(sealed))]
        lines += ["", "sends, in full:"]
        for unit in sealed.forecast.units:
            lines += [line for change in unit.changes for line in command_lines(change)]
    return "\n".join([*lines, "", *textwrap.wrap(PROMISE, 100, break_on_hyphens=False)])


def _rests_on(sealed: Sealed) -> list[str]:
    facts = sealed.forecast.facts
    pinned = [fact for fact in facts if fact.pinned is not None]
    plan = sealed.forecast.plan
    rows = [["runbook", safe(sealed.asked.runbook), plan.runbook_digest[:SHORT]]]
    rows.append(["inventory", safe(sealed.asked.inventory), _hosts(sealed)])
    rows += [["input", f"{n}={one_line(str(v), 60)}", ""] for n, v in plan.inputs.items()]
    rows += [["file of input", name, digest[:SHORT]] for name, digest in plan.files.items()]
    rows += [["code", package, one_line(told, 60)] for package, told in sealed.code.items()]
    rows += [["host key", host, key] for host, key in sealed.keys.items()]
    rows += [["fact", f"{f.host} {one_line(f.fact, 60)}", _short(f.pinned)] for f in pinned]
    lines = ["refused when any of these is another one:", *columns(rows)]
    lines.append(
        f"{count(len(_guards(sealed)), 'guard')} evaluated again, refused when one does not hold."
    )
    lines.append(f"{count(len(facts) - len(pinned), 'other fact')} may move, and would be told.")
    return lines


def _guards(sealed: Sealed) -> list[str]:
    """Every predicate that the plan rests on: the rules' and the steps' own."""
    rules = [
        f"{unit.id}: {guard.fact.key} of {host} must be {_short(guard.value)}: {guard.because}"
        for unit in sealed.forecast.plan.units
        for guard in unit.guards
        for host in guard.hosts
    ]
    return rules + [
        f"{unit.unit}: {guard.fact} of {guard.host} must be {guard.must}: {guard.because}"
        for unit in sealed.forecast.units
        for guard in unit.guards
    ]


def _hosts(sealed: Sealed) -> str:
    targets = sealed.inventory.get("targets")
    return count(len(targets), "host") if isinstance(targets, Mapping) else ""


def _short(value: Json) -> str:
    return one_line(canonical(value).decode(), 80)


def command_lines(change: Predicted) -> list[str]:
    """One change with the whole of its command: variables first, then its words or its script."""
    lines = ["", f"  {change.unit}: {change.name} on {change.host}"]
    command = change.command
    if not isinstance(command, Mapping):
        return lines
    env = command.get("env")
    for name, value in env.items() if isinstance(env, Mapping) else ():
        lines.append(f"    {safe(name)}={_value(value)}")
    words = command.get("argv")
    if words and isinstance(words, Iterable):
        lines.append(f"    {' '.join(_value(word) for word in words)}")
    text = command.get("text")
    lines += [f"    | {safe(line)}" for line in str(text or "").strip().splitlines()]
    return lines


def _value(value: Json) -> str:
    if isinstance(value, Mapping):
        after = value.get("known_after")
        return f"<known after {safe(str(after))}>" if after is not None else "<secret>"
    return safe(str(value))


def document(sealed: Sealed) -> dict[str, Json]:
    """The plan as one JSON document."""
    return {
        **dry.document(sealed.forecast),
        "type": "plan",
        "digest": sealed.digest,
        "run": sealed.run,
        "sealed_at": sealed.at,
        "sealed_by": sealed.by,
        "code": dict(sealed.code),
        "host_keys": {str(host): key for host, key in sealed.keys.items()},
        "pinned": [
            {"host": fact.host, "fact": fact.fact, "value": fact.pinned}
            for fact in sealed.forecast.facts
            if fact.pinned is not None
        ],
        "promise": PROMISE,
    }


def comparison_document(sealed: Sealed, comparison: Comparison) -> dict[str, Json]:
    """What moved since the plan was sealed, for programs."""
    return {
        "type": "plan.compared",
        "digest": sealed.digest,
        "run": sealed.run,
        "moved": [line.strip() for line in drift.moved_lines(comparison.moved)[1:]],
    }
