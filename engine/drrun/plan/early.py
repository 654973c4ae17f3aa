"""What the plan can say of a file that is no runbook yet: so that every mistake shows in one go.

A file with a mistake of its own never reaches the compiler. Its step types, their fields and a
ring of `needs` can be judged all the same, on the tree as it was written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import get_args

from drrun.lang.diagnostics import Diagnostic, Loc, Source, did_you_mean
from drrun.lang.template import is_template
from drrun.lang.tree import MappingNode, Node, ScalarNode, SequenceNode, locate
from drrun.model.runbook import OnUnknown
from drrun.model.spec import Problem, StepSpec
from drrun.plan.demands import Specs, unknown_step_type
from drrun.plan.graph import cycle, ring_mistake, waits
from drrun.plan.policies import Said, slips
from drrun.values import NotKnown, Repeat


def early_mistakes(root: Node, source: Source, specs: Specs) -> Iterator[Diagnostic]:
    """Unknown step types, fields that a step type does not have, steps that wait in a ring."""
    steps = _steps(root)
    for index, step in steps:
        at: Loc = ("steps", index)
        uses = step.get("uses")
        if not isinstance(uses, ScalarNode) or uses.empty:
            continue
        spec = specs.step(uses.text)
        if spec is None:
            message, hint = unknown_step_type(uses.text, specs)
            yield source.diagnostic(uses.span, "unknown-step-type", message, hint)
        else:
            given = step.get("with")
            fields = given.plain() if isinstance(given, MappingNode) else {}
            taken = {name: _taken(value) for name, value in fields.items()}
            problems = spec.check(taken)
            yield from _fields(root, source, spec, problems, (*at, "with"))
            checkable = bool(problems) or spec.effects(taken).checkable
            yield from _policies(root, source, step, spec, at, checkable=checkable)
    yield from _ring(source, steps)


def _fields(
    root: Node, source: Source, spec: StepSpec, problems: Sequence[Problem], at: Loc
) -> Iterator[Diagnostic]:
    for problem in problems:
        place = locate(root, (*at, *problem.where))
        hint = did_you_mean(str(problem.where[-1]), spec.fields) if problem.where else ""
        yield source.diagnostic(place.named, "with", problem.message, hint)


def _policies(
    root: Node, source: Source, step: MappingNode, spec: StepSpec, at: Loc, *, checkable: bool
) -> Iterator[Diagnostic]:
    said = {name: _word(step.get(name)) for name in ("repeat", "on_unknown")}
    if said["repeat"] not in {"", *Repeat} or said["on_unknown"] not in {"", *get_args(OnUnknown)}:
        return  # the model says what is wrong with it
    found = Said(said["repeat"], said["on_unknown"], step.get("retries") is not None)
    for slip in slips(found, spec, checkable=checkable):
        place = locate(root, (*at, slip.field))
        yield source.diagnostic(place.named, slip.code, slip.message, slip.hint)


def _word(node: Node | None) -> str:
    return node.text if isinstance(node, ScalarNode) else ""


def _taken(value: object) -> object:
    """A template is taken on trust: what it gives is not known yet."""
    if isinstance(value, str) and is_template(value):
        return NotKnown("its template")
    if isinstance(value, dict):
        return {key: _taken(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_taken(inner) for inner in value]
    return value


def _ring(source: Source, steps: Sequence[tuple[int, MappingNode]]) -> Iterator[Diagnostic]:
    needs: dict[str, list[str] | None] = {}
    always: dict[str, bool] = {}
    places: dict[str, Node] = {}
    for _, step in steps:
        name, needed = step.get("id"), step.get("needs")
        if not isinstance(name, ScalarNode) or name.text in needs:
            continue
        items = needed.items if isinstance(needed, SequenceNode) else ()
        words = [word for item in items if (word := _needed(item))]
        needs[name.text] = None if needed is None else words
        always[name.text] = _word(step.get("always")) == "true"
        if needed is not None:
            places[name.text] = needed
    waited = waits((step, before, always[step]) for step, before in needs.items())
    ring = cycle({step: [b for b in before if b in needs] for step, before in waited.items()})
    if ring:
        message, hint = ring_mistake(ring)
        place = next(places[step] for step in ring if step in places)
        yield source.diagnostic(place.span, "cycle", message, hint)


def _needed(item: Node) -> str:
    node = item.get("step") if isinstance(item, MappingNode) else item
    return node.text if isinstance(node, ScalarNode) else ""


def _steps(root: Node) -> list[tuple[int, MappingNode]]:
    steps = root.get("steps") if isinstance(root, MappingNode) else None
    items = steps.items if isinstance(steps, SequenceNode) else ()
    return [(n, item) for n, item in enumerate(items) if isinstance(item, MappingNode)]
