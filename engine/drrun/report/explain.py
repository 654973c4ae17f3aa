"""One step of a plan in words: where, why there, what guards it, what it sends, how it is undone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from drrun.execute.dry import Forecast, UnitForecast
from drrun.model.rule import STEP_DONE
from drrun.model.spec import StepSpec
from drrun.plan.plan import Check, Guard, Plan, PlanStep, Unit
from drrun.plan.rules import done_words
from drrun.report.dry import EFFECTS
from drrun.report.words import columns, fold, one_line, safe
from drrun.values import Effect, Json, Repeat, StepId, span

_REPEAT = {
    Repeat.SAFE: "safe: may be sent again when its result is lost",
    Repeat.CHECK: "check: sent again only after a look says that it did not happen",
    Repeat.NEVER: "never: when its result is lost, a person decides",
}


def screen(plan: Plan, step_id: StepId, spec: StepSpec | None, forecast: Forecast) -> str:
    """The whole explanation."""
    step = plan.step_of[step_id]
    number = list(plan.step_of).index(step_id) + 1
    lines = [
        f"{number} {step.id}: {safe(step.title or step.uses)}",
        f"  {safe(plan.runbook)}:{step.line}",
        "",
        *columns(_facts(plan, step, spec)),
    ]
    if spec is not None:
        lines += ["", *(f"  {line}".rstrip() for line in spec.doc.splitlines())]
    lines += _section("waits for", _needs(plan, step))
    lines += _section("guarded: refused unless", _guards(plan, step))
    units = plan.units_of[step_id]
    lines += _section("requires", _checks(c for unit in units for c in unit.requires))
    lines += _section("ensures", _checks(c for unit in units for c in unit.ensures))
    lines += _section("with", _fields(units))
    mine = [unit for unit in forecast.units if unit.step == step_id]
    lines += _section("sends, as far as it is known without asking a host", _sends(mine))
    return "\n".join(lines)


def _facts(plan: Plan, step: PlanStep, spec: StepSpec | None) -> list[list[str]]:
    rows = [
        ["uses", step.uses + (f" (from {spec.source})" if spec is not None else "")],
        ["on", fold(step.hosts) + (", as one unit" if step.kind == "group" else "")],
        ["effect", EFFECTS[step.effect]],
        ["repeat", _REPEAT[step.repeat]],
        ["undo", _undo(plan, step)],
        ["on failure", _failure(step)],
    ]
    if step.when is not None:
        rows.append(["when", safe(step.when)])
    if step.timeout is not None:
        rows.append(["timeout", span(step.timeout)])
    if step.retry.attempts > 1:
        rows.append(["attempts", f"{step.retry.attempts}, {span(step.retry.delay)} apart at first"])
    return rows


def _undo(plan: Plan, step: PlanStep) -> str:
    if step.point_of_no_return:
        return "none: this is the point of no return; from its first change on nothing is undone"
    if step.effect is Effect.READ:
        return "nothing to undo"
    if not step.undoable:
        return "no: what it changed stays as it is"
    later = any(s.point_of_no_return for s in plan.steps)
    return "yes" + (", until the point of no return is crossed" if later else "")


def _failure(step: PlanStep) -> str:
    return {
        "stop": "the run stops, and can be resumed",
        "continue": "the run goes on",
        "undo": "the run is undone",
    }[step.on_failure]


def _section(head: str, lines: list[str]) -> list[str]:
    return ["", f"  {head}:", *(f"    {line}" for line in lines)] if lines else []


def _unique(lines: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(lines))


def _needs(plan: Plan, step: PlanStep) -> list[str]:
    return _unique(
        f"{need.step}{' on the same host' if need.host and need.step != step.id else ''}"
        f"{' (whatever its end)' if need.outcome == 'any' else ''}: {need.reason}"
        for unit in plan.units_of[step.id]
        for need in unit.needs
    )


def _guards(plan: Plan, step: PlanStep) -> list[str]:
    return _unique(
        f"{_must(guard)} on {'one of ' if guard.some else ''}{fold(guard.hosts)}, "
        f"because {safe(guard.because)} (from {guard.carried_by})"
        for unit in plan.units_of[step.id]
        for guard in unit.guards
    )


def _must(guard: Guard) -> str:
    if guard.fact.name == STEP_DONE:
        return f"{done_words(guard.fact)} was done"
    return f"{guard.fact.key} is {guard.value}"


def _checks(checks: Iterable[Check]) -> list[str]:
    return _unique(
        f"{check.fact} {dict(check.args) or ''} is {check.value} on {fold(check.hosts)}"
        + (f", within {span(check.within)}" if check.within else "")
        for check in checks
    )


def _fields(units: Iterable[Unit]) -> list[str]:
    return _unique(
        f"{name}: {one_line(str(value))}{' (known when the run gets there)' if is_open else ''}"
        for unit in units
        for fields, is_open in ((unit.params, False), (unit.open, True))
        for name, value in fields.items()
    )


def _sends(units: Sequence[UnitForecast]) -> list[str]:
    if not units:
        return ["? not known here: what comes before must be seen first; --dry-run asks the hosts"]
    lines: list[str] = []
    for unit in units:
        for change in unit.changes:
            lines.append(f"{change.host}  {change.name}: {one_line(change.preview)}")
            if change.conditional:
                lines.append(f"    {one_line(change.conditional)}")
        if unit.unknown:
            lines.append(f"? {unit.unit}: {one_line(unit.unknown)}; --dry-run asks the hosts")
        elif unit.refused:
            lines.append(f"✘ {unit.unit}: {one_line(unit.refused)}")
    return lines


def document(plan: Plan, step_id: StepId, forecast: Forecast) -> dict[str, Json]:
    """The explanation as JSON."""
    step = plan.step_of[step_id]
    mine = [unit for unit in forecast.units if unit.step == step_id]
    return {
        "type": "explain",
        "format": 1,
        "step": step.id,
        "uses": step.uses,
        "title": step.title,
        "line": step.line,
        "hosts": list(step.hosts),
        "effect": step.effect,
        "repeat": step.repeat,
        "undoable": step.undoable,
        "on_failure": step.on_failure,
        "point_of_no_return": step.point_of_no_return,
        "waits_for": _needs(plan, step),
        "guards": _guards(plan, step),
        "sends": [
            {"host": c.host, "name": c.name, "preview": c.preview, "conditional": c.conditional}
            for unit in mine
            for c in unit.changes
        ],
    }
