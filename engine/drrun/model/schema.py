"""JSON Schemas of runbooks and inventories, for editors and for people without drrun.

Rule 1: an editor's YAML parser reads `5` as a number and `true` as a boolean where drrun reads
text. Scalars here accept both, so that what drrun takes is never underlined.
Rule 2: a template may stand wherever a step type takes a value.
Rule 3: the same models and step types give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from drrun.model.describe import described
from drrun.model.inventory import InventoryFile
from drrun.model.runbook import Runbook
from drrun.model.spec import StepSpec

Schema: TypeAlias = dict[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_INTEGER = r"^-?[0-9]+$"
_DURATION = r"^\s*([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+(\.[0-9]+)?s)?([0-9]+ms)?\s*$"
_TEMPLATE = {"type": "string", "pattern": r"\{\{"}
_NATIVE = ["boolean", "number", "string"]


def runbook_schema(specs: Iterable[StepSpec]) -> Schema:
    """The schema of a runbook in which `uses` decides what `with` may hold."""
    schema = _authored(described(Runbook))
    definitions: Schema = schema["$defs"]
    step: Schema = definitions["Step"]
    known = sorted(specs, key=lambda spec: spec.uses)
    if known:
        step["properties"]["uses"] |= {"enum": [spec.uses for spec in known]}
        step["allOf"] = [_conditional(spec, definitions) for spec in known]
    return _finished(schema, "drrun runbook")


def inventory_schema() -> Schema:
    """The schema of drrun's own inventories."""
    schema = _authored(described(InventoryFile))
    # The model has a default for it; the file must say it, or it could be anybody's.
    schema["required"] = [*schema.get("required", ()), "drrun_inventory"]
    return _finished(schema, "drrun inventory")


def _conditional(spec: StepSpec, definitions: Schema) -> Schema:
    """`if uses is this type, then with is that`; its definitions move to the root."""
    own = _renamed(dict(spec.schema), spec.uses)
    for name, definition in own.pop("$defs", {}).items():
        definitions[f"{spec.uses}.{name}"] = _templated(definition)
    name = f"with.{spec.uses}"
    definitions[name] = _templated(own) | {"title": spec.title}
    if spec.doc:
        definitions[name]["description"] = spec.doc
    then: Schema = {"properties": {"with": {"$ref": f"#/$defs/{name}"}}}
    if own.get("required"):
        then["required"] = ["with"]
    return {
        "if": {"properties": {"uses": {"const": spec.uses}}, "required": ["uses"]},
        "then": then,
    }


def _finished(schema: Schema, title: str) -> Schema:
    ordered = _sorted({**schema, "title": title})
    assert isinstance(ordered, dict)
    return {"$schema": _DIALECT, **ordered}


def _sorted(node: Any) -> Any:
    """Keys in order; lists of words that mean a set as well."""
    if isinstance(node, dict):
        return {
            key: sorted(value) if key in {"required", "type"} and isinstance(value, list)
            else _sorted(value)
            for key, value in sorted(node.items())
        }  # fmt: skip
    return [_sorted(item) for item in node] if isinstance(node, list) else node


def _renamed(node: Any, prefix: str) -> Any:
    """References to definitions, moved to where `_conditional` puts them."""
    if isinstance(node, Mapping):
        return {
            key: f"#/$defs/{prefix}.{value.rpartition('/')[2]}"
            if key == "$ref" and isinstance(value, str)
            else _renamed(value, prefix)
            for key, value in node.items()
        }
    return [_renamed(item, prefix) for item in node] if isinstance(node, list | tuple) else node


def _authored(schema: Schema) -> Schema:
    """Models of the language: text where the model says number; no null where none is taken."""
    found: Schema = _walk(schema, _both)
    for definition in (found, *found.get("$defs", {}).values()):
        for name, field in definition.get("properties", {}).items():
            definition["properties"][name] = _without_null(field)
    return found


def _templated(schema: Schema) -> Schema:
    """Fields of a step type: as `_authored`, or a template."""
    found: Schema = _walk(schema, _loose)
    for name, field in found.get("properties", {}).items():
        if field.keys() & {"anyOf", "oneOf", "allOf", "$ref", "enum", "const", "pattern"} or (
            field.get("type") in ("array", "object")
        ):
            kept = {
                key: field.pop(key) for key in ("title", "description", "default") if key in field
            }
            found["properties"][name] = {**kept, "anyOf": [field, dict(_TEMPLATE)]}
        elif field.get("type") == ["integer", "string"]:
            field.pop("pattern", None)
    return found


def _walk(node: Any, change: Callable[[Schema], Schema]) -> Any:
    """`change` at every schema below `node`; names of properties are not schemas."""
    if isinstance(node, list | tuple):
        return [_walk(item, change) for item in node]
    if not isinstance(node, Mapping):
        return node
    found: Schema = {}
    for key, value in node.items():
        if key in {"properties", "$defs", "patternProperties"}:
            found[key] = {name: _walk(inner, change) for name, inner in value.items()}
        elif key in {"default", "const", "enum", "examples", "required"}:
            found[key] = value
        else:
            found[key] = _walk(value, change)
    return change(found)


def _both(schema: Schema) -> Schema:
    """A scalar schema that takes the text and what an editor makes of it."""
    match schema:
        case {"const": str(text)} if text.isdecimal():
            rest = {key: value for key, value in schema.items() if key not in {"const", "type"}}
            return rest | {"enum": [text, int(text)]}
        case {"type": "integer"}:
            return {**schema, "type": ["integer", "string"], "pattern": _INTEGER}
        case {"type": "boolean"}:
            return {**schema, "type": ["boolean", "string"], "enum": [True, False, "true", "false"]}
        case {"type": "number"}:
            return _duration(schema)
        case {"type": "string"} if not schema.keys() & {"pattern", "enum", "const", "format"}:
            return {**schema, "type": list(_NATIVE)}
    return schema


def _loose(schema: Schema) -> Schema:
    """As `_both`; but what a number means to a step type is for that type to say."""
    if schema.get("type") == "number":
        return {**schema, "type": ["number", "string"]}
    return _both(schema)


def _duration(schema: Schema) -> Schema:
    """The only numbers of the language that are not whole are seconds, written 90s or 5m."""
    kept = {key: value for key, value in schema.items() if key in {"title", "description"}}
    found = kept | {"type": "string", "pattern": _DURATION, "examples": ["90s", "5m", "1h30m"]}
    if isinstance(default := schema.get("default"), int | float):
        found["default"] = f"{default:g}s"
    return found


def _without_null(field: Schema) -> Schema:
    """An empty value is a mistake in drrun: the null of `X | None = None` means "left out"."""
    sides = [side for side in field.get("anyOf", ()) if side != {"type": "null"}]
    if len(sides) == len(field.get("anyOf", ())):
        return field
    rest = {key: value for key, value in field.items() if key not in {"anyOf", "default"}}
    return {**rest, "anyOf": sides} if len(sides) > 1 else {**sides[0], **rest}
