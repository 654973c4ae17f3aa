"""A run as Markdown: for tickets, reviews and repositories."""

from __future__ import annotations

from collections.abc import Sequence

from drrun.journal.outputs import Outputs
from drrun.report import absent
from drrun.report.outage import away, goals
from drrun.report.region import overrun
from drrun.report.story import Made, Story
from drrun.report.text import cuts, state, status_line, totals, troubles, turned
from drrun.report.words import clock, fold, one_line, shown
from drrun.values import span


def page(story: Story, outputs: Outputs) -> str:
    """The page."""
    parts = [
        f"# {_cell(status_line(story))}",
        f"{_cell(story.plan.title)}. {_cell(totals(story))}.",
        table(["", ""], facts(story)),
        "## Phases",
        table(["#", "step", "on", "outcome", "seconds"], phase_rows(story)),
    ]
    if goals(story):
        parts += [
            "## Objectives",
            "\n".join(f"- {goal_words(g.words, g.met)}" for g in goals(story)),
        ]
    if story.absent:
        parts += ["## To be readmitted", table(absent.HEADS, absent.rows(story)), absent.NEXT + "."]
    if back := absent.came_back(story):
        parts += ["\n".join(f"- {_cell(line)}" for line in back)]
    if left := [*absent.unreached(story), *overrun(story)]:
        parts += ["## Alerts", "\n".join(f"- {_cell(line[2:])}" for line in left)]
    if wrong := troubles(story, outputs):
        words = "\n".join([*wrong, f"state {state(story)}"])
        parts += ["## What went wrong", f"```\n{words.replace('```', '` ` `')}\n```"]
    if away(story):
        rows = [
            [
                one.host,
                one.fact,
                shown(one.was),
                clock(one.since),
                clock(one.until),
                span(one.seconds),
            ]
            for one in away(story)
        ]
        parts += ["## Away", table(["host", "fact", "left", "since", "until", "for"], rows)]
    heads = ["sent", "host", "change", "command", "rc", "seconds", "before → after"]
    parts += ["## Changes", table(heads, [change_row(story, m) for m in story.changes])]
    if cuts(story):
        items = [f"- {_cell(which)}: {_cell(where)}" for which, where in cuts(story)]
        parts += ["## Output that was cut", "\n".join(items)]
    if story.notes:
        parts += ["## Notes", "\n".join(f"- {n.unit}: {_cell(n.text)}" for _, n in story.notes)]
    if story.measures:
        figures = [f"- {m.unit}: {m.name} = {m.value:g}" for _, m in story.measures]
        parts += ["## Measures", "\n".join(figures)]
    parts.append(f"Chain head `{story.head}` after {story.records} records.")
    return "\n\n".join(parts) + "\n"


def facts(story: Story) -> list[list[str]]:
    """What identifies the run."""
    plan, started = story.plan, story.started
    return [
        ["run", plan.run],
        ["runbook", f"{plan.runbook} @{plan.runbook_digest[:12]}"],
        ["inventory", plan.inventory_name],
        ["began", story.began.strftime("%Y-%m-%d %H:%M:%S UTC") if story.began else ""],
        ["operator", f"{started.operator}@{started.controller}" if started is not None else ""],
        *([["approved by", ", ".join(started.approved)]] if started and started.approved else []),
        ["drrun", started.version if started is not None else ""],
        ["plan", plan.digest],
        ["controllers", str(len(story.attached))],
        *(["clock", words.strip(" !")] for words in turned(story)),
    ]


def phase_rows(story: Story) -> list[list[str]]:
    """The phases table's rows."""
    return [
        [
            str(phase.number),
            phase.step.id,
            fold(phase.step.hosts),
            phase.outcome,
            "" if phase.seconds is None else f"{phase.seconds:.1f}",
        ]
        for phase in story.phases
    ]


def change_row(story: Story, made: Made) -> list[str]:
    """One change's row."""
    intent = made.intent
    way = "undo " if intent.undo else ""
    return [
        clock(made.began),
        intent.host,
        f"{way}{story.plan.unit_of[intent.unit].step}.{intent.name}",
        one_line(intent.preview, 120),
        "not known" if made.code is None else str(made.code),
        "" if made.seconds is None else f"{made.seconds:.1f}",
        "; ".join(differences(made)),
    ]


def differences(made: Made) -> list[str]:
    """`service.state(service=etcd): running → stopped` for each fact that the change sets."""
    found = []
    for fact in dict.fromkeys([*made.intent.before, *made.after]):
        before = shown(made.intent.before[fact]) if fact in made.intent.before else "?"
        after = shown(made.after[fact]) if fact in made.after else "not read again"
        found.append(f"{fact}: {before} → {after}")
    return found


def goal_words(words: str, met: bool | None) -> str:  # noqa: FBT001 - three values, not a switch
    """An objective with its verdict."""
    verdict = {True: "met", False: "MISSED", None: "not judged"}[met]
    return f"{words}: {verdict}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, or the word `none`."""
    if not rows:
        return "none"
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return one_line(text, 400).replace("|", "\\|").replace("<", "&lt;")
