"""The house rules that no linter knows: budgets, names, docstrings, cycles, documented errors."""

from __future__ import annotations

import ast
import inspect
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from drrun import errors

ROOT = Path(__file__).parents[1]
PACKAGES = ("engine/drrun", "engine/drrun_lab", "steps/drrun_steps")
FORBIDDEN = ("manager", "helper", "util", "handler", "misc", "common")
MODULE_LINES, MEDIAN_LINES, FUNCTION_LINES = 400, 130, 50


def modules(package: str) -> list[Path]:
    """Every module of a package."""
    return sorted((ROOT / package).rglob("*.py"))


def lines(path: Path) -> int:
    """A module's lines."""
    return len(path.read_text().splitlines())


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function of a module, nested ones too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """A function's lines without its docstring."""
    doc = ast.get_docstring(function, clean=False)
    end = function.end_lineno or function.lineno
    return end - function.lineno + 1 - (len(doc.splitlines()) if doc else 0)


@pytest.mark.parametrize("package", PACKAGES)
def test_modules_stay_readable_at_one_sitting(package: str) -> None:
    """No module over 400 lines; the median at most 130."""
    sizes = {path: lines(path) for path in modules(package)}
    long = {str(p.relative_to(ROOT)): n for p, n in sizes.items() if n > MODULE_LINES}
    assert not long
    assert statistics.median(n for n in sizes.values() if n) <= MEDIAN_LINES


@pytest.mark.parametrize("package", PACKAGES)
def test_functions_stay_short(package: str) -> None:
    """No function over 50 lines of code."""
    long = [
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}"
        for path in modules(package)
        for function in functions(path)
        if code_lines(function) > FUNCTION_LINES
    ]
    assert not long


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_is_named_for_being_in_the_way(package: str) -> None:
    """No manager, helper, util or handler among modules, classes and functions."""
    found = []
    for path in modules(package):
        tree = ast.walk(ast.parse(path.read_text()))
        names = [path.stem]
        names += [node.name for node in tree if isinstance(node, ast.ClassDef | ast.FunctionDef)]
        found += [
            f"{path.relative_to(ROOT)}: {name}"
            for name in names
            for word in FORBIDDEN
            if word in name.lower().replace("controller_manager", "")
        ]
    assert not found


def test_every_test_states_its_fact() -> None:
    """Each test function has a docstring."""
    bare = [
        f"{path.relative_to(ROOT)}:{function.lineno} {function.name}"
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        for function in functions(path)
        if function.name.startswith("test_") and not ast.get_docstring(function)
    ]
    assert not bare


def test_nobody_sleeps_for_a_condition() -> None:
    """`time.sleep` is in one place, the lab's poll with a deadline; all else waits on the thing."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for folder in (*PACKAGES, "tests")
        for path in modules(folder)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr == "sleep"
        and isinstance(node.value, ast.Name)
        and node.value.id == "time"
    ]
    assert {place.split(":")[0] for place in found} <= {"engine/drrun_lab/waiting.py"}


def test_layers_and_doors_hold() -> None:
    """import-linter's contracts: layers, one door a third party, no cycles (type-only ones too)."""
    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([lint], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]


def every_error() -> list[type[errors.DrrunError]]:
    """Every error of drrun's."""
    return [
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.DrrunError)
    ]


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_is_drawn_and_documented(kind: type[errors.DrrunError]) -> None:
    """It stands in the tree at the top of errors.py and on the errors page, with its exit code."""
    assert kind.__name__ in (errors.__doc__ or "")
    page = (ROOT / "docs/reference/errors.md").read_text()
    row = next((line for line in page.splitlines() if f"`{kind.__name__}`" in line), "")
    assert f"| {kind.exit_code} |" in row


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_survives_pickling(kind: type[errors.DrrunError]) -> None:
    """Message and hint come back: errors cross processes."""
    import pickle

    again = pickle.loads(pickle.dumps(kind("what", hint="next")))
    assert (type(again), again.message, again.hint) == (kind, "what", "next")


def test_every_diagnostic_survives_pickling() -> None:
    """What an AuthorError found comes back with it."""
    import pickle

    again = pickle.loads(pickle.dumps(errors.AuthorError("two mistakes", diagnostics=("a", "b"))))
    assert again.diagnostics == ("a", "b")


def test_public_names_of_the_spi_are_real_and_each_is_there_once() -> None:
    """`drrun.spi.__all__` is the whole surface of a step author; ruff keeps it in order."""
    from drrun import spi

    assert len(set(spi.__all__)) == len(spi.__all__)
    assert all(hasattr(spi, name) for name in spi.__all__)
