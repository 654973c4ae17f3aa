"""The timeline of a run as inline SVG: a bar for each attempt of each unit. No script, no link."""

from __future__ import annotations

from datetime import datetime
from html import escape

from drrun.report.outage import away
from drrun.report.story import Attempt, Story
from drrun.report.words import clock, fold
from drrun.values import Outcome, span

WIDTH, LABEL, ROW, BAR = 960, 260, 20, 12
_COLORS = {
    Outcome.ALREADY: "#8fb8a0",
    Outcome.CHANGED: "#2e8b57",
    Outcome.SKIPPED: "#b9bec4",
    Outcome.FAILED: "#c0392b",
    Outcome.REFUSED: "#c0392b",
    Outcome.UNKNOWN: "#d98e04",
    Outcome.UNDONE: "#5b7db1",
    None: "#3b82c4",
}
LIMIT = 400
"""Rows; a run with more units is told in the tables."""


def timeline(story: Story) -> str:
    """The drawing, or the empty text when nothing was started."""
    rows = _rows(story)
    if not rows or story.began is None or story.ended is None:
        return ""
    scale = _Scale(story.began, max(story.seconds, 0.001))
    height = (len(rows) + 1) * ROW + 8
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
            f'aria-label="timeline" font-family="sans-serif" font-size="11">'
        )
    ]
    for one in away(story):
        x, w = scale.x(one.since), scale.width(one.since, one.until)
        parts.append(
            f'<rect x="{x:.1f}" y="0" width="{w:.1f}" height="{len(rows) * ROW}" fill="#c0392b" '
            f'opacity="0.06"><title>{escape(one.host)} {escape(one.fact)}</title></rect>'
        )
    for number, (label, attempts) in enumerate(rows):
        y = number * ROW
        parts.append(f'<text x="4" y="{y + 14}">{escape(label)}</text>')
        parts += [scale.bar(attempt, y, story.ended) for attempt in attempts]
    parts.append(_axis(story, scale, len(rows) * ROW))
    parts.append("</svg>")
    return "\n".join(parts)


def _rows(story: Story) -> list[tuple[str, list[Attempt]]]:
    found = []
    for phase in story.phases:
        for unit, _ in phase.units:
            mine = [attempt for attempt in phase.attempts if attempt.unit == unit.id]
            if mine:
                where = fold(unit.hosts)
                found.append((f"{phase.number} {phase.step.id} {where}"[:42], mine))
    return found[:LIMIT]


class _Scale:
    def __init__(self, began: datetime, seconds: float) -> None:
        self.began = began
        self.per = (WIDTH - LABEL - 8) / seconds

    def x(self, when: datetime) -> float:
        return LABEL + (when - self.began).total_seconds() * self.per

    def width(self, since: datetime, until: datetime) -> float:
        return max(1.5, (until - since).total_seconds() * self.per)

    def bar(self, attempt: Attempt, y: int, now: datetime) -> str:
        until = attempt.ended or now
        took = span((until - attempt.began).total_seconds())
        word = attempt.outcome or "not ended"
        way = "undo, " if attempt.undo else ""
        title = f"{attempt.unit}: {way}attempt {attempt.number}, {word}, {took}"
        return (
            f'<rect x="{self.x(attempt.began):.1f}" y="{y + (ROW - BAR) // 2}" '
            f'width="{self.width(attempt.began, until):.1f}" height="{BAR}" rx="2" '
            f'fill="{_COLORS[attempt.outcome]}"><title>{escape(title)}</title></rect>'
        )


def _axis(story: Story, scale: _Scale, y: int) -> str:
    assert story.began is not None
    assert story.ended is not None
    end = scale.x(story.ended)
    return (
        f'<line x1="{LABEL}" y1="{y + 2}" x2="{end:.1f}" y2="{y + 2}" stroke="#999"/>'
        f'<text x="{LABEL}" y="{y + 16}">{clock(story.began)}</text>'
        f'<text x="{end:.1f}" y="{y + 16}" text-anchor="end">'
        f"{clock(story.ended)} (+{span(story.seconds)})</text>"
    )
