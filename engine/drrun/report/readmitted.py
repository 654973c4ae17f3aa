"""Which fenced hosts later runs brought back: read from their journals, written into none.

A journal that is over stays as it is; that a host came back is a fact of the run that brought it.
Source: hazard H8.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from drrun.model.fencing import READMIT
from drrun.report.story import Story
from drrun.values import HostName, Outcome

_GOOD = frozenset({Outcome.CHANGED, Outcome.ALREADY})


def readmissions(stories: Iterable[Story]) -> Mapping[HostName, str]:
    """Host -> the run that readmitted it: one that is done, and proved that the host takes part."""
    found: dict[HostName, str] = {}
    for story in stories:
        if story.status != "done":
            continue
        for unit in story.plan.units:
            proves = story.plan.step_of[unit.step].uses == READMIT
            if proves and story.state.units[unit.id].outcome in _GOOD:
                found |= dict.fromkeys(unit.hosts, story.plan.run)
    return found
