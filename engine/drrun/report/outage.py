"""What was away and for how long, and whether the objectives were met. From the journal alone.

A fact that a change took away from its value, and that a later change brought back to it, was away
in between: a service that was stopped and started again. Where nothing was taken away (it was down
before the run began), the recovery time is that of the whole run, which can only be too long.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from drrun.report.story import Story
from drrun.values import HostName, Json, span


@dataclass(frozen=True, slots=True)
class Away:
    """One fact of one host that was, for a time, not what it had been."""

    host: HostName
    fact: str
    was: Json
    since: datetime
    until: datetime

    @property
    def seconds(self) -> float:
        """How long."""
        return (self.until - self.since).total_seconds()


@dataclass(frozen=True, slots=True)
class Goal:
    """An objective and what was reached. `got` is None when nothing measured it."""

    name: str
    goal: float
    got: float | None
    basis: str

    @property
    def met(self) -> bool | None:
        """Whether it was met; None when it was not measured."""
        return None if self.got is None else self.got <= self.goal

    @property
    def words(self) -> str:
        """`RTO 2m19s of 15m00s (the whole run)`."""
        got = "not measured" if self.got is None else span(self.got)
        return f"{self.name.upper()} {got} of {span(self.goal)} ({self.basis})"


def away(story: Story) -> tuple[Away, ...]:
    """Every fact that left its value and came back to it."""
    found: list[Away] = []
    gone: dict[tuple[HostName, str], tuple[Json, datetime]] = {}
    for made in story.changes:
        when = made.ended or made.began
        for fact, after in made.after.items():
            key, before = (made.intent.host, fact), made.intent.before.get(fact)
            if key in gone and gone[key][0] == after:
                was, since = gone.pop(key)
                found.append(Away(key[0], fact, was, since, when))
            elif key not in gone and before not in (None, after):
                gone[key] = (before, made.began)
    return tuple(sorted(found, key=lambda one: (one.since, one.host, one.fact)))


def outage(story: Story) -> float | None:
    """Seconds from the first departure to the last return; None when nothing left and came back."""
    gone = _gone(story)
    return None if gone is None else (gone[1] - gone[0]).total_seconds()


def changing(story: Story) -> float | None:
    """Seconds of the outage in which some change was under way; the rest of it went into proofs.

    Told apart so that speed is never had by proving less (hazard H33). None without an outage.
    """
    gone = _gone(story)
    if gone is None:
        return None
    total, reached = 0.0, gone[0]
    for made in sorted(story.changes, key=lambda made: made.began):
        since = max(made.began, reached)
        until = min(made.ended or made.began, gone[1])
        if until > since:
            total += (until - since).total_seconds()
            reached = until
    return total


def _gone(story: Story) -> tuple[datetime, datetime] | None:
    """From the first departure to the last return, where there was one."""
    found = away(story)
    return (min(a.since for a in found), max(a.until for a in found)) if found else None


def goals(story: Story) -> tuple[Goal, ...]:
    """The runbook's objectives against what the journal measured."""
    figures = {measured.name: measured.value for _, measured in story.measures}
    found: list[Goal] = []
    for name, goal in story.plan.objectives.items():
        if story.status != "done":
            found.append(Goal(name, goal, None, "the run is not done"))
        elif name in figures:
            found.append(Goal(name, goal, figures[name], "measured by a step"))
        elif name == "rto":
            out = outage(story)
            if out is None:
                found.append(Goal(name, goal, story.seconds, "the whole run"))
            else:
                found.append(
                    Goal(name, goal, out, "from the first thing taken away to the last one back")
                )
        else:
            found.append(Goal(name, goal, None, "no step measured it"))
    return tuple(found)


def missed(story: Story) -> tuple[Goal, ...]:
    """The objectives that were measured and not met."""
    return tuple(goal for goal in goals(story) if goal.met is False)
