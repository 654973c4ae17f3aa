"""Field cases are counted by what their tests came to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.field.counting import BROKE, HELD, MARKED, Cases, known

CONFTEST = Path(__file__).parents[1] / "field" / "conftest.py"


def test_a_case_holds_when_all_its_tests_passed() -> None:
    """One failure of several breaks the case; setup and teardown that pass say nothing of it."""
    cases = Cases()
    for when in ("setup", "call", "teardown"):
        cases.saw(when, "passed", [(MARKED, "3"), (MARKED, "12")])
    cases.saw("call", "failed", [(MARKED, "12")])
    assert cases.lines[-1] == "field: 1 of 2"
    assert cases.lines[0] == "field cases that failed: 12"


def test_what_breaks_in_setup_or_teardown_breaks_the_case() -> None:
    """A lab that did not boot proves nothing; one that cannot be left is no proof either."""
    cases = Cases()
    cases.saw("setup", "failed", [(MARKED, "1")])
    cases.saw("call", "passed", [(MARKED, "2")])
    cases.saw("teardown", "failed", [(MARKED, "2")])
    assert cases.lines[-1] == "field: 0 of 2"


def test_a_case_that_only_was_skipped_is_not_run() -> None:
    """It is listed, and counts neither as held nor as failed."""
    cases = Cases()
    cases.saw("setup", "skipped", [(MARKED, "21")])
    assert cases.lines == ["field cases that were not run: 21", "field: 0 of 0"]


def test_a_test_tells_cases_while_it_runs() -> None:
    """Each by itself: what came before the failure holds."""
    cases = Cases()
    cases.saw("call", "failed", [(HELD, "v1"), (BROKE, "v4")])
    cases.saw("teardown", "passed", [(HELD, "v1"), (BROKE, "v4")])
    assert cases.lines[-1] == "field: 1 of 2"


def test_cases_are_listed_by_number() -> None:
    """Those of the versions after the others."""
    cases = Cases()
    cases.saw("call", "passed", [(MARKED, case) for case in ("v2", "10", "v11", "9")])
    assert cases.lines[0] == "field cases that ran: 9, 10, v2, v11"


@pytest.mark.parametrize("case", ["0", "49", "v14", "three", "", "3 "])
def test_a_case_that_is_not_there_is_refused(case: str) -> None:
    """A typing error would count as a case proved."""
    with pytest.raises(ValueError, match="no field case"):
        known(case)


def _suite(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Run tests in a folder named `field` with the suite's own conftest."""
    field = folder / "field"
    field.mkdir()
    (field / "conftest.py").write_text(CONFTEST.read_text())
    (field / "test_some.py").write_text(f"import pytest\n{text}")
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  field: a\n  lab: b\n")
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-m",
        "field",
        str(field),
    ]
    return subprocess.run(
        words, cwd=CONFTEST.parents[2], capture_output=True, text=True, check=False
    )


def test_the_last_line_is_the_figure(tmp_path: Path) -> None:
    """After pytest's own summary, with the cases of markers and those that a test told."""
    done = _suite(
        tmp_path,
        '@pytest.mark.field("3", "5")\n'
        "def test_one(): pass\n"
        "def test_two(case):\n"
        '    with case("7"): pass\n'
        '    with case("8"): assert 0\n',
    )
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "field: 3 of 4"


def test_a_test_of_the_suite_that_says_no_case_stops_the_session(tmp_path: Path) -> None:
    """Nobody adds one that counts nowhere."""
    done = _suite(tmp_path, "def test_one(): pass\n")
    assert done.returncode != 0
    assert "says no case" in done.stdout + done.stderr
