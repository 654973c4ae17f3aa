"""What a run that ended well must say all the same: hosts left out, and a window that it overran."""

from __future__ import annotations

import dataclasses

from tests.unit.engine.conftest import compiled
from tests.unit.report.conftest import records
from tests.unit.report.test_story import began

from drrun.journal.events import Event, RunFinished, UnitFinished, UnitStarted
from drrun.report import html, markdown, text
from drrun.report.region import learnt
from drrun.report.story import Story
from drrun.testing.world import MemoryOutputs
from drrun.values import Outcome, UnitId

STEPS = """
- {id: same, hosts: "members[0]", uses: world.agree, with: {key: k}, safe_point: true}
- {id: stop, hosts: members, uses: world.safe-set, with: {key: server, to: stopped}, tolerate: 1}
"""
MINUTE = 60.0


def unit(name: str, begin: float, end: float, *, left: bool = False) -> list[tuple[float, Event]]:
    """One attempt, at minutes after 01:00."""
    outcome = Outcome.SKIPPED if left else Outcome.CHANGED
    return [
        (begin * MINUTE, UnitStarted(unit=UnitId(name), attempt=1)),
        (
            end * MINUTE,
            UnitFinished(unit=UnitId(name), attempt=1, outcome=outcome, unreached=left),
        ),
    ]


def story(window: str = "") -> Story:
    """A region from 01:10 to 01:40, with a host that was left out."""
    plan = dataclasses.replace(compiled(STEPS), window=window)
    told = [
        *began(),
        *unit("same", 1, 2),
        *unit("stop@h1", 10, 39),
        *unit("stop@h3", 39, 40, left=True),
        *unit("stop@h2", 40, 40),
        (40 * MINUTE, RunFinished(status="done", exit_code=0)),
    ]
    return Story.of(plan, records(told))


def test_hosts_that_were_left_out_are_listed_in_every_report() -> None:
    """With the share, and what is to be done."""
    words = "stop was not done on h3 (1 of 3): not reached, as tolerated; do it there by hand"
    assert f"! {words}" in text.end(story())
    for page in (html.page(story(), MemoryOutputs()), markdown.page(story(), MemoryOutputs())):
        assert "Alerts" in page
        assert words in page


def test_an_overrun_is_told_from_when_the_region_began() -> None:
    """The window closes at 01:30, the region ends ten minutes later; what came before does not count."""
    late = text.end(story("01:00-01:30"))
    assert "! it overran its window 01:00-01:30 UTC by 10m00s" in late
    assert "it overran" in html.page(story("01:00-01:30"), MemoryOutputs())
    assert "it overran" not in text.end(story("01:00-01:40"))
    assert "it overran" not in text.end(story())


def test_what_runs_took_is_learnt_from_their_regions() -> None:
    """Half an hour, not forty minutes; a run that was staged alone tells nothing."""
    staged = Story.of(compiled(STEPS), records([*began(), *unit("same", 1, 2)]))
    assert learnt([story(), staged]) == {"region": 1800.0, "region_runs": 1}
