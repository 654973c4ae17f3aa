"""The verbs: their names, where each lives, and one line for people. Imports nothing heavy.

Rule 1: `drrun --help` is printed from this table alone; no verb's module is imported for it.
Rule 2: other packages add verbs by an entry point in the group `drrun.verbs`, name -> `module:app`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

GROUP = "drrun.verbs"


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb. `target` is `module:function`, imported when the verb is used."""

    name: str
    target: str
    summary: str
    section: str


_TABLE = (
    (
        "Recover",
        (
            ("run", "Run a runbook, or say what a run would do (--dry-run)."),
            ("apply", "Run a sealed plan, if all that it rests on is still so."),
            ("resume", "Go on with a run that was interrupted, failed or waits."),
            ("takeover", "Go on with a run whose controller is lost; hosts refuse the old one."),
            ("abort", "Undo a run, last step first."),
            ("resolve", "Say what became of a change whose result was lost."),
            ("readmit", "Bring a fenced host back: its data aside, joined anew, started, proved."),
            ("gc", "Forget runs that are over: what they left on hosts."),
        ),
    ),
    (
        "Look",
        (
            ("runs", "List the runs, the newest first."),
            ("status", "Show where a run stands."),
            ("watch", "Follow a run that another drrun drives, read-only."),
            ("logs", "Print what the commands of a run printed."),
            ("report", "Report a run: text, md, json, html or junit."),
        ),
    ),
    (
        "Write",
        (
            ("lint", "Check runbooks and inventories; every mistake at once."),
            ("plan", "Show a sealed plan: what was reviewed, and what it rests on."),
            ("explain", "Explain one step of a runbook: why, where, what, undo."),
            ("graph", "Draw the order of a runbook's steps."),
            ("steps", "List the step types and facts, or document one."),
            ("schema", "Print the JSON Schema of runbooks or inventories."),
            ("inventory", "Show an inventory as drrun reads it."),
            ("init", "Begin a folder with a small runbook and an inventory."),
            ("doctor", "Look at what drrun needs here, and whether hosts answer."),
        ),
    ),
)

VERBS: Mapping[str, Verb] = {
    name: Verb(name, f"drrun.cli.{'report_verb' if name == 'report' else name}:{name}", line, head)
    for head, verbs in _TABLE
    for name, line in verbs
}


def added() -> Mapping[str, Verb]:
    """The verbs that other packages bring. None of them is imported."""
    from importlib.metadata import entry_points

    return {
        point.name: Verb(
            point.name, point.value, f"From {point.module.partition('.')[0]}.", "Added"
        )
        for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)
        if point.name not in VERBS
    }


def overview(version: str) -> str:
    """The text of `drrun --help`, with the verbs that other packages bring."""
    return summary(version, added().values())


def summary(version: str, more: Iterable[Verb] = ()) -> str:
    """The same, with these verbs beside drrun's own."""
    lines = [
        f"drrun {version}: disaster-recovery runbooks that say what they will do, do it once,",
        "and prove it.",
        "",
        "Usage: drrun RUNBOOK [-i INVENTORY] [-e KEY=VALUE]... [--dry-run] [OPTIONS]",
        "       drrun VERB [OPTIONS]",
        "",
        "RUNBOOK is a file, else the name of a stock runbook. Begin with --dry-run: it asks the",
        "hosts, changes nothing, and says change for change what a run will do.",
    ]
    section = ""
    for verb in (*VERBS.values(), *more):
        if verb.section != section:
            section = verb.section
            lines += ["", f"{section}:"]
        lines.append(f"  {verb.name:<11}{verb.summary}")
    lines += [
        "",
        "Options: --help of each verb has them; --version.",
        "Exit: 0 done, 1 step failed, 2 usage, 3 invalid file, 4 unreachable, 5 refused,",
        "      6 waiting for a person, 7 objective missed, 8 undone, 9 undo failed, 10 journal or",
        "      disk, 70 a bug, 130/143 signalled.",
    ]
    return "\n".join(lines)
