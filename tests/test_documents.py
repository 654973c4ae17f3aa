"""The pages say what the code does: links lead somewhere, codes and step types are all there."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path

from drrun.registry import Registry

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")))
EXIT_CODES = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 70, 130, 143)


def test_links_lead_somewhere() -> None:
    """Every relative link of README, CONTRIBUTING and docs/ is to a file that is there."""
    links = [
        (page, target)
        for page in PAGES
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    ]
    dead = [
        f"{page.relative_to(ROOT)}: {target}"
        for page, target in links
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert dead == []


def test_every_page_is_reachable_from_the_index() -> None:
    """docs/index.md links to every page but the decisions, which link from the first."""
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    pages = [p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")]
    lost = [p for p in pages if p != "index.md" and not p.startswith("adr/") and p not in index]
    assert lost == []


def test_every_exit_code_is_documented() -> None:
    """Scripts live by them: each has a place on the page of errors."""
    page = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
    assert [code for code in EXIT_CODES if not re.search(rf"\b{code}\b", page)] == []


def test_every_step_type_is_documented() -> None:
    """What comes in by the entry points has a section on the page of step types."""
    page = (ROOT / "docs" / "reference" / "steps.md").read_text(encoding="utf-8")
    assert entry_points(group="drrun.steps")
    assert [word for word in Registry().steps() if f"## {word}\n" not in page] == []


def test_every_stock_runbook_is_in_the_changelog_or_the_readme() -> None:
    """A runbook that nobody can find out about does not exist."""
    told = (ROOT / "README.md").read_text() + (ROOT / "CHANGELOG.md").read_text()
    assert [p.stem for p in (ROOT / "runbooks").glob("*.yaml") if p.stem not in told] == []
