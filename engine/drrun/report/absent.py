"""Who a run does without, in words: fenced hosts, on whose word and what is still to be done; empty roles."""

from __future__ import annotations

from drrun.model.fencing import METHODS, Fencing
from drrun.plan.plan import Plan
from drrun.report.story import Story
from drrun.report.words import clock, count, safe
from drrun.values import Json, Outcome, StepId

NEXT = (
    "what it holds must never act beside what was recovered: switch it on when you are there, and "
    "`drrun readmit HOST` stops what is on it, sets its data aside and lets it join anew"
)


def planned(plan: Plan) -> list[str]:
    """For the head of a plan: empty roles, hosts that nobody speaks to, fenced ones and who goes on without."""
    return [
        *(f"! {role}  no host has this role: its steps are left out" for role in empty(plan)),
        *(f"! {host}  is not connected to: no step that acts on it runs" for host in plan.unasked),
        *(f"! {f.host}  fenced, {_words(f)}; {_without(plan, f)}" for f in plan.fenced),
    ]


def empty(plan: Plan) -> list[str]:
    """Roles that nobody has; they may be empty, or there were no plan."""
    return [role for role, hosts in plan.whole_roles.items() if not hosts]


def _words(fencing: Fencing) -> str:
    meaning = METHODS.get(fencing.method, fencing.method)
    return f"{safe(meaning)} ({safe(fencing.reason)}; {safe(fencing.by)})"


def _without(plan: Plan, fencing: Fencing) -> str:
    steps = sum(fencing.host in step.fenced for step in plan.steps)
    return f"{count(steps, 'step')} {'goes' if steps == 1 else 'go'} on without it"


def to_readmit(story: Story) -> list[str]:
    """For the end of a run and its state: each host that is still to be brought back."""
    lines = [
        f"! {event.host} is fenced since {clock(when)} UTC ({safe(event.words)}): to be readmitted"
        for when, event in story.absent
    ]
    lines += [f"  next  {NEXT}"] if lines else []
    return [*lines, *came_back(story)]


def came_back(story: Story) -> list[str]:
    """Each host that a later run brought back."""
    return [
        f"✔ {event.host} was fenced and is back: readmitted by {story.readmitted[event.host]}"
        for _, event in story.fenced
        if event.host in story.readmitted
    ]


def unreached(story: Story) -> list[str]:
    """For the end of a run and its reports: each step, and the hosts that it was not done on."""
    found: dict[str, list[str]] = {}
    for unit in story.plan.units:
        record = story.state.units[unit.id]
        if record.unreached and record.outcome is Outcome.SKIPPED:
            found.setdefault(unit.step, []).extend(unit.hosts)
    return [
        f"! {step} was not done on {', '.join(hosts)} ({len(hosts)} of "
        f"{len(story.plan.step_of[StepId(step)].hosts)}): not reached, as tolerated; do it there by hand"
        for step, hosts in found.items()
    ]


def rows(story: Story) -> list[list[str]]:
    """For the reports: host, method, evidence, by whom, since when."""
    return [
        [e.host, METHODS.get(e.method, e.method), e.reason, e.by, clock(when)]
        for when, e in story.absent
    ]


HEADS = ("host", "how", "evidence", "by", "since (UTC)")


def as_json(plan: Plan) -> list[Json]:
    """What a plan's document says of them."""
    return [
        {"host": f.host, "method": f.method, "reason": f.reason, "by": f.by} for f in plan.fenced
    ]
