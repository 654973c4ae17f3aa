"""The screen of a dry-run: what a run would do, in the order of the plan. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from drrun.execute.dry import Forecast, UnitForecast
from drrun.execute.forecast import Predicted
from drrun.model.fencing import names
from drrun.plan.plan import Plan, PlanStep
from drrun.report import absent, outlook, region
from drrun.report.words import columns, count, fold, one_line, safe
from drrun.values import Effect, Grade, HostName, Json, span

EFFECTS = {Effect.READ: "read", Effect.CHANGE: "change", Effect.DESTROY: "DESTROYS"}
FORMAT = 1


def screen(forecast: Forecast, *, verbose: bool = False) -> str:
    """The whole screen."""
    plan = forecast.plan
    lines = [*header(plan), basis(forecast), ""]
    heads = iter(_heads(plan))
    lines.append(next(heads))
    for step, head in zip(plan.steps, heads, strict=True):
        lines.append(head)
        units = [unit for unit in forecast.units if unit.step == step.id]
        lines += _body(step, units, verbose=verbose)
    lines += outlook.screen(forecast.foreseen, verbose=verbose)
    lines += _conditional(forecast)
    lines += _refusals(forecast)
    lines += ["", *_sums(forecast)]
    return "\n".join(lines)


def header(plan: Plan) -> list[str]:
    """Which runbook, on what."""
    hosts = fold(_asked(plan)) or "this machine"
    return [
        f"plan  {plan.name} · {safe(plan.title)}",
        f"      {safe(plan.runbook)} @{plan.runbook_digest[:7]} · {plan.inventory_name} · {hosts}",
        *(f"      {line}" for line in (*region.planned(plan), *absent.planned(plan))),
    ]


def _asked(plan: Plan) -> list[HostName]:
    gone = {"controller", *names(plan.fenced), *plan.unasked}
    return [host for host in plan.targets if host not in gone]


def basis(forecast: Forecast) -> str:
    """What the prediction rests on."""
    if forecast.offline:
        return "      offline: no host was asked; what depends on their state is not known"
    asked = {question for unit in forecast.units for question in unit.asked}
    hosts = {host for host, _ in asked}
    return (
        f"      {count(len(asked), 'fact')} read on {count(len(hosts), 'host')}, live and read-only"
    )


def _heads(plan: Plan) -> list[str]:
    rows = [["#", "step", "on", "effect", ""]]
    for number, step in enumerate(plan.steps, 1):
        marks = [
            word
            for word, there in (
                ("undo: yes" if step.undoable else "undo: no", step.effect is not Effect.READ),
                ("point of no return", step.point_of_no_return),
                ("always", step.always),
            )
            if there
        ]
        rows.append(
            [str(number), step.id, fold(step.hosts), EFFECTS[step.effect], " · ".join(marks)]
        )
    lines = columns(rows, indent="  ")
    return [lines[0], *(_marked(s, x) for s, x in zip(plan.steps, lines[1:], strict=True))]


def _marked(step: PlanStep, line: str) -> str:
    return f"!{line[1:]}" if step.effect is Effect.DESTROY else line


def _body(step: PlanStep, units: Sequence[UnitForecast], *, verbose: bool) -> list[str]:
    if not units:
        return ["       not reached: a run would stop before"]
    lines: list[str] = []
    for shared in _alike(units):
        lines += _unit(step, shared)
    if verbose:
        for unit in units:
            lines += [f"       asked {host} {safe(key)}" for host, key in unit.asked]
    return lines


def _alike(units: Sequence[UnitForecast]) -> list[list[UnitForecast]]:
    """Neighbouring units that would do the very same: shown once."""
    return [list(same) for _, same in groupby(units, key=_shape)]


def _shape(unit: UnitForecast) -> tuple[object, ...]:
    changes = tuple((c.name, c.preview) for c in unit.changes if not c.conditional)
    at_run = tuple(_without(unit, text) for text in unit.unchecked)
    notes = tuple(_without(unit, text) for text in unit.notes)
    return (changes, at_run, notes, unit.skipped, unit.unknown, bool(unit.refused), unit.grade)


def _without(unit: UnitForecast, text: str) -> str:
    """A line of a unit without its own host's name: what neighbours have in common."""
    return text.replace(unit.hosts[0], "HOST") if len(unit.hosts) == 1 else text


def _unit(step: PlanStep, same: Sequence[UnitForecast]) -> list[str]:
    first, pad = same[0], "       "
    hosts = fold(host for unit in same for host in unit.hosts)
    if first.skipped:
        return [f"{pad}- skipped on {hosts}: {one_line(first.skipped)}"]
    lines = [
        f"{pad}{where}  {name}: {one_line(preview)}" for where, name, preview in _changes(same)
    ]
    if (
        not any(u.changes or u.refused or u.unknown for u in same)
        and step.effect is not Effect.READ
    ):
        lines.append(f"{pad}{hosts}  no change")
    for unit in same:
        lines += [f"{pad}? checked at run: {one_line(text)}" for text in unit.unchecked]
        lines += [f"{pad}note {one_line(text)}" for text in unit.notes]
    if first.unknown:
        lines.append(f"{pad}? not known on {hosts}: {one_line(first.unknown)}")
    lines += [f"{pad}✘ refused: {one_line(unit.refused, 400)}" for unit in same if unit.refused]
    return lines


def _changes(same: Sequence[UnitForecast]) -> list[tuple[str, str, str]]:
    """(where, name, preview) of the sure changes of units that do the same."""
    if len(same) > 1:
        hosts = fold(host for unit in same for host in unit.hosts)
        return [(hosts, c.name, c.preview) for c in same[0].changes if not c.conditional]
    sure = [c for c in same[0].changes if not c.conditional]
    return [
        (fold(c.host for c in group), name, preview)
        for (name, preview), run in groupby(sure, key=lambda c: (c.name, c.preview))
        for group in [list(run)]
    ]


def _conditional(forecast: Forecast) -> list[str]:
    if not forecast.conditional:
        return []
    lines = ["", "may be made, depending on what only a run can see:"]
    for change in forecast.conditional:
        lines.append(f"  ~ {change.host}  {change.step}.{change.name}: {one_line(change.preview)}")
        lines.append(f"      {one_line(change.conditional)}")
    return lines


def _refusals(forecast: Forecast) -> list[str]:
    if not forecast.refusals:
        return []
    told = "not told without asking the hosts" if forecast.offline else "a run would be refused"
    lines = ["", f"{told}:"]
    for unit in forecast.refusals:
        lines.append(f"  ✘ {unit.unit}: {safe(unit.refused)}")
        lines += [f"      next: {safe(hint)}" for hint in unit.hint.splitlines()]
    return lines


def _sums(forecast: Forecast) -> list[str]:
    plan = forecast.plan
    destroys = sum(step.effect is Effect.DESTROY for step in plan.steps)
    parts = [
        count(len(plan.steps), "step"),
        count(len(_asked(plan)), "host"),
        count(len(forecast.changes), "change"),
    ]
    if forecast.conditional:
        parts.append(f"{len(forecast.conditional)} conditional")
    if destroys:
        parts.append(f"{count(destroys, 'step')} that destroy{'s' if destroys == 1 else ''}")
    grades = [f"{n} {grade}" for grade, n in forecast.coverage().items() if n]
    sums = [f"{', '.join(parts)}.", f"Units predicted: {', '.join(grades) or 'none'}."]
    if forecast.coverage()[Grade.UNKNOWN]:
        sums.append("What is unknown here is decided by the run, when it gets there.")
    if plan.objectives:
        goals = ", ".join(f"{k.upper()} {span(v)}" for k, v in plan.objectives.items())
        sums.append(f"Objectives: {goals}.")
    return [*sums, "Nothing changed."]


def document(forecast: Forecast) -> dict[str, Json]:
    """The forecast as one JSON document."""
    plan = forecast.plan
    return {
        "type": "forecast",
        "format": FORMAT,
        "runbook": plan.runbook,
        "runbook_digest": plan.runbook_digest,
        "name": plan.name,
        "inventory": plan.inventory_name,
        "offline": forecast.offline,
        "fenced": absent.as_json(plan),
        "steps": [
            {"id": s.id, "uses": s.uses, "effect": s.effect, "hosts": list(s.hosts)}
            for s in plan.steps
        ],
        "units": [_unit_json(unit) for unit in forecast.units],
        "foreseen": outlook.document(forecast.foreseen),
        "coverage": {str(grade): number for grade, number in forecast.coverage().items()},
        "refused": bool(forecast.refusals),
        "exit_code": forecast.exit_code,
    }


def _unit_json(unit: UnitForecast) -> dict[str, Json]:
    return {
        "unit": unit.unit,
        "step": unit.step,
        "hosts": list(unit.hosts),
        "grade": unit.grade,
        "changes": _changes_json(unit.changes),
        "asked": [{"host": host, "fact": key} for host, key in unit.asked],
        "checked_at_run": list(unit.unchecked),
        "notes": list(unit.notes),
        "skipped": unit.skipped,
        "refused": unit.refused,
        "hint": unit.hint,
        "unknown": unit.unknown,
    }


def _changes_json(changes: Iterable[Predicted]) -> list[Json]:
    return [
        {
            "host": c.host,
            "name": c.name,
            "digest": c.digest,
            "preview": c.preview,
            "conditional": c.conditional,
            "sets": dict(c.sets),
        }
        for c in changes
    ]
