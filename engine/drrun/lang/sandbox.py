"""The Jinja2 environment of drrun: expressions over data, and nothing that can run away.

Rule 1: only `{{ expression }}`. No statements, so no loops; no calls, so no methods.
Rule 2: `a.b` is the key b of a mapping, never an attribute: `vars.items` is what it looks like.
Rule 3: results are bounded: MAX_SOURCE of template, MAX_SIZE of anything that is built.
Rule 4: `steps.stop-api.outputs.x` is a path: the id of a step may hold dashes.

The stock immutable sandbox stops code, not cost: `'x' * 10**9` and nested ranges pass it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from jinja2 import StrictUndefined, Undefined
from jinja2.exceptions import SecurityError
from jinja2.lexer import TokenStream
from jinja2.sandbox import ImmutableSandboxedEnvironment

from drrun.values import NotKnown, Secret

MAX_SOURCE = 20_000
MAX_SIZE = 100_000
MAX_ITEMS = 10_000

_FILTERS = [
    "abs",
    "capitalize",
    "count",
    "default",
    "d",
    "dictsort",
    "first",
    "float",
    "int",
    "items",
    "last",
    "length",
    "list",
    "lower",
    "max",
    "min",
    "reject",
    "rejectattr",
    "reverse",
    "round",
    "select",
    "selectattr",
    "sort",
    "sum",
    "title",
    "trim",
    "unique",
    "upper",
    "map",
]


class Environment(ImmutableSandboxedEnvironment):
    """Mappings, lists and scalars; no attributes, no calls, no globals."""

    intercepted_binops = frozenset(["+", "-", "*", "/", "//", "%", "**"])
    intercepted_unops = frozenset()

    def __init__(self) -> None:
        super().__init__(
            undefined=StrictUndefined,
            autoescape=False,
            keep_trailing_newline=True,
            cache_size=0,
            # NUL cannot stand in YAML: `{#` (as in ${#array}) and `{%` are text to the lexer.
            block_start_string="\0%",
            block_end_string="%\0",
            comment_start_string="\0#",
            comment_end_string="#\0",
        )
        self.globals.clear()
        stock = self.filters
        self.filters = {name: stock[name] for name in _FILTERS} | OWN_FILTERS

    def getattr(self, obj: Any, attribute: str) -> Any:
        """`obj.attribute`: a key, or undefined."""
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """`obj[argument]`: a key or an index, or undefined. A hole gives a hole."""
        if isinstance(obj, NotKnown):
            name = argument if isinstance(argument, str) else f"[{argument!r}]"
            return NotKnown(f"{obj.origin}.{name}" if name is argument else f"{obj.origin}{name}")
        if isinstance(obj, Mapping):
            if isinstance(argument, str | int) and argument in obj:
                return obj[argument]
        elif isinstance(obj, list | tuple | str) and isinstance(argument, int | slice):
            try:
                return obj[argument]
            except IndexError:
                pass
        elif isinstance(obj, Undefined):
            str(obj)  # raises, naming what was undefined first
        return self.undefined(obj=obj, name=argument)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Arithmetic on numbers; `+` on texts and lists; nothing that grows without bound."""
        for side in (left, right):
            if isinstance(side, NotKnown):
                bool(side)  # raises NotKnownError, naming the origin
            if isinstance(side, Secret):
                raise SecurityError("a secret cannot be calculated with")
        if isinstance(left, int | float) and isinstance(right, int | float):
            if operator == "**" and (abs(left) > 2**32 or abs(right) > 64):
                raise SecurityError("the power is too large")
            return bounded(super().call_binop(context, operator, left, right))
        if operator == "+" and type(left) is type(right) and isinstance(left, str | list):
            return bounded(left + right)
        if isinstance(left, Undefined) or isinstance(right, Undefined):
            return left + right
        raise SecurityError(
            f"`{operator}` takes two numbers, not {_kind(left)} and {_kind(right)}"
            + ("; join texts with ~" if operator == "+" else "")
        )

    def _tokenize(
        self, source: str, name: str | None, filename: str | None = None, state: str | None = None
    ) -> TokenStream:
        raw = self.lexer.tokeniter(source, name, filename, state)
        return TokenStream(self.lexer.wrap(_paths(raw), name, filename), name, filename)


def bounded(value: Any) -> Any:
    """`value`, unless it is too large: then SecurityError."""
    if isinstance(value, str) and len(value) > MAX_SIZE:
        raise SecurityError(f"the result is longer than {MAX_SIZE} characters")
    if isinstance(value, list | tuple | dict) and len(value) > MAX_ITEMS:
        raise SecurityError(f"the result has more than {MAX_ITEMS} entries")
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**63:
        raise SecurityError("the number is too large")
    return value


_Raw = tuple[int, str, str]


def _paths(raw: Iterable[_Raw]) -> Iterator[_Raw]:
    """Turn `steps.a-b` into `steps["a-b"]`: after `steps.` comes an id, never a subtraction."""
    tokens = list(raw)
    at = 0
    while at < len(tokens):
        line, kind, text = tokens[at]
        dotted = at > 0 and tokens[at - 1][2] == "."
        yield tokens[at]
        at += 1
        if (kind, text) != ("name", "steps") or dotted or _text(tokens, at) != ".":
            continue
        end = at + 1
        while end < len(tokens) and tokens[end][1] in {"name", "integer"}:
            end += 2 if _text(tokens, end + 1) == "-" and _wordlike(tokens, end + 2) else 1
        step = "".join(token[2] for token in tokens[at + 1 : end])
        if "-" in step:
            yield line, "operator", "["
            yield line, "string", repr(step)
            yield line, "operator", "]"
            at = end


def _text(tokens: list[_Raw], at: int) -> str:
    return tokens[at][2] if at < len(tokens) else ""


def _wordlike(tokens: list[_Raw], at: int) -> bool:
    return at < len(tokens) and tokens[at][1] in {"name", "integer"}


def _kind(value: object) -> str:
    names = {"str": "a text", "int": "a number", "float": "a number", "list": "a list"}
    return names.get(type(value).__name__, "a mapping" if isinstance(value, Mapping) else "that")


def word_of(value: object) -> str:
    """`value` as a part of a text. Raises on what has no one text: nothing, secrets, lists."""
    if value is None:
        raise SecurityError("a part of the text has no value")
    if isinstance(value, Secret):
        raise SecurityError("a secret cannot be part of an expression: use it as it is")
    if isinstance(value, Mapping | list | tuple):
        raise SecurityError(f"{_kind(value)} cannot stand in a text: use | join(',') or | tojson")
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _replace(value: object, old: str, new: str) -> str:
    """Every `old` replaced by `new`."""
    text = word_of(value)
    if not old:
        raise SecurityError("replace: the text to replace is empty")
    if len(text) + text.count(old) * (len(new) - len(old)) > MAX_SIZE:
        raise SecurityError(f"the result is longer than {MAX_SIZE} characters")
    return text.replace(old, new)


def _join(value: Iterable[object], separator: str = "") -> str:
    """The entries as one text."""
    words = [word_of(word) for word in value]
    if sum(map(len, words)) + len(words) * len(separator) > MAX_SIZE:
        raise SecurityError(f"the result is longer than {MAX_SIZE} characters")
    return separator.join(words)


def _split(value: object, separator: str | None = None) -> list[str]:
    """The text cut at `separator`, or at blanks."""
    return word_of(value).split(separator or None)


def _basename(value: object) -> str:
    """The last part of a path."""
    return word_of(value).rstrip("/").rpartition("/")[2]


def _dirname(value: object) -> str:
    """A path without its last part."""
    head, slash, _ = word_of(value).rstrip("/").rpartition("/")
    return head or slash or "."


def _tojson(value: object) -> str:
    """The value as JSON on one line."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


OWN_FILTERS: dict[str, Callable[..., Any]] = {
    "basename": _basename,
    "dirname": _dirname,
    "join": _join,
    "replace": _replace,
    "split": _split,
    "string": word_of,
    "tojson": _tojson,
}
