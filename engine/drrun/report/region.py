"""The critical region of a run, from its journal: when it began, what it took, and past which window."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from drrun.plan.plan import Plan
from drrun.plan.window import Window, expected, words
from drrun.report.story import Story
from drrun.values import span


def began(story: Story) -> datetime | None:
    """When the first step behind the safe point began; None when none did."""
    plan = story.plan
    inside = {s.id for s in plan.steps if s.id not in plan.staging and not s.always}
    return min(
        (a.began for a in story.attempts if plan.unit_of[a.unit].step in inside and not a.undo),
        default=None,
    )


def learnt(stories: Iterable[Story]) -> Mapping[str, float]:
    """What these runs say of how long the region takes, and its undo: those that came to an end."""
    regions, undos = list[float](), list[float]()
    for story in stories:
        first, last = began(story), story.ended
        if first is None or last is None:
            continue
        if story.status == "done":
            regions.append((last - first).total_seconds())
        turned = min((a.began for a in story.attempts if a.undo), default=None)
        if story.status == "undone" and turned is not None:
            undos.append((last - turned).total_seconds())
    return expected(regions, undos)


def planned(plan: Plan) -> list[str]:
    """For the head of a plan: its window, and what is expected."""
    return [f"window {plan.window} UTC: {words(plan.expected)}"] if plan.window else []


def overrun(story: Story) -> list[str]:
    """For the end of a run and its reports: by how much its region went past its window."""
    first, last = began(story), story.ended
    if not story.plan.window or first is None or last is None:
        return []
    left = Window.parse(story.plan.window).left(first.timestamp())
    over = (last - first).total_seconds() - left
    return [f"! it overran its window {story.plan.window} UTC by {span(over)}"] if over > 0 else []
