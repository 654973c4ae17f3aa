"""Templates: typed values, honest emptiness, holes, secrets, and nothing that runs away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from drrun.errors import NotKnownError
from drrun.lang import template
from drrun.lang.template import BLANK, free_names, issues, needs_run, read, render
from drrun.lang.template_error import TemplateError
from drrun.values import NotKnown, Secret

HOLE = NotKnown("stage")
NAMES: Mapping[str, object] = {
    "inputs": {
        "snapshot": "/a b",
        "count": 3,
        "flag": True,
        "token": Secret("s3cret"),
        "empty": "",
        "blank": BLANK,
        "nothing": None,
    },
    "vars": {"items": "I", "list": ["a", "b"], "a-b": {"c": "d"}},
    "steps": {"stop-api-2": {"outputs": {"x": HOLE, "y": "Y"}}},
    "host": {"name": "cp1"},
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ inputs.count }}", 3),
        ("{{inputs.flag}}", True),
        ("{{ vars.list }}", ["a", "b"]),
        ("{{ inputs.count + 1 }}", 4),
        ("{{ inputs.count-1 }}", 2),
        ("{{ (1, 2) }}", [1, 2]),
        ("{{ {'a': vars.list} }}", {"a": ["a", "b"]}),
        ("{{ vars.list | map('upper') }}", ["A", "B"]),
        ("{{ vars.items }}", "I"),
        ("{{ vars['a-b'].c }}", "d"),
        ("{{ vars.list[0] }}", "a"),
        ("{{ vars.list[1:] }}", ["b"]),
        ("{{ steps.stop-api-2.outputs.y }}", "Y"),
        ("{{ inputs.nope | default('d') }}", "d"),
        ("{{ inputs.count ~ 'x' ~ inputs.flag }}", "3xtrue"),
        ("{{ 'a,b' | split(',') | last }}", "b"),
        ("{{ '/x/y.db' | basename }}:{{ '/x/y.db' | dirname }}", "y.db:/x"),
        ("{{ vars.list | tojson }}", '["a", "b"]'),
        ("{{ 'aXa' | replace('a', 'bb') }}", "bbXbb"),
    ],
)
def test_a_whole_value_keeps_its_type(text: str, value: object) -> None:
    """One expression and nothing else gives the value itself."""
    assert render(text, NAMES) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("n={{ inputs.count }}", "n=3"),
        ("{{ inputs.flag }}!", "true!"),
        (" {{ inputs.count }}", " 3"),
        ("{{ host.name }}-{{ inputs.count }}", "cp1-3"),
        ("${#a} {# no comment #} {x}", "${#a} {# no comment #} {x}"),
        ("{{ '{{.ID}}' }}\n", "{{.ID}}\n"),
        ("no template", "no template"),
    ],
)
def test_a_template_inside_a_text_gives_text(text: str, value: object) -> None:
    """Around other words a value is text; braces of other languages are left alone."""
    assert render(text, NAMES) == value


def test_rendering_goes_deep_and_leaves_the_rest() -> None:
    """Lists and mappings are rendered in any depth; what is no text is passed on."""
    value = {"a": ["{{ inputs.count }}", {"b": "x{{ host.name }}"}], "c": 5, "d": None}
    assert render(value, NAMES) == {"a": [3, {"b": "xcp1"}], "c": 5, "d": None}


@pytest.mark.parametrize(
    "text",
    [
        "{{ inputs.empty }}",
        "rm -rf /{{ inputs.empty }}",
        "{{ inputs.nothing }}",
        "x{{ inputs.nothing }}",
        "{{ none }}",
        "{{ '' }}",
    ],
)
def test_nothing_renders_empty_unnoticed(text: str) -> None:
    """None and the empty text are mistakes: `rm -rf /{{ x }}` never becomes `rm -rf /`."""
    with pytest.raises(TemplateError, match="renders empty"):
        render(text, NAMES)


def test_empty_where_it_is_declared() -> None:
    """An input that may be empty passes; so does anything where the caller allows it."""
    assert render("{{ inputs.blank }}", NAMES) == ""
    assert render("x{{ inputs.blank }}", NAMES) == "x"
    assert render("x{{ inputs.nothing }}", NAMES, allow_empty=True) == "x"
    assert render("{{ inputs.nothing }}", NAMES, allow_empty=True) is None


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("{{ inputs.snapshto }}", "`inputs.snapshto` is not defined", "`inputs.snapshot`"),
        ("x {{ inputs.snapshto }}", "`inputs.snapshto` is not defined", "`inputs.snapshot`"),
        ("{{ input.x }}", "`input` is not defined", "did you mean `inputs`? defined: inputs"),
        ("{{ [inputs.nope] }}", "`inputs.nope` is not defined", ""),
        ("{{ inputs.nope ~ 'x' }}", "`inputs.nope` is not defined", ""),
        ("{{ inputs.nope + 1 }}", "`inputs.nope` is not defined", ""),
        ("{{ 1 if false }}", "gives nothing", ""),
        ("{{ self }}", "`self` is not defined", ""),
        ("{{ ''.__class__ }}", "has no attribute", ""),
        ("{{ vars.list[9] }}", "has no element", ""),
        ("{{ inputs.snapshot.upper() }}", "nothing can be called", "use a filter"),
        ("{{ range(10) }}", "nothing can be called", ""),
        ("{{ x | uper }}", "there is no filter `uper`", "did you mean `upper`?"),
        ("{{ x is odder }}", "there is no test", "`odd`"),
        ("{{ x", "cannot be read", "literal braces"),
        ("{% for x in y %}", "only expressions", "when:"),
        ("{{ 1 / 0 }}", "division by zero", ""),
        ("x{{ vars.list }}", "join", ""),
        ("{{ 'x' ~ inputs.nothing }}", "has no value", ""),
        ("{{ inputs.snapshot + 1 }}", "two numbers", "~"),
    ],
)
def test_mistakes_say_what_is_wrong(text: str, message: str, hint: str) -> None:
    """An undefined name, a call, a statement: the message names it, the hint says the way out."""
    with pytest.raises(TemplateError) as caught:
        render(text, NAMES)
    assert message in caught.value.message
    assert hint in caught.value.hint + caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        "{{ 'a' * 1000000000 }}",
        "{{ [0] * 1000000000 }}",
        "{{ 9 ** 9 ** 9 }}",
        "{{ 2 ** 64 }}",
        "{{ '%999999999d' % 1 }}",
        "{{ 'a' | center(1000000000) }}",
        "{{ '" + "a" * 400 + "' | replace('a', '" + "b" * 400 + "') }}",
        "{{ " + "(" * 3000,
        "{{ " + "not " * 4000 + "x }}",
        "{{ " + "[" * 300 + "]" * 300 + " }}",
        "{{ x" + "[0]" * 5000 + " }}",
        "{{ 'x' }}" + "y" * 30_000,
    ],
    ids=lambda text: text[:24],
)
def test_nothing_runs_away(text: str) -> None:
    """What would take the memory, the processor or the stack is a mistake."""
    with pytest.raises(TemplateError):
        render(text, {"x": "y"})


def test_the_path_to_the_mistake() -> None:
    """An error in a deep value says where in it."""
    with pytest.raises(TemplateError) as caught:
        render({"a": ["x", {"b": "{{ nope }}"}]}, NAMES)
    assert caught.value.where == ("a", 1, "b")
    assert [issue.where for issue in issues({"a": ["{{ x", "{{ inputs.x }}"]})] == [("a", 0)]


@pytest.mark.parametrize(
    "text",
    [
        "{{ steps.stop-api-2.outputs.x }}",
        "{{ steps.stop-api-2.outputs.x.deep[0] }}",
        "pre {{ steps.stop-api-2.outputs.x }} {{ inputs.count }}",
        "{{ steps.stop-api-2.outputs.x ~ '/y' }}",
        "{{ steps.stop-api-2.outputs.x * 2 }}",
        "{{ -steps.stop-api-2.outputs.x }}",
        "{{ steps.stop-api-2.outputs.x | upper }}",
        "{{ 1 if steps.stop-api-2.outputs.x == 3 else 2 }}",
    ],
)
def test_a_hole_stays_a_hole(text: str) -> None:
    """A value that only a run can give makes what is built of it a hole of the same origin."""
    value = render(text, NAMES)
    assert isinstance(value, NotKnown)
    assert value.origin.startswith("stage")


def test_holes_pass_inside_lists() -> None:
    """A list that holds a hole is a list."""
    value = render(["a", "{{ steps.stop-api-2.outputs.x }}"], NAMES)
    assert isinstance(value, list)
    assert value[1] is HOLE


def test_secrets_stay_secret() -> None:
    """A secret alone or in a text is a Secret; no expression can look into it."""
    whole = render("{{ inputs.token }}", NAMES)
    inside = render("Bearer {{ inputs.token }}", NAMES)
    assert isinstance(whole, Secret)
    assert isinstance(inside, Secret)
    assert whole.unmask() == "s3cret"
    assert inside.unmask() == "Bearer s3cret"
    for text in (
        "{{ inputs.token ~ 'x' }}",
        "{{ inputs.token | upper }}",
        "{{ [inputs.token] | join }}",
    ):
        with pytest.raises(TemplateError, match="secret"):
            render(text, NAMES)


def test_the_names_that_a_text_reads() -> None:
    """Paths come out whole, with keys in brackets and ids with dashes; nothing is run."""
    text = (
        "{{ steps.stop-api.outputs.x }} {{ inputs['a-b'].c[vars.i].d }} "
        "{{ host.name | default(vars.z) }} {{ inputs.n - 1 }} {{ 'inputs.no' }}"
    )
    assert free_names(text) == {
        "steps.stop-api.outputs.x",
        "inputs.a-b.c",
        "vars.i",
        "host.name",
        "vars.z",
        "inputs.n",
    }
    assert free_names("plain") == frozenset()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("{{ steps.a-1-b.x }}", "steps.a-1-b.x"),
        ("{{ steps.a-3x.x }}", "steps.a-3x.x"),
        ("{{ steps.a-007.x }}", "steps.a-007.x"),
        ("{{ steps.not-ready.x }}", "steps.not-ready.x"),
        ("{{ vars.steps.a-1 }}", "vars.steps.a"),
        ("{{ steps.a }}", "steps.a"),
    ],
)
def test_ids_with_dashes_are_paths(text: str, name: str) -> None:
    """After `steps.` a dash belongs to the id; anywhere else it is a minus."""
    assert name in free_names(text)


def test_what_needs_a_run() -> None:
    """A value in any depth that refers to a step's outputs is not known before the run."""
    assert needs_run({"a": ["x", "{{ steps.a.outputs.b }}"]})
    assert not needs_run({"a": ["steps.a", "{{ inputs.steps }}"]})


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("inputs.count == 3", True),
        ("{{ inputs.flag }}", True),
        ("not inputs.flag", False),
        ("inputs.nope is defined", False),
        ("'a' in vars.list and inputs.count > 2", True),
    ],
)
def test_tests(expression: str, value: object) -> None:
    """A `when:` is an expression, with or without braces."""
    assert template.test(expression, NAMES) is value


@pytest.mark.parametrize("expression", ["inputs.count", "'false'", "inputs.nothing", "vars.list"])
def test_a_test_is_true_or_false(expression: str) -> None:
    """Anything but a boolean is a mistake: the text `false` is not false by accident."""
    with pytest.raises(TemplateError, match="not true or false"):
        template.test(expression, NAMES)


def test_a_test_on_a_hole_is_not_known() -> None:
    """A `when:` that rests on a step's output raises, naming the step; nobody guesses."""
    with pytest.raises(NotKnownError, match="stage"):
        template.test("steps.stop-api-2.outputs.x == 1", NAMES)


@pytest.mark.parametrize("expression", ["", "a }} {{ b", "a b", "{{ a }}{{ b }}", "x{{ a }}"])
def test_a_test_is_one_expression(expression: str) -> None:
    """Braces cannot smuggle a second expression in."""
    with pytest.raises(TemplateError):
        template.test(expression, {"a": True, "b": True})


def test_reading_is_remembered() -> None:
    """The same text is parsed once."""
    assert read("{{ inputs.count }}") is read("{{ inputs.count }}")


@pytest.mark.parametrize("text", [r"{{ '\0' }}", r"a {{ '\x00' }} b", "{{ inputs.binary }}"])
def test_a_nul_byte_is_not_rendered(text: str) -> None:
    """Whether it is written in the template or comes with a value: no command could carry it."""
    with pytest.raises(TemplateError, match="NUL byte") as caught:
        render({"argv": ["echo", text]}, {"inputs": {"binary": "a\0b"}})
    assert (caught.value.code, caught.value.where) == ("nul-byte", ("argv", 1))


def test_code_is_never_rendered() -> None:
    """A script stands as it was written, wherever it is: a value in it would be run, not read."""
    code = "docker ps --format '{{.ID}}' # {{ inputs.snapshot }} {{ steps.stage.outputs.x }}"
    value = {"script": code, "args": [{"check_script": code}], "say": "{{ inputs.snapshot }}"}
    assert not needs_run(value)
    assert list(issues(value)) == []
    assert render(value, NAMES) == {**value, "say": "/a b"}


@pytest.mark.parametrize(
    "reckon",
    [
        pytest.param(lambda hole: 5 - hole, id="5 - hole"),
        pytest.param(lambda hole: hole - 5, id="hole - 5"),
        pytest.param(lambda hole: 5 + hole, id="5 + hole"),
        pytest.param(lambda hole: 2 * hole, id="2 * hole"),
        pytest.param(lambda hole: hole // 10, id="hole // 10"),
        pytest.param(lambda hole: hole >> 20, id="hole >> 20"),
        pytest.param(lambda hole: -hole, id="-hole"),
        pytest.param(lambda hole: range(3)[hole], id="index"),
        pytest.param(Path, id="path"),
    ],
)
def test_reckoning_with_a_hole_is_looking_at_it(reckon: Callable[[Any], object]) -> None:
    """From either side: the unit's prediction ends, and no TypeError is taken for a bug of drrun."""
    with pytest.raises(NotKnownError, match="stage"):
        reckon(HOLE)
