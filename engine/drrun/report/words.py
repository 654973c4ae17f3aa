"""Words that all screens and reports share: host names folded, text made safe, columns."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from datetime import datetime

from drrun.journal.events import ChangeFinished
from drrun.journal.outputs import UNSAFE
from drrun.journal.state import Status
from drrun.plan.plan import PlanStep
from drrun.values import Effect, Outcome

_NUMBERED = re.compile(r"(.*?)(\d+)(\D*)")
_UNSAFE = re.compile(f"[{''.join(map(chr, UNSAFE))}]")

MARKS = {
    Outcome.ALREADY: "✔",
    Outcome.CHANGED: "✔",
    Outcome.SKIPPED: "-",
    Outcome.FAILED: "✘",
    Outcome.UNKNOWN: "?",
    Outcome.REFUSED: "✘",
    Outcome.UNDONE: "✔",
}
"""An outcome -> the mark before it."""

STATUS_MARKS = {
    Status.PENDING: "-",
    Status.RUNNING: "▶",
    Status.DONE: "✔",
    Status.FAILED: "✘",
    Status.REFUSED: "✘",
    Status.UNKNOWN: "?",
    Status.UNDOING: "▶",
    Status.UNDONE: "✔",
    Status.UNDO_FAILED: "✘",
}
"""A status -> the mark before it."""


def fold(hosts: Iterable[str]) -> str:
    """`cp1 cp2 cp3 lb` as `cp[1-3] lb`: neighbours in the given order, widths kept."""
    groups: list[tuple[tuple[str, str, int] | None, list[str]]] = []
    for host in dict.fromkeys(hosts):
        match = _NUMBERED.fullmatch(host)
        shape = (match[1], match[3], _width(match[2])) if match else None
        if shape is not None and groups and groups[-1][0] == shape:
            groups[-1][1].append(host)
        else:
            groups.append((shape, [host]))
    return " ".join(
        members[0] if shape is None or len(members) == 1 else _range(shape, members)
        for shape, members in groups
    )


def _width(digits: str) -> int:
    """Numbers of one range have one width, when that is padded with zeros."""
    return len(digits) if digits.startswith("0") else 0


def _range(shape: tuple[str, str, int], members: Sequence[str]) -> str:
    head, tail, _ = shape
    digits = [host[len(head) : len(host) - len(tail) or None] for host in members]
    runs: list[list[str]] = []
    for digit in digits:
        if runs and int(digit) == int(runs[-1][-1]) + 1:
            runs[-1].append(digit)
        else:
            runs.append([digit])
    inside = ",".join(run[0] if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
    return f"{head}[{inside}]{tail}"


def safe(text: str) -> str:
    """Text from elsewhere, made safe for a terminal: nothing in it can move the cursor."""
    return _UNSAFE.sub("\N{REPLACEMENT CHARACTER}", text.replace("\t", " "))


def as_json(value: object, *, indent: int | None = None) -> str:
    """JSON that is safe to print: what could move a cursor is escaped, the rest stands as it is."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def one_line(text: str, width: int = 160) -> str:
    """The text on one safe line of at most `width`."""
    line = safe(" ".join(text.split()))
    return line if len(line) <= width else line[: width - 1] + "…"


def count(number: int, noun: str, plural: str = "") -> str:
    """`1 step`, `2 steps`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def columns(rows: Sequence[Sequence[str]], indent: str = "  ") -> list[str]:
    """Rows as aligned lines, without blanks at their ends."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    return [
        (indent + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]


def at(utc: str) -> datetime:
    """A record's time."""
    return datetime.fromisoformat(utc)


def clock(moment: datetime) -> str:
    """The time of day, in UTC."""
    return moment.strftime("%H:%M:%S")


def shown(value: object) -> str:
    """A fact's answer in a table: short, on one line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return one_line("none" if value is None else str(value), 60)


def cut(finished: ChangeFinished) -> str:
    """`stdout after 67108864 bytes`: where an output was cut; nothing when all of it is kept."""
    streams = (
        ("stdout", finished.out_cut, finished.out_size),
        ("stderr", finished.err_cut, finished.err_size),
    )
    return ", ".join(f"{name} after {size} bytes" for name, was_cut, size in streams if was_cut)


def outcome_word(step: PlanStep, outcome: Outcome | None) -> str:
    """An outcome in words: of a step that only reads, `already` would say nothing."""
    if step.effect is Effect.READ and outcome is Outcome.ALREADY:
        return "read"
    return str(outcome)
