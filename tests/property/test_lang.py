"""Properties of the language layer, over generated trees, expressions and ranges."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import yaml as pyyaml
from hypothesis import given
from hypothesis import strategies as st

from drrun.errors import AuthorError
from drrun.lang.diagnostics import render
from drrun.lang.hosts import resolve
from drrun.lang.inventory import load_inventory
from drrun.lang.load import load_runbook
from drrun.lang.ranges import expand
from drrun.lang.template import free_names
from drrun.lang.template import render as render_template
from drrun.lang.yaml import parse
from drrun.values import HostName

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc", "Co"], exclude_characters="\ufeff"))
TREE = st.recursive(
    TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)
HOSTS = tuple(HostName(f"h{n}") for n in range(6))
ROLE = st.lists(st.sampled_from(HOSTS), unique=True, max_size=6).map(tuple)
ROLES = st.fixed_dictionaries({"a": ROLE, "b": ROLE, "c": ROLE})
EXPRESSION = st.recursive(
    st.sampled_from(["a", "b", "c", "h0"]),
    lambda inner: st.one_of(
        inner.map("!({})".format),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]}) & ({pair[1]})"),
        st.tuples(inner, inner).map(lambda pair: f"({pair[0]}) | ({pair[1]})"),
    ),
    max_leaves=6,
)


@given(TREE)
def test_quoted_trees_come_back(tree: object) -> None:
    """Any tree of texts, dumped with everything quoted, reads back equal."""
    text = pyyaml.safe_dump(tree, default_style='"', allow_unicode=True, width=10**6)
    document = parse(text, "f.yaml")
    assert document.diagnostics == ()
    assert document.root is not None
    assert document.root.plain() == tree


@given(
    st.text(max_size=60)
    | st.text("{}[]:-'\"\n\t #&*!|>%@`,?ab", max_size=60)
    | st.binary(max_size=40)
)
def test_any_text_is_read_or_refused(text: str | bytes) -> None:
    """No text makes the reader fail in any way but mistakes inside the text's lines."""
    document = parse(text, "f.yaml")
    assert document.root is not None or document.diagnostics
    render(document.diagnostics)
    for one in document.diagnostics:
        assert one.line >= 1
        assert one.column >= 1


@given(st.text("{}[]:-\n \"'abdnrstu1", max_size=80))
def test_any_runbook_loads_or_is_refused(text: str) -> None:
    """Whatever follows a runbook's head is a runbook or an AuthorError."""
    for load in (load_runbook, load_inventory):
        with suppress(AuthorError):
            load(Path("f.yaml"), f"drrun: 1\ndrrun_inventory: 1\n{text}")


@given(EXPRESSION, EXPRESSION, ROLES)
def test_de_morgan(left: str, right: str, roles: dict[str, tuple[HostName, ...]]) -> None:
    """Host expressions are sets: not (x or y) is not x and not y."""
    one = resolve(f"!(({left}) | ({right}))", roles, HOSTS)
    two = resolve(f"!({left}) & !({right})", roles, HOSTS)
    assert one == two
    both = set(resolve(left, roles, HOSTS)) & set(resolve(right, roles, HOSTS))
    assert set(resolve(f"({left}) & ({right})", roles, HOSTS)) == both
    assert list(one) == sorted(one, key=HOSTS.index)


@given(st.integers(0, 999), st.integers(0, 50), st.integers(1, 5))
def test_ranges_count(first: int, more: int, width: int) -> None:
    """`n[first-last]` is every number between, at the width of the first."""
    names = expand(f"n[{first:0{width}d}-{first + more}]")
    assert [int(name[1:]) for name in names] == list(range(first, first + more + 1))
    assert all(len(name) > width for name in names)


@given(st.text("{}%#'\"()[]|.~+-* abisvx01", max_size=40))
def test_any_template_renders_or_is_refused(text: str) -> None:
    """No template fails in any way but AuthorError; a text without braces is left alone."""
    try:
        free_names(text)
        value = render_template(text, {"a": 1, "b": "x", "is": {"x": [1]}})
    except AuthorError:
        return
    assert value == text or "{{" in text
