"""The page of figures is of today's runbooks, and every one of them has its row."""

from __future__ import annotations

import pytest
from tests.truth.page import PAGE, page
from tests.truth.scenarios import PENDING
from tests.truth.seen import GENERATED, seen
from tests.truth.test_generated import WHOLE

from drrun.places import stock_runbooks

RUNBOOKS = sorted(path.stem for path in stock_runbooks().glob("*.yaml"))


def test_the_page_is_what_was_seen() -> None:
    """Nobody writes a figure by hand."""
    assert PAGE.read_text() == page(), "python -m tests.truth.page writes it"


@pytest.mark.parametrize("name", sorted(set(RUNBOOKS) - set(PENDING)))
def test_every_stock_runbook_has_its_row(name: str) -> None:
    """Each was run on real hosts, and every sure change was made as it was told; or it is named as pending."""
    figures = seen()[name]
    assert f"| {name} |" in PAGE.read_text()
    assert figures["kept"] == figures["predicted"]
    assert figures["facts_kept"] == figures["facts"]
    assert figures["lies"] == 0


def test_what_was_not_compared_is_told_with_its_reason() -> None:
    """A runbook without figures is named on the page, and one with figures is not."""
    for name, why in PENDING.items():
        assert f"* not yet compared: {name}: {why}" in PAGE.read_text()
    assert PENDING.keys().isdisjoint(seen())


def test_nothing_on_the_page_is_of_a_runbook_that_is_gone() -> None:
    """Figures of what nobody can run any more are dead weight."""
    assert set(seen()) <= {*RUNBOOKS, GENERATED}


def test_enough_was_generated() -> None:
    """The whole run's runbooks made as many changes as the page claims at least."""
    assert seen()[GENERATED]["predicted"] >= WHOLE
