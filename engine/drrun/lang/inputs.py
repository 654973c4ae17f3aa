"""The declarations of inputs and roles: do they make sense on their own?"""

from __future__ import annotations

import re
from collections.abc import Iterator

from drrun.lang.diagnostics import Diagnostic, Source, did_you_mean
from drrun.lang.tree import MappingNode, ScalarNode, SequenceNode
from drrun.values import seconds

_INPUT_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


def input_mistakes(root: MappingNode, source: Source) -> Iterator[Diagnostic]:
    """Names, choices and defaults of `inputs:`; bounds of `roles:`."""
    inputs = root.get("inputs")
    for name, entry in inputs.entries.items() if isinstance(inputs, MappingNode) else ():
        if not _INPUT_NAME.fullmatch(name):
            message = f"`{name}` cannot name an input: lower-case letters, digits and underscores"
            hint = f"write {name.casefold().replace('-', '_')}: a dash is a minus in a template"
            yield source.diagnostic(entry.span, "bad-name", message, hint)
        if isinstance(entry.value, MappingNode):
            yield from _choices(name, entry.value, source)
            yield from _default(name, entry.value, source)
    roles = root.get("roles")
    for name, entry in roles.entries.items() if isinstance(roles, MappingNode) else ():
        if isinstance(entry.value, MappingNode):
            yield from _bounds(name, entry.value, source)


def _choices(name: str, node: MappingNode, source: Source) -> Iterator[Diagnostic]:
    choices = node.entries.get("choices")
    if _text(node, "type") == "choice" and choices is None:
        message = f"the input `{name}` is a choice of nothing"
        span = node.entries["type"].value.span
        yield source.diagnostic(span, "no-choices", message, "add choices: [a, b]")
    elif choices is not None and _text(node, "type") != "choice":
        message = f"the input `{name}` has choices but is not of type choice"
        yield source.diagnostic(choices.span, "no-choices", message, "write type: choice")
    elif (
        choices is not None
        and isinstance(choices.value, SequenceNode)
        and len(choices.value.items) == 0
    ):
        message = f"the input `{name}` is a choice of nothing"
        yield source.diagnostic(choices.span, "no-choices", message, "add at least one choice")


def _default(name: str, node: MappingNode, source: Source) -> Iterator[Diagnostic]:
    default = node.get("default")
    if not isinstance(default, ScalarNode) or default.empty or default.broken:
        return
    complaint, hint = "", ""
    match _text(node, "type"):
        case "int" if not re.fullmatch(r"-?[0-9]+", default.text):
            complaint = "is not a whole number"
        case "bool" if default.text not in {"true", "false"}:
            complaint, hint = "is neither true nor false", "write true or false"
        case "duration":
            try:
                seconds(default.text)
            except ValueError:
                complaint, hint = "is not a duration", "write 90s, 5m, 1h30m or 2d"
        case "secret":
            complaint = "is a secret in a file"
            hint = "give it at the run, by reference"
        case "choice":
            choices = node.get("choices")
            plain = choices.plain() if isinstance(choices, SequenceNode) else [default.text]
            if isinstance(plain, list) and default.text not in plain:
                complaint = "is not one of the choices"
                hint = did_you_mean(default.text, [str(choice) for choice in plain])
    if complaint:
        message = f"the default of `{name}` {complaint}"
        yield source.diagnostic(default.span, "bad-default", message, hint)


def _bounds(name: str, node: MappingNode, source: Source) -> Iterator[Diagnostic]:
    least, most = _text(node, "min") or "1", _text(node, "max")
    if most and least.isdecimal() and most.isdecimal() and int(most) < int(least):
        message = f"the role `{name}` can have no hosts: max {most} is less than min {least}"
        yield source.diagnostic(node.entries["max"].value.span, "out-of-range", message)


def _text(node: MappingNode, key: str) -> str:
    value = node.get(key)
    return value.text if isinstance(value, ScalarNode) else ""
