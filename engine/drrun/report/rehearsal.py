"""When a runbook was last run to its good end, as it stands now (hazard H2). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from drrun.plan.plan import Plan
from drrun.report.story import Story
from drrun.values import span


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The newest run of a runbook that was done: as it stands now, and of any text of it."""

    same: datetime | None = None
    any: datetime | None = None

    def refusal(self, within: float, now: datetime) -> str:
        """Why that is not enough for somebody who wants it within so many seconds; empty when it is."""
        if self.same is not None and (now - self.same).total_seconds() <= within:
            return ""
        if self.same is not None:
            return f"it was last rehearsed {_ago(self.same, now)} ago, longer than {_days(within)}"
        if self.any is not None:
            return f"it was edited since it was rehearsed, {_ago(self.any, now)} ago"
        return "no run of it that was done is kept here"


def rehearsed(plan: Plan, stories: Iterable[Story]) -> Rehearsal:
    """What runs say of the runbook of a plan, whatever the cluster they were of."""
    done = [s for s in stories if s.plan.name == plan.name and s.status == "done"]
    same = [s.ended for s in done if s.plan.runbook_digest == plan.runbook_digest]
    return Rehearsal(_newest(same), _newest([s.ended for s in done]))


def _newest(times: Iterable[datetime | None]) -> datetime | None:
    return max((time for time in times if time is not None), default=None)


def _ago(then: datetime, now: datetime) -> str:
    return _days((now - then).total_seconds())


def _days(seconds: float) -> str:
    return f"{seconds / 86400:.0f} days" if seconds >= 2 * 86400 else span(seconds)
