"""Step types and facts for people: the lists, and the whole word on one. Text and Markdown alike."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from drrun.model.spec import FactSpec, StepSpec
from drrun.report.words import columns
from drrun.values import Json


def steps(specs: Sequence[StepSpec]) -> str:
    """The list of step types."""
    rows = [["step type", "effect", "repeat", "undo", ""]]
    rows += [[s.uses, s.effect, s.repeat, "yes" if s.undoable else "no", s.title] for s in specs]
    return "\n".join(columns(rows, indent=""))


def facts(specs: Sequence[FactSpec]) -> str:
    """The list of facts."""
    rows = [["fact", ""], *([f.name, f.title] for f in specs)]
    return "\n".join(columns(rows, indent=""))


def step(spec: StepSpec) -> str:
    """All of one step type."""
    where = "once for all of its hosts" if spec.kind == "group" else "on each of its hosts"
    lines = [
        f"{spec.uses} (from {spec.source})",
        "",
        *(f"  {line}".rstrip() for line in spec.doc.splitlines()),
        "",
        *columns(
            [
                ["runs", where],
                ["effect", spec.effect],
                ["repeat", spec.repeat],
                ["undo", "yes" if spec.undoable else "no"],
                ["outputs", ", ".join(spec.outputs) or "none"],
            ]
        ),
        "",
        "  with:",
    ]
    return "\n".join([*lines, *(_field_lines(spec.describe()) or ["    nothing"])])


def fact(spec: FactSpec | None) -> str:
    """All of one fact."""
    if spec is None:
        return ""
    lines = [f"{spec.name} (a fact)", "", f"  {spec.title}", "", "  with:"]
    return "\n".join([*lines, *(_field_lines(spec.describe()) or ["    nothing"])])


def _field_lines(schema: Mapping[str, Json]) -> list[str]:
    lines: list[str] = []
    for name, kind, needed, words in fields(schema):
        lines.append(f"    {name}: {kind}{f', {needed}' if needed else ''}")
        lines += [f"        {line}" for line in words.splitlines()]
    return lines


def fields(schema: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """(name, type, `required` or the default, description) of each field of a schema."""
    found = []
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        default = field.get("default")
        plain = isinstance(default, bool | int | float | str) and default != ""
        shown = "" if not plain else f"default {_json(default)}"
        needed = "required" if name in required else shown
        found.append((name, kind(field, schema), needed, str(field.get("description", ""))))
    return found


def kind(field: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    """A field's type in words."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        target = root.get("$defs", {}).get(name, {})
        return kind(target, root) if "enum" in target or "type" not in target else name
    choices = field.get("enum", [field["const"]] if "const" in field else [])
    if choices:
        return " | ".join(dict.fromkeys(_json(choice).strip('"') for choice in choices))
    sides = [side for key in ("anyOf", "oneOf") for side in field.get(key, ())]
    if sides:
        words = [kind(side, root) for side in sides if side.get("type") != "null"]
        return " | ".join(dict.fromkeys(words))
    return _plain(field, root)


def _plain(field: Mapping[str, Any], root: Mapping[str, Any]) -> str:
    found = field.get("type", "any value")
    if found == "array":
        return f"list of {kind(field.get('items', {}), root)}"
    if found == "object":
        inner = field.get("additionalProperties")
        return f"map of {kind(inner, root)}" if isinstance(inner, Mapping) else "map"
    return " | ".join(found) if isinstance(found, list) else str(found)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def step_json(spec: StepSpec) -> dict[str, Json]:
    """One step type as JSON."""
    return {
        "uses": spec.uses,
        "kind": spec.kind,
        "effect": spec.effect,
        "repeat": spec.repeat,
        "undoable": spec.undoable,
        "title": spec.title,
        "doc": spec.doc,
        "outputs": list(spec.outputs),
        "schema": spec.describe(),
        "source": spec.source,
    }


def fact_json(spec: FactSpec | None) -> dict[str, Json]:
    """One fact as JSON."""
    if spec is None:
        return {}
    return {"fact": spec.name, "title": spec.title, "schema": spec.describe()}
