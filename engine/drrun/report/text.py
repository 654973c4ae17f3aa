"""Screens about a run: how it ended, why it failed and what to do next, where it stands. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from drrun.journal.outputs import STREAMS, Outputs, count_lines, tail
from drrun.journal.state import Status, UnitRecord
from drrun.report.absent import to_readmit, unreached
from drrun.report.outage import changing, goals, outage
from drrun.report.promise import Promise
from drrun.report.region import overrun
from drrun.report.story import Made, Phase, Story, status_word
from drrun.report.words import clock, columns, count, cut, fold, one_line, safe
from drrun.values import Effect, UnitId, span

BAD = (Status.FAILED, Status.REFUSED, Status.UNKNOWN, Status.UNDO_FAILED)
_STATUS_MARK = {
    "done": "✔",
    "undone": "✔",
    "resting": "✔",
    "waiting": "?",
    "detached": "?",
    "interrupted": "?",
    "running": "▶",
    "undoing": "▶",
}
TAIL = 3
"""Lines of a command's complaint that the failure screen shows."""


def status_line(story: Story) -> str:
    """`✔ restore-cluster done in 2m19s · r2026… · prod-eu`."""
    mark = _STATUS_MARK.get(story.status, "✘")
    word = story.status
    if any(phase.left(unit.id) for phase in story.phases for unit, _ in phase.units):
        mark, word = "!", f"{word}, but not all of it"
    if story.status == "done" and story.absent:
        gone = fold(event.host for _, event in story.absent)
        mark, word = "!", f"{word}, but for {gone}"
    took = f" in {span(story.seconds)}" if story.finished is not None else ""
    names = story.started.approved if story.started is not None else ()
    by = f" · approved by {safe(', '.join(names))}" if names else ""
    return f"{mark} {story.plan.name} {word}{took} · {story.plan.run} · {story.plan.inventory_name}{by}"


def phases(story: Story) -> list[str]:
    """The phases table: step, hosts, outcome, seconds."""
    rows = [["#", "step", "on", "outcome", "seconds"]]
    rows += [
        [
            str(phase.number),
            phase.step.id,
            fold(phase.step.hosts),
            phase.outcome,
            "" if phase.seconds is None else f"{phase.seconds:.1f}",
        ]
        for phase in story.phases
    ]
    lines = columns(rows, indent="")
    return [
        f"  {lines[0]}",
        *(f"{_mark(p)} {x}" for p, x in zip(story.phases, lines[1:], strict=True)),
    ]


def _mark(phase: Phase) -> str:
    statuses = {record.status for _, record in phase.units}
    for bad in BAD:
        if bad in statuses:
            return "?" if bad is Status.UNKNOWN else "✘"
    if any(phase.left(unit.id) for unit, _ in phase.units):
        return "!"
    if statuses <= {Status.DONE, Status.UNDONE}:
        return "✔"
    return "▶" if statuses & {Status.RUNNING, Status.UNDOING} else " "


def end(story: Story, *, report: str = "", promised: Promise | None = None) -> str:
    """The screen at the end of a run; `promised`, when it was applied from a sealed plan."""
    lines = [status_line(story), "", *phases(story), ""]
    lines += [f"  note {unit}: {one_line(text)}" for unit, text in _notes(story)]
    lines += [*_cuts(story), f"  {totals(story)}", *turned(story)]
    lines += [f"  {line}" for line in (*to_readmit(story), *unreached(story), *overrun(story))]
    for goal in goals(story):
        mark = {True: "✔", False: "✘", None: "?"}[goal.met]
        lines.append(f"  {mark} {goal.words}")
    if promised is not None:
        lines += [f"  {line}" for line in promised.lines]
    if report:
        lines.append(f"  report {report}")
    if story.status == "resting":
        if story.finished is not None and story.finished.exit_code:
            lines.append(f"  ! {safe(story.finished.why)}")
        lines += ["", *next_moves(story)]
    return "\n".join(lines)


def _notes(story: Story) -> list[tuple[str, str]]:
    return [(noted.unit, noted.text) for _, noted in story.notes]


def totals(story: Story) -> str:
    """`14 steps, 12 changes on 3 hosts, 2m19s in all, 41s away (12s of changes, 29s of proofs and waits)`."""
    made = [made for made in story.changes if not made.intent.undo]
    hosts = {made.intent.host for made in made}
    parts = [
        count(len(story.plan.steps), "step"),
        f"{count(len(made), 'change')} on {count(len(hosts), 'host')}" if made else "no change",
        f"{span(story.seconds)} in all",
    ]
    undone = sum(made.intent.undo for made in story.changes)
    if undone:
        parts.append(f"{count(undone, 'change')} to undo")
    out, busy = outage(story), changing(story)
    if out is not None and busy is not None:
        parts.append(
            f"{span(out)} from the first thing taken away to the last one back "
            f"({span(busy)} of changes, {span(out - busy)} of proofs and waits)"
        )
    if story.controller_changes:
        parts.append(f"taken up again {count(story.controller_changes, 'time')}")
    return ", ".join(parts)


def turned(story: Story) -> list[str]:
    """What must be said when the controller's clock was turned while the run went on."""
    if not story.jumps:
        return []
    by = ", ".join(f"{jump.seconds:+.1f} s before record {jump.seq}" for jump in story.jumps[:3])
    more = ", …" if len(story.jumps) > 3 else ""
    return [f"  ! the controller's clock was turned: {by}{more}; durations are not by that clock"]


# --- what went wrong ---------------------------------------------------------------------------


def failure(story: Story, outputs: Outputs, source: Sequence[str] = ()) -> str:
    """Which step, where, why, its last words, the state of the rest, and the next commands."""
    lines = troubles(story, outputs, source)
    return "\n".join([*lines, f"  state {state(story)}", *next_moves(story)])


def troubles(story: Story, outputs: Outputs, source: Sequence[str] = ()) -> list[str]:
    """Each unit that ended badly: why, where in the runbook, and the last words of its command."""
    lines: list[str] = []
    for phase in story.phases:
        for unit, record in phase.units:
            wrong = phase.went_wrong(unit.id)
            if record.status in BAD:
                word = status_word(record)
                why = record.why
            elif record.status is Status.UNDONE and wrong is not None:
                left = phase.left(unit.id)
                word = f"{wrong.outcome}, {'left as it is' if left else 'undone since'}"
                why = wrong.why
            else:
                continue
            mark = "?" if record.status is Status.UNKNOWN else "✘"
            lines.append(f"{mark} {phase.number} {unit.id} {word}: {safe(why)}")
            lines += _place(story, phase, source)
            lines += [f"  {line}" for line in unit_words(story, unit.id, outputs)]
            if record.status in BAD:
                lines += [f"  hint  {safe(hint)}" for hint in record.hint.splitlines()]
    return lines


def _place(story: Story, phase: Phase, source: Sequence[str]) -> list[str]:
    line = phase.step.line
    found = [f"  --> {safe(story.plan.runbook)}:{line}"]
    if 0 < line <= len(source):
        found.append(f"  {line} | {safe(source[line - 1])}")
    return found


def unit_words(story: Story, unit: str, outputs: Outputs) -> list[str]:
    """The last lines on stderr (else stdout) of the unit's last change that did not end well."""
    made = _last_bad(story, unit)
    if made is None:
        return []
    if made.code is None:
        why = f": {safe(made.lost)}" if made.lost else ""
        return [f"{made.intent.host} {made.intent.name}: its end is not known{why}"]
    where = f"{made.intent.host} {made.intent.name}"
    found = [f"{where} was cut: {words}"] if (words := _cut(made)) else []
    for stream in ("err", "out"):
        name = f"{made.intent.token}.{stream}"
        if last := tail(outputs, name)[-TAIL:]:
            head = f"{where} {STREAMS[stream]} ({len(last)} of {count_lines(outputs, name)}):"
            return [*found, head, *(f"  {one_line(line, 300)}" for line in last)]
    return found


def _cut(made: Made) -> str:
    return cut(made.finished) if made.finished is not None else ""


def _cuts(story: Story) -> list[str]:
    return [f"  ! cut  {which}: {where}" for which, where in cuts(story)]


def cuts(story: Story) -> list[tuple[str, str]]:
    """Each change whose output was not kept whole, and where it was cut."""
    return [
        (f"{made.intent.host} {_name(story, made)}", f"{words}; what came after was not kept")
        for made in story.changes
        if (words := _cut(made))
    ]


def _last_bad(story: Story, unit: str) -> Made | None:
    """The unit's last change, if that did not end well; what undid it does not count."""
    undoing = story.state.units[UnitId(unit)].status is Status.UNDO_FAILED
    mine = [m for m in story.changes if m.intent.unit == unit and m.intent.undo is undoing]
    return mine[-1] if mine and mine[-1].code != 0 else None


def state(story: Story) -> str:
    """`4 steps done; install: cp[1-2] changed, cp3 failed; 6 steps not started`."""
    whole: dict[str, int] = {}
    mixed: list[str] = []
    for phase in story.phases:
        words = {_status_word(phase, unit.id, record) for unit, record in phase.units}
        if len(words) == 1 and not words & {
            *map(str, BAD),
            "undo failed",
            "waiting",
            "left as it is",
        }:
            word = words.pop()
            whole[word] = whole.get(word, 0) + 1
        else:
            mixed.append(f"{phase.step.id}: {_by_status(phase)}")
    done = [f"{count(n, 'step')} {word}" for word, n in whole.items() if word != "not started"]
    left = [f"{count(n, 'step')} not started" for word, n in whole.items() if word == "not started"]
    return "; ".join([*done, *mixed, *left]) or "nothing was started"


def _status_word(phase: Phase, unit: UnitId, record: UnitRecord) -> str:
    return "left as it is" if phase.left(unit) else status_word(record)


def _by_status(phase: Phase) -> str:
    hosts: dict[str, list[str]] = {}
    for unit, record in phase.units:
        word = _status_word(phase, unit.id, record)
        hosts.setdefault(word, []).extend(unit.hosts)
    return ", ".join(f"{fold(names)} {word}" for word, names in hosts.items())


def next_moves(story: Story) -> list[str]:
    """The commands that make sense now, each with what it does."""
    run, status = story.plan.run, story.status
    if status == "done":
        return []
    rows = _verdicts(story)
    if status != "undone":
        again = "go on undoing" if story.state.phase == "undo" else "take up what is left"
        again = "go on from here: the outage begins" if status == "resting" else again
        rows.append((f"drrun resume {run}", again))
    if any(record.status in BAD and record.changes for p in story.phases for _, record in p.units):
        rows.append((f"drrun logs {run}", "all that the commands printed"))
    if _can_undo(story) and any(p.step.undoable for p in _changed(story)):
        rows.append((f"drrun abort {run} --undo", _undo_words(story)))
    rows.append((f"drrun report {run}", "the whole record"))
    return [
        f"  {'next ' if not i else '     '} {line.strip()}"
        for i, line in enumerate(columns(rows, indent=""))
    ]


def _verdicts(story: Story) -> list[tuple[str, str]]:
    """The command for each lost result that waits for a person."""
    return [
        (
            (
                f"drrun resolve {story.plan.run} {phase.step.id} {made.intent.host} "
                f"--succeeded|--failed|--rerun --reason WHY"
            ),
            "after a look at the host",
        )
        for phase in story.phases
        for unit, record in phase.units
        if record.status is Status.UNKNOWN
        for made in story.changes
        if made.intent.unit == unit.id and made.lost and made.verdict is None
    ]


def _can_undo(story: Story) -> bool:
    forward = any(not made.intent.undo for made in story.changes)
    return forward and story.state.no_return is None and story.state.phase == "forward"


def _changed(story: Story) -> list[Phase]:
    return [phase for phase in story.phases if any(record.changes for _, record in phase.units)]


def _undo_words(story: Story) -> str:
    changed = [phase.step for phase in _changed(story)]
    can = [step.id for step in reversed(changed) if step.undoable]
    cannot = [s.id for s in changed if not s.undoable and s.effect is not Effect.READ]
    return f"undo {', '.join(can)}" + (f"; {', '.join(cannot)} cannot be undone" if cannot else "")


def record(story: Story, outputs: Outputs, source: Sequence[str] = ()) -> list[str]:
    """What a text report adds to the status: troubles, changes, notes, figures, the chain."""
    wrong = troubles(story, outputs, source)
    lines = ["", *wrong] if wrong else []
    if story.changes:
        rows = [["sent", "host", "change", "rc", "seconds", "command"]]
        rows += [_change(story, made) for made in story.changes]
        lines += ["", *columns(rows)]
    lines += [f"  note {noted.unit}: {one_line(noted.text)}" for _, noted in story.notes]
    lines += [f"  measure {m.unit}: {m.name} = {m.value:g}" for _, m in story.measures]
    lines += turned(story)
    return [*lines, "", f"  {count(story.records, 'record')}, chain head {story.head}"]


def _change(story: Story, made: Made) -> list[str]:
    intent = made.intent
    return [
        clock(made.began),
        intent.host,
        _name(story, made),
        "?" if made.code is None else str(made.code),
        "" if made.seconds is None else f"{made.seconds:.1f}",
        one_line(intent.preview, 80),
    ]


def _name(story: Story, made: Made) -> str:
    way = "undo " if made.intent.undo else ""
    return f"{way}{story.plan.unit_of[made.intent.unit].step}.{made.intent.name}"


# --- where it stands ---------------------------------------------------------------------------


TIERS = {
    "scope": "jobs outlive the line, and the session that brought them",
    "session": "jobs outlive the line, but no host that ends what a session leaves",
}
"""What a host's tier means (ADR 17)."""


def tiers(story: Story) -> str:
    """What jobs outlive, host by host."""
    held = story.tiers.items()
    groups = ((fold(host for host, found in held if found == tier), tier) for tier in TIERS)
    return "\n".join(f"  on {hosts}  {TIERS[tier]}" for hosts, tier in groups if hosts)


def status(story: Story) -> str:
    """Where a run stands, live or not."""
    lines = [status_line(story), "", *phases(story), "", *_cuts(story), f"  {totals(story)}"]
    if story.finished is not None and story.finished.why:
        lines.append(f"  why   {safe(story.finished.why)}")
    if story.state.no_return is not None:
        lines.append(f"  ! past its point of no return: {story.state.no_return}")
    lines += [f"  {line}" for line in (*to_readmit(story), *unreached(story), *overrun(story))]
    if story.live:
        lines.append(f"  next  drrun watch {story.plan.run}")
    else:
        lines += next_moves(story)
    return "\n".join(lines)


def runs(stories: Sequence[Story]) -> str:
    """The list of runs."""
    rows = [["run", "runbook", "inventory", "status", "took", "began (UTC)"]]
    rows += [
        [
            story.plan.run,
            story.plan.name,
            story.plan.inventory_name,
            story.status,
            span(story.seconds),
            story.began.strftime("%Y-%m-%d %H:%M:%S") if story.began else "",
        ]
        for story in stories
    ]
    return "\n".join(columns(rows, indent=""))
