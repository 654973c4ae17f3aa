"""A fenced host stays open in every report until a later run has brought it back."""

from __future__ import annotations

import json

from tests.unit.engine.conftest import HEAD, compiled
from tests.unit.report.conftest import records
from tests.unit.report.test_story import DONE, began

from drrun.journal.events import Event, HostFenced, RunFinished, UnitFinished, UnitStarted
from drrun.model.fencing import READMIT
from drrun.report import document, html, junit, markdown, text
from drrun.report.readmitted import readmissions
from drrun.report.story import Story
from drrun.testing.world import MemoryOutputs
from drrun.values import HostName, Outcome, UnitId
from drrun_steps.readmitted import Readmit

FENCED = HostFenced(host=HostName("h2"), method="power", reason="outlet 4 is off", by="olga")
WITHOUT = """
- id: stop
  hosts: members[0]
  uses: world.set
  with: {key: server, to: stopped}
"""
BACK = """
- id: back
  hosts: members[1]
  uses: world.readmit
"""


def went_without() -> Story:
    """A run that is done, but for h2."""
    return Story.of(compiled(WITHOUT, HEAD), records([*began(), (5, FENCED), DONE]))


def brought_back(outcome: Outcome, end: str = "done") -> Story:
    """A later run whose last proof of h2 ended so."""
    unit = UnitId("back@h2")
    events: list[tuple[float, Event]] = [
        (1, UnitStarted(unit=unit, attempt=1)),
        (2, UnitFinished(unit=unit, attempt=1, outcome=outcome)),
        (3, RunFinished(status=end, exit_code=0)),
    ]
    plan = compiled(
        BACK.replace("world.readmit", "world.safe-set") + "  with: {key: x, to: y}\n", HEAD
    )
    story = Story.of(plan, records([*began(), *events]))
    object.__setattr__(plan.steps[0], "uses", READMIT)
    return story


def test_the_step_type_is_the_one_that_reports_look_for() -> None:
    """The engine imports no step: the name is all they share."""
    assert Readmit.uses == READMIT


def test_only_a_run_that_is_done_and_has_proved_it_brings_a_host_back() -> None:
    """Neither one that failed behind the proof, nor one whose proof failed or was left out."""
    assert readmissions([brought_back(Outcome.ALREADY)]) == {"h2": "r-test"}
    assert readmissions([brought_back(Outcome.ALREADY, "failed")]) == {}
    assert readmissions([brought_back(Outcome.SKIPPED)]) == {}
    assert readmissions([went_without()]) == {}


def test_every_report_asks_for_the_host_until_it_is_back() -> None:
    """Text, Markdown, HTML, JUnit and JSON; afterwards each names the run that brought it back."""
    story = went_without()
    assert "done, but for h2" in text.status_line(story)
    pages = (
        text.end(story),
        markdown.page(story, MemoryOutputs()),
        html.page(story, MemoryOutputs()),
    )
    assert all("readmit" in page for page in pages)
    assert "to-be-readmitted" in junit.suite(story, MemoryOutputs())

    story.readmitted = {HostName("h2"): "r-later"}
    assert "but for" not in text.status_line(story)
    pages = (
        text.end(story),
        markdown.page(story, MemoryOutputs()),
        html.page(story, MemoryOutputs()),
    )
    assert all("readmitted by r-later" in page for page in pages)
    assert not any("drrun readmit" in page for page in pages)
    assert "to-be-readmitted" not in junit.suite(story, MemoryOutputs())
    assert json.loads(json.dumps(document.whole(story)))["readmitted"] == {"h2": "r-later"}
