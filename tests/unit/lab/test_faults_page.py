"""docs/reference/faults.md tells of every fault that the suite does, and of no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.lab.faults import FAULTS, PAGE, Fault, Seen, page, said

SUITE = Path(__file__).parents[2] / "lab" / "test_faults.py"


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_every_fault_has_its_row_and_its_words(fault: Fault) -> None:
    """With what must follow as it stands in the suite: a page that is older than that is found."""
    text = PAGE.read_text(encoding="utf-8")
    cells = f"| {fault.name} | {fault.what} | {fault.where} | {fault.expected} | "
    assert text.count(cells) == 1
    assert text.count(f"**{fault.name}**\n\n```text\n") == 1


def test_no_row_is_of_a_fault_that_nobody_does() -> None:
    """The rows are the suite's, in its order."""
    rows = re.findall(r"^\| ([a-z-]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert rows == ["fault", *(fault.name for fault in FAULTS)]


def test_the_suite_does_every_fault() -> None:
    """Each name on the page is one that a test has seen."""
    suite = SUITE.read_text(encoding="utf-8")
    assert [fault.name for fault in FAULTS if f'"{fault.name}"' not in suite] == []


def test_a_row_tells_what_was_seen() -> None:
    """Exit codes in their order, seconds, and the operator's lines."""
    seen = {
        f.name: Seen([("restore", 1), ("resume", 0)], "as it was", 61.4, ["✘ no"]) for f in FAULTS
    }
    text = page(seen)
    assert text.count("| as it was | restore 1, resume 0 | 61 |") == len(FAULTS)
    assert text.count("```text\n✘ no\n```") == len(FAULTS)


def test_lines_are_told_without_what_differs_from_run_to_run() -> None:
    """No time, no run, no folder of this machine."""
    text = "2026-11-22T01:16:02Z host.silent run=r-1 host=cp2\nother\n  next  see /tmp/x/state/runs/r-1/report.html of /var/lib/r-1"
    assert said(text, "r-1", lines=(" host.silent ", "  next")) == [
        "host.silent run=RUN host=cp2",
        "  next  see …/state/runs/RUN/report.html of /var/lib/RUN",
    ]
