"""The reader of YAML: text stays text, traps are located mistakes, all of them at once."""

from __future__ import annotations

import pytest

from drrun.lang.diagnostics import render
from drrun.lang.yaml import MAX_BYTES, parse


def plain(text: str | bytes) -> object:
    document = parse(text, "f.yaml")
    assert document.diagnostics == ()
    assert document.root is not None
    return document.root.plain()


def found(text: str | bytes) -> list[str]:
    document = parse(text, "f.yaml")
    return [f"{one.line}:{one.column} {one.code}" for one in document.diagnostics]


@pytest.mark.parametrize(
    "text",
    [
        "22:30",
        "no",
        "1.10",
        "0755",
        "~",
        "null",
        "true",
        "1e3",
        "2026-11-22",
        "0x1f",
        ".inf",
        "1_0",
    ],
)
def test_scalars_are_text(text: str) -> None:
    """What YAML 1.1 turns into numbers, dates, booleans or nothing stays as it was written."""
    assert plain(f"a: {text}\nb: [{text}]\n{text}: c\n") == {"a": text, "b": [text], text: "c"}


def test_left_out_is_not_the_empty_text() -> None:
    """`a:` has no value; `b: ""` has the empty text."""
    assert plain("a:\nb: ''\nc: \"\"\n") == {"a": None, "b": "", "c": ""}


def test_json_is_yaml() -> None:
    """Flow syntax that looks like JSON is read like any other."""
    assert plain('{"a": [1, {"b": "c"}], "d": true}') == {"a": ["1", {"b": "c"}], "d": "true"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("\ufeffa: b\n", {"a": "b"}),
        ("a: b\r\nc: d\r\n", {"a": "b", "c": "d"}),
        ("a: x\u2028y\nb: c\n", {"a": "x\u2028y", "b": "c"}),
        ("a: x\u2029y\x85z\n", {"a": "x\u2029y\x85z"}),
        ("a: '\U0001f525 日本'\n", {"a": "\U0001f525 日本"}),
        ("a: \ue000\u2028\n", {"a": "\ue000\u2028"}),
        ("a: |\n  x\n  \ty\n", {"a": "x\n\ty\n"}),
    ],
    ids=["bom", "crlf", "u2028", "u2029-nel", "wide", "private-use", "tab-in-block"],
)
def test_odd_characters_are_characters(text: str, value: object) -> None:
    """A byte order mark, CRLF and exotic line breaks do not change what is read."""
    assert plain(text) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3\n", ["3:1 duplicate-key"]),
        ("a: !!str 3\n", ["1:4 tag"]),
        ("hosts: !etcd\n", ["1:8 tag"]),
        ("a: &x 1\nb: *x\n", ["1:4 anchor", "2:4 alias"]),
        ("<<: {a: 1}\n", ["1:1 merge-key"]),
        ("a: 1\n---\nb: 2\n", ["2:1 many-documents"]),
        ("? [a]\n: b\n", ["1:3 key-not-text"]),
        ("?\n: b\n", ["1:2 empty-key"]),
        ("a:\n\tb: c\n\td: e\n", ["2:1 tab", "3:1 tab"]),
        ("a:\n  b: c\n  \td: e\n", ["3:3 tab"]),
        ("", ["1:1 empty-file"]),
        ("# only words\n", ["1:1 empty-file"]),
        ("a: \x07\n", ["1:4 control-character"]),
        (b"a: 1\nb: \xff\n", ["2:4 not-utf8"]),
        ("a: \udc80\n", ["1:4 not-utf8"]),
        ("[" * 900, ["1:51 too-deep"]),
        ("{a: " * 3000, ["1:198 too-deep"]),
        ("a: [1,\nb: 2\n", ["1:4 syntax"]),
        ("a: 'x\n", ["1:4 syntax"]),
        ("a: b: c\n", ["1:5 syntax"]),
        ("a: @x\n", ["1:4 syntax"]),
        ("a:\n  b: 1\n c: 2\n", ["3:2 syntax"]),
    ],
)
def test_traps_are_mistakes_with_a_place(text: str | bytes, expected: list[str]) -> None:
    """Each trap of YAML is reported by code, at its line and column."""
    assert found(text) == expected


def test_what_is_too_deep_for_the_parser_is_too_deep() -> None:
    """The parser, from libyaml 0.2.6 on, gives up at 1000 levels, ahead of what it has told: the same mistake."""
    (mistake,) = found("[" * 3000)
    assert mistake.endswith(" too-deep")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: {{ x }}\n", ["1:4 unquoted-template"]),
        ("a: {{ x.y }}-b\n", ["1:4 unquoted-template"]),
        ("a: {{ x[0] | f('}') }}\n", ["1:4 unquoted-template"]),
        ("a: [p, {{ x }}]\n", ["1:8 unquoted-template"]),
        ("a: {b: {{ x }}}\n", ["1:8 unquoted-template"]),
        ("- {{ x }}\n- {{ y }}\n", ["1:3 unquoted-template", "2:3 unquoted-template"]),
        ("a: {% if x %}\n", ["1:4 unquoted-template"]),
    ],
)
def test_an_unquoted_template_is_named(text: str, expected: list[str]) -> None:
    """`{{ x }}` without quotes is a mapping to YAML; the message says to quote it."""
    assert found(text) == expected
    assert "must be quoted" in render(parse(text, "f.yaml").diagnostics)


def test_reading_goes_on_after_a_mistake() -> None:
    """Mistakes of different kinds come in one go, in the order of the file."""
    text = "a: &x 1\nb: {{ t }}\nc: 1\nc: *x\nd: !!int 3\n"
    assert sorted(found(text)) == [
        "1:4 anchor",
        "2:4 unquoted-template",
        "4:1 duplicate-key",
        "4:4 alias",
        "5:4 tag",
    ]


def test_an_alias_bomb_costs_nothing() -> None:
    """Aliases are reported and never followed: nine levels of ten do not multiply."""
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert len(found("\n".join(lines))) == 10 + 90


def test_mistakes_are_bounded() -> None:
    """A file of nothing but mistakes reports the first 500, quickly."""
    document = parse("a: [" + "*x, " * 100_000 + "]", "f.yaml")
    assert len(document.diagnostics) == 500
    assert len(render(document.diagnostics)) < 500_000


def test_values_are_bounded() -> None:
    """More values than any runbook has are refused before they are all read."""
    assert found("[" + "b," * 260_000 + "]")[0].endswith("too-large")


def test_a_large_file_is_refused() -> None:
    """More than 5 MB are not even parsed."""
    assert found("a" * (MAX_BYTES + 1)) == ["1:1 too-large"]


def test_rendering_points_with_a_caret() -> None:
    """A mistake is shown with place, line, caret and next move."""
    text = "name: x\nname: y\n"
    assert render(parse(text, "restore.yaml").diagnostics) == (
        "error[duplicate-key]: the key `name` stands here twice\n"
        " --> restore.yaml:2:1\n"
        "  |\n"
        "2 | name: y\n"
        "  | ^^^^\n"
        "  = help: the first is at line 1, column 1"
    )


def test_the_caret_counts_wide_characters_and_hides_control_characters() -> None:
    """The caret stands under its place after wide text; no escape sequence reaches a terminal."""
    shown = render(parse("日本: {{ x }}\n", "f.yaml").diagnostics).splitlines()
    assert shown[4] == "  |       ^^^^^^^"
    assert "\x1b" not in render(parse("a: \x1b[31m\n", "f.yaml").diagnostics)


def test_a_long_line_is_shown_in_part() -> None:
    """A line of thousands of characters does not fill the screen."""
    shown = render(parse("[" * 3000, "f.yaml").diagnostics)
    assert max(map(len, shown.splitlines())) < 200


@pytest.mark.parametrize(
    ("text", "places"),
    [
        (r'a: "\0"', ["1:5"]),
        (r'a: "x\x00y"', ["1:6"]),
        (r'a: [b, "\u0000"]', ["1:9"]),
        (r'a: "\U00000000"', ["1:5"]),
        ('a: "x\\\\\n  y \\0"\n', ["2:5"]),
        (r'"k\0": "\0"', ["1:3", "1:9"]),
        (r'a: "\\0"', []),
        (r"a: '\0'", []),
        ("a: |\n  printf '\\0'\n", []),
    ],
)
def test_a_nul_byte_is_a_mistake_where_it_is_written(text: str, places: list[str]) -> None:
    """No command, path or variable can carry one; the two characters in a script are something else."""
    assert found(text) == [f"{place} nul-byte" for place in places]
