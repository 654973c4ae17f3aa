"""The order of a plan's steps as text, Mermaid or Graphviz. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from drrun.plan.graph import step_graph, waves
from drrun.plan.plan import Plan, PlanStep
from drrun.report.dry import EFFECTS
from drrun.report.words import columns, one_line
from drrun.values import Effect, Json

Where = Mapping[str, str]
"""Step id -> its host expression, as the runbook has it."""


def tree(plan: Plan, where: Where) -> str:
    """The steps in waves, each with what it comes after."""
    before = step_graph(plan)
    rows: list[list[str]] = []
    for wave in waves(plan):
        for index, step_id in enumerate(wave):
            step = plan.step_of[step_id]
            after = ", ".join(before[step_id]) or "-"
            together = "" if len(wave) == 1 else "┌" if not index else "├"
            if index and index == len(wave) - 1:
                together = "└"
            mark = "!" if step.effect is Effect.DESTROY else " "
            rows.append([mark, together, step.id, where[step.id], EFFECTS[step.effect], after])
    heads = [["", "", "step", "on", "effect", "after"]]
    return "\n".join(
        [f"{plan.name}: {one_line(plan.title)}", "", *columns(heads + rows, indent="")]
    )


def mermaid(plan: Plan, where: Where) -> str:
    """A Mermaid flowchart."""
    names = _names(plan)
    lines = ["flowchart TD"]
    for step in plan.steps:
        label = _label(step, where, "<br>").replace('"', "#quot;")
        shape = f'{{{{"{label}"}}}}' if step.effect is Effect.DESTROY else f'["{label}"]'
        lines.append(f"    {names[step.id]}{shape}")
    for step_id, before in step_graph(plan).items():
        lines += [f"    {names[earlier]} --> {names[step_id]}" for earlier in before]
    destroys = [names[s.id] for s in plan.steps if s.effect is Effect.DESTROY]
    if destroys:
        lines += ["    classDef destroys stroke:#c0392b,stroke-width:3px"]
        lines += [f"    class {','.join(destroys)} destroys"]
    return "\n".join(lines)


def dot(plan: Plan, where: Where) -> str:
    """A Graphviz digraph."""
    names = _names(plan)
    lines = [f"digraph {_quoted(plan.name)} {{", "  node [shape=box, fontname=sans];"]
    for step in plan.steps:
        label = _quoted(_label(step, where, "\\n"))
        color = ", color=red, penwidth=2" if step.effect is Effect.DESTROY else ""
        lines.append(f"  {names[step.id]} [label={label}{color}];")
    for step_id, before in step_graph(plan).items():
        lines += [f"  {names[earlier]} -> {names[step_id]};" for earlier in before]
    return "\n".join([*lines, "}"])


def document(plan: Plan, where: Where) -> dict[str, Json]:
    """The graph as JSON."""
    before = step_graph(plan)
    return {
        "type": "graph",
        "format": 1,
        "name": plan.name,
        "steps": [
            {
                "id": step.id,
                "uses": step.uses,
                "effect": step.effect,
                "hosts": where[step.id],
                "after": list(before[step.id]),
            }
            for step in plan.steps
        ],
        "waves": [list(wave) for wave in waves(plan)],
    }


def _names(plan: Plan) -> dict[str, str]:
    """Short node names: a step's id may hold what the languages do not take."""
    return {step.id: f"s{number}" for number, step in enumerate(plan.steps, 1)}


def _label(step: PlanStep, where: Where, line_break: str) -> str:
    return f"{step.id}{line_break}{where[step.id]}{line_break}{EFFECTS[step.effect]}"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"'
