"""What moved, in words: findings that refuse, things that may move, steps that were changed. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence

from drrun.execute.checkpoint import Drift, HostDrift
from drrun.execute.compare import Finding, Moved
from drrun.plan.diff import Difference, StepDrift, differences
from drrun.report.words import count, fold, one_line, safe
from drrun.values import Json, StepId, canonical

MOST = 6
"""Details of one thing that are shown."""
WIDTH = 60


def finding_lines(finding: Finding) -> list[str]:
    """One thing that refuses, and how it moved."""
    return [f"  ✘ {finding.kind}: {one_line(finding.text, 400)}", *_details(finding.details)]


def finding_text(finding: Finding) -> str:
    """The same on one line, for programs."""
    shown = [one_line(_short(d), 200) for d in finding.details[:MOST]]
    return ": ".join([f"{finding.kind}: {finding.text}", *(["; ".join(shown)] if shown else [])])


def moved_lines(moved: Sequence[Moved]) -> list[str]:
    """What moved and may: each on a line of its own."""
    if not moved:
        return ["moved  nothing that was read when this was sealed"]
    lines = [
        f"moved  {count(len(moved), 'thing')} since this was sealed; the plan holds all the same"
    ]
    for one in moved:
        shown = "; ".join(_short(d) for d in one.details[:MOST])
        rest = len(one.details) - MOST
        more = f"; and {rest} more" if rest > 0 else ""
        lines.append(f"  ~ {one_line(one.text, 200)}{': ' if shown else ''}{shown}{more}")
    return lines


def drift_lines(drift: Drift) -> list[str]:
    """What moved under a run since its checkpoint, before it is resumed."""
    if not drift.any:
        return [f"drift  none: the runbook, the inventory and {_facts(drift)} are as they were"]
    marks = [
        f"{'!' if bad else '✔'} {word}"
        for word, bad in (
            ("runbook", drift.edited or drift.runbook),
            ("inventory", drift.inventory),
            ("step types", drift.code),
            (_facts(drift), drift.hosts),
        )
    ]
    lines = [f"drift  {' · '.join(marks)}"]
    if drift.runbook:
        lines.append(f"  ! runbook: {one_line(drift.runbook, 300)}")
    elif drift.edited:
        lines += _edited(drift)
    lines += [
        f"  ! inventory: {one_line(text, 300)}; the run goes by its plan"
        for text in drift.inventory
    ]
    lines += [f"  ! {one_line(text, 300)}" for text in drift.code]
    lines += [f"  {line}" for line in map(_host_line, _weighed(drift.hosts))]
    return lines


def _facts(drift: Drift) -> str:
    return count(drift.asked, "fact") + " of the hosts"


def _edited(drift: Drift) -> list[str]:
    changed = (*drift.finished, *drift.ahead)
    if not changed:
        return ["  ~ runbook: it was edited; its steps are the same"]
    head = "  ! runbook: it was edited; this run goes by the plan that it began with"
    return [head, *difference_lines(step_details(changed)[:MOST])]


def _weighed(drifts: Sequence[HostDrift]) -> list[HostDrift]:
    """What the run itself had brought about first, then what names a thing, then the rest."""
    return sorted(
        drifts, key=lambda d: (not d.unreached, d.known.step is None, not d.identity, d.known.host)
    )


def _host_line(drift: HostDrift) -> str:
    known = drift.known
    where = f"{known.host}: {one_line(known.fact.key, 100)}"
    if drift.unreached:
        return f"! {known.host} cannot be asked: {one_line(drift.why, 200)}"
    if drift.why:
        return f"! {where} cannot be read any more: {one_line(drift.why, 200)}"
    if known.step is not None:
        was, now = _word(known.answer), _word(drift.now)
        return f"! {where} was {was} when {known.step} was done, and is {now} now"
    shown = "; ".join(_short(d) for d in list(differences(known.answer, drift.now))[:MOST])
    return f"{'!' if drift.identity else '~'} {where}: {shown}"


def drift_document(drift: Drift) -> dict[str, Json]:
    """The same for programs."""
    return {
        "type": "drift",
        "run": drift.plan.run,
        "runbook": {
            "edited": drift.edited,
            "cannot_compare": drift.runbook,
            "finished_steps": [d.step for d in drift.finished],
            "other_steps": [d.step for d in drift.ahead],
        },
        "inventory": list(drift.inventory),
        "code": list(drift.code),
        "facts_asked": drift.asked,
        "hosts": [
            {
                "host": d.known.host,
                "fact": d.known.fact.key,
                "was": d.known.answer,
                "now": d.now,
                "why": d.why,
                "set_by": d.known.step,
            }
            for d in drift.hosts
        ],
    }


def step_details(drifts: Sequence[StepDrift]) -> tuple[Difference, ...]:
    """What changed in which step, the same on many hosts told once: `wipe on h[1-3]: with.to`."""
    found: dict[tuple[StepId, str, str], tuple[Difference, list[str]]] = {}
    for drift in drifts:
        for d in drift.differences or (Difference("", drift.what, ""),):
            unit, _, field = d.at.removeprefix("units.").partition(".")
            if not d.at.startswith("units."):
                unit, field = "", d.at
            field = re.sub(r"^(params|open)\b", "with", field)
            _, hosts = found.setdefault(
                (drift.step, field, f"{d.was!r} {d.now!r}"),
                (Difference(field, d.was, d.now), []),
            )
            hosts += [unit.rpartition("@")[2]] if "@" in unit else []
    return tuple(
        Difference(_step_at(step, d.at, hosts), d.was, d.now)
        for (step, _, _), (d, hosts) in found.items()
    )


def _step_at(step: str, field: str, hosts: Sequence[str]) -> str:
    on = f" on {fold(hosts)}" if hosts else ""
    return f"step {step}{on}{f', {field}' if field else ''}"


def difference_lines(details: Sequence[Difference], indent: str = "      ") -> list[str]:
    """Differences, a line each; texts of many lines as a diff."""
    return [f"{indent}{line}" for d in details for line in _difference(d)]


def _details(details: Sequence[Difference]) -> list[str]:
    lines = difference_lines(details[:MOST])
    if len(details) > MOST:
        lines.append(f"      and {len(details) - MOST} more")
    return lines


def _difference(d: Difference) -> Iterator[str]:
    if isinstance(d.was, str) and isinstance(d.now, str) and "\n" in d.was + d.now:
        yield f"{d.at}:"
        found = difflib.unified_diff(d.was.splitlines(), d.now.splitlines(), n=1, lineterm="")
        yield from (f"  {safe(line)}" for line in list(found)[2:])
    else:
        yield _short(d)


def _short(d: Difference) -> str:
    at = f"{safe(d.at)}: " if d.at else ""
    if isinstance(d.was, Sequence) and isinstance(d.now, Sequence):
        added, gone = _members(d.was, d.now)
        if added or gone:
            words = [f"+{_word(x)}" for x in added] + [f"-{_word(x)}" for x in gone]
            return at + " ".join(words)
    if d.now == "":
        return at + _word(d.was)
    return f"{at}{_word(d.was)} → {_word(d.now)}"


def _members(was: Sequence[object], now: Sequence[object]) -> tuple[list[object], list[object]]:
    """What a list gained and lost; texts are no lists."""
    if isinstance(was, str) or isinstance(now, str):
        return [], []
    return [x for x in now if x not in was], [x for x in was if x not in now]


def _word(value: object) -> str:
    if isinstance(value, str):
        return one_line(value, WIDTH) or "nothing"
    if isinstance(value, Mapping | list | tuple | bool | int | float) or value is None:
        return one_line(canonical(value).decode(), WIDTH)
    return repr(value)
