"""A run as JSON: a summary, and the whole record."""

from __future__ import annotations

from datetime import datetime

from drrun import __version__
from drrun.report.outage import away, changing, goals, outage
from drrun.report.story import Attempt, Made, Phase, Story
from drrun.values import Json

FORMAT = 1


def summary(story: Story) -> dict[str, Json]:
    """Where a run stands."""
    return {
        "type": "run",
        "format": FORMAT,
        "run": story.plan.run,
        "name": story.plan.name,
        "runbook": story.plan.runbook,
        "inventory": story.plan.inventory_name,
        "status": story.status,
        "live": story.live,
        "exit_code": story.finished.exit_code if story.finished is not None else None,
        "why": story.finished.why if story.finished is not None else "",
        "began": stamp(story.began),
        "last_event": stamp(story.ended),
        "seconds": round(story.seconds, 3),
        "steps": [_phase(phase) for phase in story.phases],
    }


def whole(story: Story) -> dict[str, Json]:
    """Everything that the other formats tell."""
    started = story.started
    return {
        **summary(story),
        "drrun": __version__,
        "operator": started.operator if started is not None else "",
        "controller": started.controller if started is not None else "",
        "argv": list(started.argv) if started is not None else [],
        **({"approved": list(started.approved)} if started and started.approved else {}),
        "plan_digest": story.plan.digest,
        "runbook_digest": story.plan.runbook_digest,
        "chain_head": story.head,
        "records": story.records,
        "clock_jumps": [
            {"record": jump.seq, "seconds": round(jump.seconds, 3)} for jump in story.jumps
        ],
        "point_of_no_return": story.state.no_return,
        "tiers": {str(host): tier for host, tier in story.tiers.items()},
        "outage_seconds": outage(story),
        "outage_changing_seconds": changing(story),
        "away": [
            {
                "host": one.host,
                "fact": one.fact,
                "value": one.was,
                "since": stamp(one.since),
                "until": stamp(one.until),
                "seconds": round(one.seconds, 3),
            }
            for one in away(story)
        ],
        "objectives": [
            {"name": g.name, "goal": g.goal, "got": g.got, "met": g.met, "basis": g.basis}
            for g in goals(story)
        ],
        "attempts": [_attempt(attempt) for attempt in story.attempts],
        "changes": [_made(made) for made in story.changes],
        **_said(story),
    }


def _said(story: Story) -> dict[str, Json]:
    """What steps noted and measured, who drove the run, and who ruled on what was lost."""
    return {
        "notes": [
            {"utc": stamp(when), "unit": noted.unit, "text": noted.text}
            for when, noted in story.notes
        ],
        "measures": [
            {"utc": stamp(when), "unit": m.unit, "name": m.name, "value": m.value}
            for when, m in story.measures
        ],
        "controllers": [
            {
                "utc": stamp(when),
                "epoch": one.epoch,
                "operator": one.operator,
                "controller": one.controller,
            }
            for when, one in story.attached
        ],
        "fenced": [
            {
                "utc": stamp(when),
                "host": one.host,
                "method": one.method,
                "reason": one.reason,
                "by": one.by,
            }
            for when, one in story.fenced
        ],
        "readmitted": {str(host): run for host, run in story.readmitted.items()},
        "verdicts": [
            {
                "utc": stamp(when),
                "unit": r.unit,
                "host": r.host,
                "verdict": r.verdict,
                "by": r.by,
                "why": r.why,
            }
            for when, r in story.resolved
        ],
    }


def stamp(moment: datetime | None) -> str | None:
    """A time as JSON has it."""
    if moment is None:
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _phase(phase: Phase) -> dict[str, Json]:
    return {
        "number": phase.number,
        "step": phase.step.id,
        "uses": phase.step.uses,
        "effect": phase.step.effect,
        "hosts": list(phase.step.hosts),
        "outcome": phase.outcome,
        "began": stamp(phase.began),
        "ended": stamp(phase.ended),
        "seconds": None if phase.seconds is None else round(phase.seconds, 3),
        "units": [
            {
                "unit": unit.id,
                "hosts": list(unit.hosts),
                "status": record.status,
                "outcome": record.outcome,
                "attempts": record.attempt,
                "why": record.why,
                "hint": record.hint,
                "outputs": dict(record.outputs),
            }
            for unit, record in phase.units
        ],
    }


def _attempt(attempt: Attempt) -> dict[str, Json]:
    return {
        "unit": attempt.unit,
        "attempt": attempt.number,
        "undo": attempt.undo,
        "began": stamp(attempt.began),
        "ended": stamp(attempt.ended),
        "outcome": attempt.outcome,
        "why": attempt.why,
    }


def _made(made: Made) -> dict[str, Json]:
    intent = made.intent
    return {
        "unit": intent.unit,
        "attempt": intent.attempt,
        "undo": intent.undo,
        "host": intent.host,
        "name": intent.name,
        "command": intent.preview,
        "token": intent.token,
        "sent": stamp(made.began),
        "ended": stamp(made.ended),
        "code": made.code,
        "seconds": made.seconds,
        "lost": made.lost,
        "before": dict(intent.before),
        "after": dict(made.after),
        "stdout": made.finished.stdout if made.finished is not None else None,
        "stderr": made.finished.stderr if made.finished is not None else None,
        "stdout_size": made.finished.out_size if made.finished is not None else None,
        "stderr_size": made.finished.err_size if made.finished is not None else None,
        "stdout_cut": made.finished.out_cut if made.finished is not None else None,
        "stderr_cut": made.finished.err_cut if made.finished is not None else None,
    }
