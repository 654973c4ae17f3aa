"""The words that all screens share."""

from __future__ import annotations

import pytest

from drrun.report.words import columns, count, fold, one_line, safe


@pytest.mark.parametrize(
    ("hosts", "folded"),
    [
        (["cp1", "cp2", "cp3"], "cp[1-3]"),
        (["cp1", "cp3", "cp4"], "cp[1,3-4]"),
        (["cp1"], "cp1"),
        (["cp1", "lb", "cp2"], "cp1 lb cp2"),
        (["cp01", "cp02", "cp10"], "cp[01-02] cp10"),
        (["cp9", "cp10"], "cp[9-10]"),
        (["a1.x", "a2.x"], "a[1-2].x"),
        (["lb"], "lb"),
        ([], ""),
    ],
)
def test_hosts_are_folded(hosts: list[str], folded: str) -> None:
    """Neighbours with one shape become a range; order is kept, nothing is lost."""
    assert fold(hosts) == folded


def test_nothing_moves_the_cursor() -> None:
    """Control characters from elsewhere are shown as boxes."""
    assert safe("a\x1b[2Jb\rc") == "a\N{REPLACEMENT CHARACTER}[2Jb\N{REPLACEMENT CHARACTER}c"
    assert one_line("a\n  b\tc") == "a b c"
    assert one_line("x" * 300, 10) == "x" * 9 + "…"


def test_columns_align_and_count_speaks() -> None:
    """Columns have one width and no blanks at line ends; count knows one from many."""
    assert columns([["a", "bb"], ["ccc", ""]], indent="") == ["a    bb", "ccc"]
    assert [count(1, "step"), count(2, "step")] == ["1 step", "2 steps"]
