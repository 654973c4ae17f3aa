"""Trees against pydantic models: every mistake at its place, in words about the file.

Rule 1: no message mentions Python or pydantic; it says what the value must be.
Rule 2: a mistake about something that is there points at it; about something that is missing,
at the key of what it is missing from.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union, get_args, get_origin

from drrun.lang.diagnostics import Diagnostic, Loc, Source, did_you_mean, suggest
from drrun.lang.tree import MappingNode, Node, ScalarNode, SequenceNode, locate, scalars

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

M = TypeVar("M", bound="BaseModel")

_NOUNS = {
    "Runbook": "a runbook",
    "Step": "a step",
    "InputSpec": "an input",
    "RoleSpec": "a role",
    "Objectives": "objectives",
    "FactTest": "a fact test",
    "StateNeeded": "needs_state",
    "RuleText": "a rule",
    "Guarded": "every",
    "Retries": "retries",
    "Need": "a need",
    "InventoryFile": "an inventory",
    "HostEntry": "a host",
    "Ssh": "ssh",
}
_MUST_BE = {
    "missing": "is missing",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "string_type": "must be text",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be a mapping (key: value)",
    "mapping_type": "must be a mapping (key: value)",
    "model_type": "must be a mapping (key: value)",
    "model_attributes_type": "must be a mapping (key: value)",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "too_short": "must have at least {min_length} entry",
    "string_pattern_mismatch": "must match {pattern}",
}
_CODES = {
    "missing": "missing-field",
    "extra_forbidden": "unknown-key",
    "literal_error": "not-a-choice",
    "enum": "not-a-choice",
    "string_pattern_mismatch": "bad-name",
    "greater_than_equal": "out-of-range",
    "greater_than": "out-of-range",
    "less_than_equal": "out-of-range",
    "less_than": "out-of-range",
    "too_short": "out-of-range",
}


def validate(
    model: type[M],
    root: Node,
    source: Source,
    *,
    takes_empty: Callable[[Loc], bool] = lambda _: False,
) -> tuple[M | None, tuple[Diagnostic, ...]]:
    """`root` as a `model`, or None, with every mistake found. Raises nothing.

    A value that was left out (`key:`) is a mistake wherever `takes_empty(path)` is false: it
    is more often a line that nobody finished than a wish for nothing.
    """
    from pydantic import ValidationError

    if root.broken:
        return None, ()
    found = list(_empties(root, source, takes_empty))
    left_out = {(diagnostic.line, diagnostic.column) for diagnostic in found}
    try:
        value = model.model_validate(root.plain())
    except ValidationError as exc:
        for error in exc.errors(include_url=False):
            diagnostic = _diagnostic(model, root, source, error)
            if diagnostic and (diagnostic.line, diagnostic.column) not in left_out:
                found.append(diagnostic)
        return None, tuple(found)
    return (None if found else value), tuple(found)


def _empties(
    root: Node, source: Source, takes_empty: Callable[[Loc], bool]
) -> Iterator[Diagnostic]:
    for loc, node in scalars(root):
        if node.empty and not node.broken and not takes_empty(loc):
            name = f"`{loc[-1]}`" if loc and isinstance(loc[-1], str) else "this entry"
            hint = 'write a value, or "" for the empty text, or delete the key'
            span = locate(root, loc).value
            yield source.diagnostic(span, "no-value", f"{name} has no value", hint)


def _diagnostic(
    model: type[BaseModel], root: Node, source: Source, error: ErrorDetails
) -> Diagnostic | None:
    loc: Loc = error["loc"]
    kind = error["type"]
    is_key = bool(loc) and loc[-1] == "[key]"
    place = locate(root, loc)
    if place.node.broken or (kind == "too_short" and _has_enough(place.node, error)):
        return None
    name = next((part for part in reversed(loc) if isinstance(part, str) and part != "[key]"), "")
    code = _CODES.get(kind, "wrong-type")
    if kind == "extra_forbidden":
        owner = model_at(model, loc[:-1])
        noun = _NOUNS.get(owner.__name__, owner.__name__) if owner else "anything known"
        hint = suggest(str(loc[-1]), sorted(fields(owner)) if owner else (), "it has")
        return source.diagnostic(place.named, code, f"`{name}` is not a field of {noun}", hint)
    if kind == "missing":
        hint = ""
        if isinstance(place.node, ScalarNode | SequenceNode):
            hint = "a mapping (key: value) stands here"
        return source.diagnostic(place.named, code, f"`{name}` is missing", hint)
    message, hint = _words(error, place.node)
    subject = f"`{name}`" if not loc or isinstance(loc[-1], str) else f"entry {loc[-1]} of `{name}`"
    if not name:
        subject = "the file"
    span = place.named if is_key else place.value
    return source.diagnostic(span, code, f"{subject} {message}", hint)


def _words(error: ErrorDetails, node: Node) -> tuple[str, str]:
    """What the value must be, and a hint."""
    kind, context = error["type"], error.get("ctx", {})
    written = f", not {_described(node)}"
    if kind in {"literal_error", "enum"}:
        choices = [
            choice.strip().strip("'")
            for part in str(context["expected"]).split(" or ")
            for choice in part.split(",")
        ]
        if len(choices) == 1:
            return f"must be {choices[0]}{written}", ""
        hint = did_you_mean(node.text, choices) if isinstance(node, ScalarNode) else ""
        return f"must be one of {', '.join(choices)}{written}", hint
    if kind == "value_error":
        return f"is not right: {context['error']}", ""
    if kind == "string_pattern_mismatch" and str(context["pattern"]).startswith("^[a-z]"):
        allowed = "lower-case letters, digits and " + (
            "underscores" if "_" in str(context["pattern"]) else "dashes"
        )
        return f"must be a name: {allowed}, a letter first{written}", ""
    if words := _MUST_BE.get(kind):
        text = words.format(**context) if context else words
        return text + ("" if kind == "too_short" else written), ""
    return f"is wrong: {error['msg'][:1].lower()}{error['msg'][1:]}", ""


def _has_enough(node: Node, error: ErrorDetails) -> bool:
    """Whether the list is long enough: pydantic counts only the entries that are right; those that are not have had their say."""
    least = int(error["ctx"]["min_length"])
    return isinstance(node, SequenceNode) and len(node.items) >= least


def _described(node: Node) -> str:
    match node:
        case ScalarNode(empty=True):
            return "nothing"
        case ScalarNode(text=text):
            return f'"{text[:37]}…"' if len(text) > 40 else f'"{text}"'
        case SequenceNode():
            return "a list"
        case MappingNode():
            return "a mapping"


def fields(model: type[BaseModel]) -> Mapping[str, Any]:
    """The fields of `model` by the names that authors write, with their annotations."""
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def model_at(model: type[BaseModel], loc: Loc) -> type[BaseModel] | None:
    """The model that the mapping at `loc` is checked against; None when there is none."""
    found: list[Any] = [model]
    for part in loc:
        found = [step for kind in found for step in _inside(kind, part)] or found
    return next((kind for kind in found if _is_model(kind)), None)


def _inside(kind: Any, part: str | int) -> Iterator[Any]:
    if _is_model(kind):
        known = fields(kind)
        if part in known:
            yield from _bare(known[str(part)])
        return
    arguments = get_args(kind)
    if isinstance(part, int) and get_origin(kind) in {tuple, list}:
        yield from _bare(arguments[0])
    elif isinstance(part, str) and len(arguments) == 2:
        yield from _bare(arguments[1])


def _bare(kind: Any) -> Iterator[Any]:
    """`kind` without Annotated, and each side of a union."""
    origin = get_origin(kind)
    if origin is Annotated:
        yield from _bare(get_args(kind)[0])
    elif origin in {Union, types.UnionType}:
        for side in get_args(kind):
            yield from _bare(side)
    else:
        yield kind


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and hasattr(kind, "model_fields")
