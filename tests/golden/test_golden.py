"""Journals that released versions wrote: this version reads them, says the same of them, and goes on.

What is kept must stand in this version's answers; an answer may have grown by what is new.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from drrun import __version__
from drrun.journal.events import EVENTS
from drrun.report import html, junit, markdown, text
from drrun.report.story import Story
from drrun.store.folder import FolderStore, StoredRun

from .add import main
from .keeping import HERE, RUN, Desk, answers, hosts_from_json
from .scenes import SCENES, Ticking, gone_on

KEPT = sorted(path.parent for path in HERE.glob("*/*/journal.jsonl"))


def named(place: Path) -> str:
    """`0.1.0/finished`."""
    return str(place.relative_to(HERE))


def kept(place: Path) -> tuple[StoredRun, dict[str, Any]]:
    """A kept run, read by this version, and what is kept of it."""
    stored = FolderStore(place.parent).load(place.name)
    return stored, json.loads((place / "answers.json").read_text(encoding="utf-8"))


def stands_in(old: Any, new: Any, where: str) -> list[str]:
    """What of the old answer is another in the new one."""
    if isinstance(old, dict) and isinstance(new, dict):
        missing = [f"{where}.{key} is gone" for key in old if key not in new]
        both = [key for key in old if key in new]
        return [
            *missing,
            *(d for key in both for d in stands_in(old[key], new[key], f"{where}.{key}")),
        ]
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = enumerate(zip(old, new, strict=True))
        return [d for at, (one, other) in pairs for d in stands_in(one, other, f"{where}[{at}]")]
    return [] if old == new else [f"{where} was {old!r}, is {new!r}"]


@pytest.mark.parametrize("place", KEPT, ids=named)
def test_what_a_journal_led_to_it_still_leads_to(place: Path) -> None:
    """State, next decision, status and report are those that its own version gave."""
    stored, old = kept(place)
    new = answers(stored)
    parts = ("state", "decision", "status", "report")
    assert [d for part in parts for d in stands_in(old[part], new[part], part)] == []


@pytest.mark.parametrize("place", KEPT, ids=named)
def test_every_report_of_it_can_be_made(place: Path) -> None:
    """Text, Markdown, HTML and JUnit name the run."""
    stored, _ = kept(place)
    story = Story.of(stored.plan, stored.records)
    pages = [
        text.status(story),
        markdown.page(story, stored.outputs),
        html.page(story, stored.outputs),
    ]
    assert all(stored.plan.run in page for page in pages)
    assert stored.plan.name in junit.suite(story, stored.outputs)


@pytest.mark.parametrize("place", [p for p in KEPT if (p / "hosts.json").exists()], ids=named)
def test_it_goes_on_as_it_would_have_then(place: Path, tmp_path: Path) -> None:
    """Resumed by this version, on the hosts as they were: the same end, no effect twice, none lost."""
    _, old = kept(place)
    shutil.copytree(place, tmp_path / RUN)
    world = hosts_from_json(json.loads((place / "hosts.json").read_text(encoding="utf-8")))
    desk = Desk(tmp_path, world, Ticking(given=1000), old["says"])
    assert stands_in(old["then"], gone_on(desk), "then") == []


def test_every_scene_of_this_version_is_kept() -> None:
    """`python -m tests.golden.add` keeps what is missing; a version without them cannot be upgraded."""
    names = {place.name for place in KEPT if place.parent.name == __version__}
    assert {scene.__name__.replace("_", "-") for scene in SCENES} <= names


def test_every_event_is_in_some_kept_journal() -> None:
    """An event that no kept journal holds could change its meaning unseen."""
    seen = {event.type for place in KEPT for event in kept(place)[0].events}
    assert set(EVENTS) - seen == set()


def test_what_is_kept_is_never_written_again(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a second `add` nor a run of the same name changes a byte."""
    before = {path: path.read_bytes() for path in HERE.glob("*/*/*") if path.is_file()}
    assert main([]) == 0
    assert capsys.readouterr().out == ""
    assert main(["--from", str(KEPT[0]), KEPT[0].name]) == 1
    assert "never written again" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in HERE.glob("*/*/*") if path.is_file()} == before
