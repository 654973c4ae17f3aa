"""JSON Schemas of models with their fields' docstrings as descriptions, read when asked for.

pydantic can read them while a class is made, at the cost of parsing its source at every start of
drrun; a schema is wanted once in a while, a fast start every time.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema


def described(model: type[BaseModel]) -> dict[str, Any]:
    """The model's JSON Schema; each property bears its docstring."""
    return model.model_json_schema(schema_generator=_Described)


def field_docs(kind: type) -> Mapping[str, str]:
    """Field name -> docstring, of a class and of those that it is made from."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.partition(".")[0] in {"builtins", "pydantic", "abc", "typing"}:
            continue
        try:
            source = textwrap.dedent(inspect.getsource(base))
        except (OSError, TypeError):
            continue  # made at run time: it has no source to read
        body = ast.parse(source).body[0]
        assert isinstance(body, ast.ClassDef)
        for statement, after in zip(body.body, body.body[1:], strict=False):
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                match after:
                    case ast.Expr(value=ast.Constant(value=str(text))):
                        found[statement.target.id] = inspect.cleandoc(text)
    return found


class _Described(GenerateJsonSchema):
    def model_schema(self, schema: core_schema.ModelSchema) -> dict[str, Any]:
        made = super().model_schema(schema)
        docs = field_docs(schema["cls"])
        for name, field in schema["cls"].model_fields.items():
            shown = made.get("properties", {}).get(field.alias or name)
            if shown is not None and name in docs:
                shown.setdefault("description", docs[name])
        return made
