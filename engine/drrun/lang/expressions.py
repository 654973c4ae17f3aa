"""Between texts and Jinja2's trees: cut, check, name, compile, settle.

An expression is kept as its tree: it is parsed once, asked for the names it reads without being
run, and compiled when it is first needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jinja2 import TemplateSyntaxError, Undefined, nodes
from jinja2.environment import TemplateExpression
from jinja2.exceptions import UndefinedError
from jinja2.visitor import NodeTransformer

from drrun.lang.diagnostics import suggest
from drrun.lang.sandbox import MAX_ITEMS, MAX_SOURCE, Environment, bounded
from drrun.lang.template_error import TemplateError

_CANNOT_READ = "the template cannot be read"
_GO_TEMPLATE = "for literal braces write {{ '{{' }}"


def parts_of(
    environment: Environment, text: str
) -> tuple[tuple[str | nodes.Expr, ...], frozenset[str]]:
    """The literal parts and expressions of `text`, and the names they read.

    Raises TemplateError on what is not an expression, and on what could not be bounded.
    """
    if len(text) > MAX_SOURCE:
        raise TemplateError(f"a text with templates is at most {MAX_SOURCE} characters")
    try:
        tree = environment.parse(text)
        _Guard(environment).visit(tree)
        parts = tuple(_parts(tree))
        names = frozenset(
            name for part in parts if isinstance(part, nodes.Expr) for name in _names(part)
        )
    except TemplateSyntaxError as exc:
        raise TemplateError(f"{_CANNOT_READ}: {exc.message}", hint=_GO_TEMPLATE) from exc
    except (RecursionError, MemoryError) as exc:
        raise TemplateError(f"{_CANNOT_READ}: it is nested too deep") from exc
    return parts, names


def compiled(environment: Environment, part: nodes.Expr) -> TemplateExpression:
    """`part` as a callable over names; an undefined result stays Undefined."""
    body = nodes.Assign(nodes.Name("result", "store", lineno=1), part, lineno=1)
    try:
        template = environment.from_string(nodes.Template([body], lineno=1))
    except (RecursionError, MemoryError, SyntaxError) as exc:
        raise TemplateError(f"{_CANNOT_READ}: it is nested too deep") from exc
    return TemplateExpression(template, undefined_to_none=False)


def settled(value: Any) -> Any:
    """`value` as plain data: no generators, no tuples, nothing undefined in any depth.

    Raises UndefinedError when a part is undefined and SecurityError when it is too large.
    """
    match value:
        case Undefined():
            str(value)  # raises with the name, unless it came of an `if` without `else`
            raise UndefinedError("an `if` without `else` gives nothing")
        case str():
            return bounded(value)
        case Mapping():
            return {key: settled(inner) for key, inner in bounded(dict(value)).items()}
        case list() | tuple() | Iterator():
            found: list[Any] = []
            for inner in value:
                found.append(settled(inner))
                if len(found) > MAX_ITEMS:
                    bounded(found)
            return found
        case int():
            return bounded(value)
    return value


class _Guard(NodeTransformer):
    """Refuses calls, unknown filters and tests; makes `~` a bounded join."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment

    def visit_Call(self, node: nodes.Call) -> nodes.Node:  # noqa: N802 - Jinja2 names it
        raise TemplateError(
            "nothing can be called in a template",
            hint="use a filter: x | upper, x | split(','), x | default('y')",
            name=getattr(node.node, "name", "") or getattr(node.node, "attr", ""),
        )

    def visit_Name(self, node: nodes.Name) -> nodes.Node:  # noqa: N802 - Jinja2 names it
        if node.name == "self":  # Jinja2's own reference to the template
            raise TemplateError("`self` is not defined", code="undefined-name", name="self")
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 - Jinja2 names it
        self.generic_visit(node)
        words = nodes.List(node.nodes, lineno=node.lineno)
        joined = nodes.Filter(words, "join", [], [], None, None, lineno=node.lineno)
        return joined.set_environment(self.environment)

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:  # noqa: N802 - Jinja2 names it
        self._known(node.name, self.environment.filters, "filter")
        self.generic_visit(node)
        return node

    def visit_Test(self, node: nodes.Test) -> nodes.Node:  # noqa: N802 - Jinja2 names it
        self._known(node.name, self.environment.tests, "test")
        self.generic_visit(node)
        return node

    def _known(self, name: str, known: Mapping[str, object], noun: str) -> None:
        if name not in known:
            hint = suggest(name, sorted(known), f"{noun}s")
            raise TemplateError(f"there is no {noun} `{name}`", hint=hint, name=name)


def _parts(tree: nodes.Template) -> Iterator[str | nodes.Expr]:
    for output in tree.body:
        assert isinstance(output, nodes.Output)
        for node in output.nodes:
            if isinstance(node, nodes.TemplateData):
                yield node.data
            else:
                yield node


def _names(node: nodes.Node) -> Iterator[str]:
    """The longest constant paths below `node`: `a.b["c"].d` is `a.b.c.d`."""
    path: list[str] = []
    inner: nodes.Node = node
    while isinstance(inner, nodes.Getattr | nodes.Getitem):
        key = inner.attr if isinstance(inner, nodes.Getattr) else _constant(inner.arg)
        if key is None:
            path = []
            yield from _names(inner.arg)  # type: ignore[union-attr] # only Getitem has no constant
        else:
            path.insert(0, key)
        inner = inner.node
    if isinstance(inner, nodes.Name):
        yield ".".join((inner.name, *path))
    else:
        for child in inner.iter_child_nodes():
            yield from _names(child)


def _constant(node: nodes.Node) -> str | None:
    return node.value if isinstance(node, nodes.Const) and isinstance(node.value, str) else None
