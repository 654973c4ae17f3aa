"""Templates: `{{ expression }}` in authored texts, rendered over names, never over code.

Rule 1: a text that is one `{{ x }}` and nothing else gives the value of x with its type; a
template inside a longer text gives text.
Rule 2: nothing is rendered by accident: an undefined name, None and the empty text are mistakes.
An input that may be empty is handed in as BLANK.
Rule 3: a hole (drrun.values.NotKnown) stays a hole: the value, or the text around it, is known
when its origin is.
Rule 4: a secret stays a Secret, alone or inside a text; an expression may not look into it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

from drrun.errors import NotKnownError
from drrun.lang.diagnostics import Loc, suggest
from drrun.lang.template_error import TemplateError
from drrun.values import NotKnown, Secret

if TYPE_CHECKING:
    from jinja2 import nodes
    from jinja2.environment import TemplateExpression

    from drrun.lang.sandbox import Environment


def is_code(field: object) -> bool:
    """Whether a field of `with:` or `args:` is a script: never templated, values go in by `env`."""
    return isinstance(field, str) and (field == "script" or field.endswith("_script"))


_MASK = str(Secret(""))
_STATEMENT = re.compile(r"\{%")
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")


class Blank(str):
    """The empty text of an input that is declared `empty: true`: templates let it pass."""

    __slots__ = ()


BLANK = Blank()


@dataclass(frozen=True, slots=True)
class Issue:
    """A template that cannot be read, found without rendering it."""

    where: Loc
    error: TemplateError


@dataclass(frozen=True, slots=True)
class Template:
    """A text cut into its literal parts and its expressions."""

    parts: tuple[str | nodes.Expr, ...]
    names: frozenset[str]

    @property
    def typed(self) -> bool:
        """Whether the text is one expression and nothing else."""
        return len(self.parts) == 1 and not isinstance(self.parts[0], str)


def is_template(text: str) -> bool:
    """Whether `text` holds an expression, or what looks like the start of a statement."""
    return "{{" in text or "{%" in text


@lru_cache(maxsize=8192)
def read(text: str) -> Template:
    """Parse `text`. Raises TemplateError."""
    from drrun.lang.expressions import parts_of

    if _STATEMENT.search(_QUOTED.sub("", text)):
        raise TemplateError(
            "statements ({% … %}) are not accepted, only expressions: {{ … }}",
            hint="use `when:` for a choice; write {{ '{%' }} for the two characters",
            name="{%",
        )
    parts, found = parts_of(_environment(), text)
    return Template(parts, found)


def read_test(expression: str) -> Template:
    """Parse a `when:`, with or without `{{ }}` around it. Raises TemplateError."""
    text = expression.strip()
    template = read(text if text.startswith("{{") else f"{{{{ {text} }}}}")
    if not template.typed:
        raise TemplateError(
            f"`{_shown(text)}` is not one expression", hint="write it as: inputs.mode == 'full'"
        )
    return template


def free_names(text: str) -> frozenset[str]:
    """The dotted paths that `text` reads, as `steps.stage.outputs.digest`. Raises TemplateError."""
    return read(text).names if is_template(text) else frozenset()


def needs_run(value: object) -> bool:
    """Whether `value`, or anything in it, refers to what a step will give (`steps.…`)."""
    return any(
        name == "steps" or name.startswith("steps.")
        for _, text in _texts(value)
        for name in free_names(text)
    )


def steps_named(value: object) -> frozenset[str]:
    """The steps whose outputs `value`, or anything in it, refers to. Raises TemplateError."""
    names = (name.split(".") for _, text in _texts(value) for name in free_names(text))
    return frozenset(path[1] for path in names if path[0] == "steps" and len(path) > 1)


def issues(value: object) -> Iterator[Issue]:
    """Every template in `value` that cannot be read, with the path to it."""
    for where, text in _texts(value):
        try:
            free_names(text)
        except TemplateError as error:
            yield Issue(where, error)


def render(value: object, names: Mapping[str, object], *, allow_empty: bool = False) -> object:
    """`value` with every template in it rendered over `names`, deep over lists and mappings.

    Keys are not rendered, and neither is code (`is_code`). Raises TemplateError with `where` set to the path inside `value`; with
    `allow_empty`, None and the empty text are let through.
    """
    match value:
        case str():
            if not is_template(value):
                return value
            found = _text(value, names, allow_empty=allow_empty)
            if isinstance(found, str) and "\0" in found:
                raise _nul(value)
            return found
        case Mapping():
            return {
                key: inner if is_code(key) else _inside(key, inner, names, allow_empty=allow_empty)
                for key, inner in value.items()
            }
        case list() | tuple():
            return [
                _inside(index, inner, names, allow_empty=allow_empty)
                for index, inner in enumerate(value)
            ]
        case _:
            return value


def test(expression: str, names: Mapping[str, object]) -> bool:
    """Whether a `when:` holds. Raises TemplateError when it is not true or false.

    Raises NotKnownError when it rests on a hole.
    """
    found = _value(read_test(expression), names)
    if isinstance(found, NotKnown):
        raise NotKnownError(f"known after {found.origin}")
    if not isinstance(found, bool):
        raise TemplateError(
            f"`{_shown(expression.strip())}` gives {_described(found)}, not true or false",
            code="not-a-test",
            hint="compare it with something: inputs.mode == 'full'",
        )
    return found


def _inside(part: Any, value: object, names: Mapping[str, object], *, allow_empty: bool) -> object:
    try:
        return render(value, names, allow_empty=allow_empty)
    except TemplateError as error:
        error.where = (part, *error.where)
        raise


def _text(text: str, names: Mapping[str, object], *, allow_empty: bool) -> object:
    template = read(text)
    if template.typed:
        value = _value(template, names)
        if value is None or (value == "" if isinstance(value, str) else False):
            if not allow_empty and not isinstance(value, Blank):
                raise _empty(text)
            return value if value is None else ""
        return value
    values = [
        part if isinstance(part, str) else _evaluated(part, template, names)
        for part in template.parts
    ]
    hole = next((value for value in values if isinstance(value, NotKnown)), None)
    if hole is not None:
        return NotKnown(hole.origin)
    return _joined(text, template, values, allow_empty=allow_empty)


def _joined(text: str, template: Template, values: list[Any], *, allow_empty: bool) -> str | Secret:
    from jinja2.exceptions import SecurityError

    from drrun.lang.sandbox import bounded, word_of

    words: list[str] = []
    for part, value in zip(template.parts, values, strict=True):
        if value is None or (isinstance(value, str) and not value and part is not value):
            if not allow_empty and not isinstance(value, Blank):
                raise _empty(text)
            continue
        try:
            words.append(value.unmask() if isinstance(value, Secret) else word_of(value))
        except SecurityError as exc:
            raise TemplateError(f"{exc.message}: {_shown(text)}") from exc
    joined = str(bounded("".join(words)))
    return Secret(joined) if any(isinstance(value, Secret) for value in values) else joined


def _empty(text: str) -> TemplateError:
    return TemplateError(
        f"`{_shown(text)}` renders empty",
        code="empty-value",
        hint="give it a value, or declare the input `empty: true`",
    )


def _nul(text: str) -> TemplateError:
    return TemplateError(
        f"`{_shown(text)}` renders with a NUL byte, which no command can carry",
        code="nul-byte",
        hint="put binary data into a file, and copy that",
    )


def _value(template: Template, names: Mapping[str, object]) -> Any:
    part = template.parts[0]
    assert not isinstance(part, str)
    return _evaluated(part, template, names)


def _evaluated(part: nodes.Expr, template: Template, names: Mapping[str, object]) -> Any:
    """The value of one expression: settled data, a hole, or a Secret."""
    from jinja2.exceptions import SecurityError, TemplateRuntimeError, UndefinedError

    from drrun.lang.expressions import settled

    try:
        value = settled(_compiled(part)(**names))
    except UndefinedError as exc:
        raise _undefined(template, names, exc.message or "") from exc
    except NotKnownError:
        if (hole := _hole(template, names)) is not None:
            return NotKnown(hole.origin)
        raise
    except (SecurityError, TemplateRuntimeError) as exc:
        raise TemplateError(str(exc.message)) from exc
    except (ArithmeticError, LookupError, TypeError, ValueError, RecursionError) as exc:
        if (hole := _hole(template, names)) is not None:
            return NotKnown(hole.origin)
        raise TemplateError(f"the expression cannot be worked out: {exc}") from exc
    if isinstance(value, str) and _MASK in value:
        raise TemplateError(
            "an expression may not look into a secret", hint="use it as it is: {{ inputs.token }}"
        )
    return value


@lru_cache(maxsize=8192)
def _compiled(part: nodes.Expr) -> TemplateExpression:
    from drrun.lang.expressions import compiled

    return compiled(_environment(), part)


@cache
def _environment() -> Environment:
    from drrun.lang.sandbox import Environment

    return Environment()


def _undefined(template: Template, names: Mapping[str, object], said: str) -> TemplateError:
    """The first name that leads nowhere, and what is there instead."""
    for name in sorted(template.names):
        place: object = names
        walked: list[str] = []
        for part in name.split("."):
            if not isinstance(place, Mapping):
                break
            if part not in place:
                path = ".".join((*walked, part))
                known = [".".join((*walked, str(key))) for key in place]
                return TemplateError(
                    f"`{path}` is not defined",
                    code="undefined-name",
                    hint=suggest(path, known, "defined", always=len(known) <= 12),
                    name=path,
                )
            walked.append(part)
            place = place[part]
    return TemplateError(said, code="undefined-name")


def _hole(template: Template, names: Mapping[str, object]) -> NotKnown | None:
    """The first hole that the expression reads."""
    for name in sorted(template.names):
        place: object = names
        for part in name.split("."):
            if isinstance(place, Mapping) and part in place:
                place = place[part]
            if isinstance(place, NotKnown):
                return place
    return None


def _texts(value: object, where: Loc = ()) -> Iterator[tuple[Loc, str]]:
    match value:
        case str():
            if is_template(value):
                yield where, value
        case Mapping():
            for key, inner in value.items():
                if not is_code(key):
                    yield from _texts(inner, (*where, key))
        case list() | tuple():
            for index, inner in enumerate(value):
                yield from _texts(inner, (*where, index))


def _shown(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else f"{line[:59]}…"


def _described(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else f"{type(value).__name__} {value!r}"
