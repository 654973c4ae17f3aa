"""The generated pages of docs/reference are what the code says."""

from __future__ import annotations

import pytest

from drrun.cli.reference import FOLDER, pages

NAMES = ("cli.md", "events.md", "runbook.md", "steps.md", "stock-runbooks.md")


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_current(name: str) -> None:
    """Regenerate with `python -m drrun.cli.reference` when this fails."""
    assert (FOLDER / name).read_text(encoding="utf-8") == pages()[name]


def test_every_page_is_checked() -> None:
    """No generated page is left out of the check."""
    assert sorted(pages()) == sorted(NAMES)
