"""The page of recoveries says what was seen, and nothing else."""

from __future__ import annotations

from tests.recoveries.cells import ELSEWHERE, SCENARIOS, seen, wanted
from tests.recoveries.page import PAGE, page


def test_the_page_is_current() -> None:
    """Whoever runs a recovery or declares one writes the page."""
    assert PAGE.read_text() == page(), "python -m tests.recoveries.page writes it"


def test_every_kept_cell_is_one_that_is_wanted() -> None:
    """A result of a scenario that is gone, or that cannot run there, is dead weight."""
    can = {f"{name} | {layout} | {line}" for name, layout, line, why in wanted() if not why}
    assert set(seen()) <= can


def test_every_acceptance_check_has_a_row_or_a_place() -> None:
    """A1 to A14: a scenario shows it, or the page says where it is shown, or that it is not."""
    told = {scenario.check for scenario in SCENARIOS.values()} | set(ELSEWHERE)
    assert {f"A{n}" for n in range(1, 15)} <= told
