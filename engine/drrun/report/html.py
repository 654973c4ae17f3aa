"""A run as one HTML page: self-contained, no script, no outside link. Pure.

Rule 1: everything that comes from elsewhere goes through `escape`; a report is evidence, and is
opened in a browser by people who trust it.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from drrun import __version__
from drrun.journal.outputs import Outputs
from drrun.report import absent
from drrun.report import markdown as md
from drrun.report.outage import away, goals
from drrun.report.region import overrun
from drrun.report.story import Made, Story
from drrun.report.svg import timeline
from drrun.report.text import cuts, state, status_line, totals, troubles
from drrun.report.words import clock, safe, shown
from drrun.values import span

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #8884;
         vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
code, pre { font: .85rem/1.45 ui-monospace, monospace; overflow-wrap: anywhere; }
pre { background: #8881; padding: .8rem; overflow-x: auto; white-space: pre-wrap; }
svg { width: 100%; height: auto; background: #fff; color: #222; border: 1px solid #8884; }
.good { color: #2e8b57; } .bad { color: #c0392b; } .open { color: #b97800; }
footer { margin: 3rem 0; font-size: .85rem; opacity: .8; overflow-wrap: anywhere; }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_CLASSES = {"done": "good", "undone": "open", "waiting": "open", "detached": "open"}


def page(story: Story, outputs: Outputs) -> str:
    """The page."""
    kind = _CLASSES.get(story.status, "bad")
    if kind == "good" and story.absent:
        kind = "open"
    title = f"{story.plan.name} {story.status} {story.plan.run}"
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_e(title)}</title><style>{_STYLE}</style></head><body>",
        f'<h1 class="{kind}">{_e(status_line(story))}</h1>',
        f"<p>{_e(story.plan.title)}. {_e(totals(story))}.</p>",
        _table([], md.facts(story)),
        *_objectives(story),
        *_absent(story),
        *_trouble(story, outputs),
        "<h2>Phases</h2>",
        _table(["#", "step", "on", "outcome", "seconds"], md.phase_rows(story), numbers={4}),
        "<h2>Timeline</h2>",
        timeline(story) or "<p>Nothing was started.</p>",
        *_away(story),
        "<h2>Changes</h2>",
        _changes(story),
        *_cuts(story),
        *_words(story),
        *_verdicts(story),
        _footer(story),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _e(text: str) -> str:
    return escape(safe(text), quote=True)


def _table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    numbers: frozenset[int] | set[int] = frozenset(),
) -> str:
    if not rows:
        return "<p>None.</p>"
    lines = ["<table>"]
    if heads:
        lines.append(f"<tr>{''.join(f'<th>{_e(head)}</th>' for head in heads)}</tr>")
    for row in rows:
        cells = (
            f"<td{' class=number' if i in numbers else ''}>{_e(cell)}</td>"
            for i, cell in enumerate(row)
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return "\n".join([*lines, "</table>"])


def _objectives(story: Story) -> list[str]:
    items = []
    for goal in goals(story):
        kind = {True: "good", False: "bad", None: "open"}[goal.met]
        items.append(f'<li class="{kind}">{_e(md.goal_words(goal.words, goal.met))}</li>')
    return ["<h2>Objectives</h2>", f"<ul>{''.join(items)}</ul>"] if items else []


def _absent(story: Story) -> list[str]:
    alerts = (*absent.unreached(story), *overrun(story))
    left = "".join(f'<li class="open">{_e(line[2:])}</li>' for line in alerts)
    told = ["<h2>Alerts</h2>", f"<ul>{left}</ul>"] if left else []
    told += [f'<p class="good">{_e(line)}</p>' for line in absent.came_back(story)]
    if not story.absent:
        return told
    table = _table(absent.HEADS, absent.rows(story))
    said = f'<p class="open">{_e(absent.NEXT)}.</p>'
    return [*told, "<h2>To be readmitted</h2>", table, said]


def _trouble(story: Story, outputs: Outputs) -> list[str]:
    wrong = troubles(story, outputs)
    if not wrong:
        return []
    words = "\n".join([*wrong, f"state {state(story)}"])
    return ["<h2>What went wrong</h2>", f"<pre>{_e(words)}</pre>"]


def _away(story: Story) -> list[str]:
    rows = [
        [one.host, one.fact, shown(one.was), clock(one.since), clock(one.until), span(one.seconds)]
        for one in away(story)
    ]
    heads = ["host", "fact", "left", "since (UTC)", "until", "for"]
    return ["<h2>Away: what left its value and came back</h2>", _table(heads, rows)] if rows else []


def _changes(story: Story) -> str:
    if not story.changes:
        return "<p>None.</p>"
    heads = ["sent (UTC)", "host", "change", "command", "rc", "seconds", "before → after"]
    rows = [f"<tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>"]
    rows += [_change(story, made) for made in story.changes]
    return "\n".join(["<table>", *rows, "</table>"])


def _change(story: Story, made: Made) -> str:
    sent, host, name, _, code, seconds, _ = md.change_row(story, made)
    kind = "open" if made.code is None else "good" if made.code == 0 else "bad"
    facts = "<br>".join(_e(one) for one in md.differences(made))
    lost = f"<br>lost: {_e(made.lost)}" if made.lost else ""
    return (
        f"<tr><td>{sent}</td><td>{_e(host)}</td><td>{_e(name)}</td>"
        f"<td><code>{_e(made.intent.preview)}</code>{lost}</td>"
        f'<td class="{kind}">{code}</td><td class=number>{seconds}</td><td>{facts}</td></tr>'
    )


def _cuts(story: Story) -> list[str]:
    rows = [list(pair) for pair in cuts(story)]
    return ["<h2>Output that was cut</h2>", _table(["change", "kept"], rows)] if rows else []


def _words(story: Story) -> list[str]:
    notes = [[clock(when), noted.unit, noted.text] for when, noted in story.notes]
    figures = [[clock(w), m.unit, m.name, f"{m.value:g}"] for w, m in story.measures]
    parts = ["<h2>Notes</h2>", _table(["at (UTC)", "unit", "note"], notes)] if notes else []
    if figures:
        heads = ["at (UTC)", "unit", "figure", "value"]
        parts += ["<h2>Measures</h2>", _table(heads, figures, numbers={3})]
    return parts


def _verdicts(story: Story) -> list[str]:
    rows = [[clock(w), r.unit, r.host, r.verdict, r.by, r.why] for w, r in story.resolved]
    heads = ["at (UTC)", "unit", "host", "verdict", "by", "why"]
    return ["<h2>Verdicts on lost results</h2>", _table(heads, rows)] if rows else []


def _footer(story: Story) -> str:
    return (
        f"<footer>{story.records} records, chain head <code>{story.head}</code>.<br>"
        f"Written by drrun {__version__} from the plan and the journal alone.</footer>"
    )
