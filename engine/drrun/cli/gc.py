"""`drrun gc`: forget runs that are over, on their hosts and, if asked, here."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from drrun.app import App
from drrun.cli.driving import story_of
from drrun.cli.options import Look
from drrun.cli.prompt import TerminalPrompt
from drrun.cli.terminal import Terminal, terminal
from drrun.cli.wiring import engine
from drrun.errors import ConnectError, DrrunError, Refused, UsageError
from drrun.model.inventory import Target
from drrun.ports import Leftover, LeftoverState, Line, Question, Transport
from drrun.report.story import Story
from drrun.report.words import columns, count, safe
from drrun.values import HostName, Json, RunId, seconds

OVER = frozenset({"done", "undone"})
"""How a run ended that nobody can go on with."""
AGE = "30d"
"""How long runs are kept that are not named."""
GOES = frozenset({LeftoverState.FOUND, LeftoverState.LOCKED})
"""What a host may say that leaves something to remove: a lock that is left over is given back."""
GONE = frozenset({LeftoverState.ABSENT, LeftoverState.SWEPT})
"""What a host may say that leaves nothing behind."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one run left on one host, or other versions did (`strays`), or why nobody knows."""

    host: HostName
    run: RunId | None = None
    leftover: Leftover | None = None
    strays: tuple[str, ...] = ()
    trouble: str = ""

    @property
    def goes(self) -> bool:
        """Whether there is something that can be removed."""
        return bool(self.strays) or (self.leftover is not None and self.leftover.state in GOES)

    @property
    def failed(self) -> bool:
        """Whether something stays that should go."""
        known = {*GOES, *GONE}
        return bool(self.trouble) or (
            self.leftover is not None and self.leftover.state not in known
        )

    @property
    def words(self) -> str:
        """The same for people; empty when there is nothing to say."""
        left = self.leftover
        if self.trouble:
            return self.trouble
        if left is None:
            return f"of other versions: {' '.join(self.strays)}" if self.strays else ""
        match left.state:
            case LeftoverState.ABSENT:
                return ""
            case LeftoverState.FOUND | LeftoverState.SWEPT:
                return f"{count(left.jobs, 'job')}, {left.kib} KiB"
            case LeftoverState.LOCKED:
                return "its jobs, and the host's lock that it left behind"
            case _:
                return f"stays: {left.why}"


def gc(
    runs: list[str] | None = None,
    /,
    *,
    older_than: str = "",
    journals: bool = False,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"])] = False,
    no_input: Annotated[bool, Parameter(name="--no-input")] = False,
    look: Look = Look(),  # noqa: B008 - frozen
) -> int:
    """Forget runs that are over: what they left on hosts, and with --journals their folders here.

    A host keeps of every change its claim, its exit and the head of the journal that announced it: so that
    nothing runs twice, and so that an auditor can compare. This removes them. First it only looks, and
    lists; then it asks, or with neither --yes nor a terminal leaves all as it is.

    Args:
        runs: Runs, or the beginnings of their ids; every run that is old enough when left out.
        older_than: Only runs that ended so long ago; 30d, when no run is named.
        journals: Also remove the runs' folders here, journal and report with them.
        yes: Do not ask.
        no_input: Never ask.
        look: How it is shown.
    """
    screen = terminal(look)
    app = engine(TerminalPrompt(allowed=not no_input))
    try:
        age = seconds(older_than or ("0s" if runs else AGE))
    except ValueError as error:
        raise UsageError(f"--older-than: {error}") from error
    with ExitStack() as held:
        stories = [_held(app, held, story) for story in _chosen(app, screen, runs or [], age)]
        found = _each_host(app, stories, dry=True)
        going = [row for row in found if row.goes]
        _show(screen, found, [] if not journals else [story.plan.run for story in stories])
        if not (going or (journals and stories)):
            screen.tell("there is nothing to remove")
            return _code(screen, found, removed=False)
        if not _agreed(app, screen, yes=yes):
            return _code(screen, found, removed=False)
        done = _each_host(app, stories, dry=False)
        if journals:
            _forget(app, screen, stories, done)
        return _code(screen, done, removed=True)


def _chosen(app: App, screen: Terminal, runs: Sequence[str], age: float) -> Iterator[Story]:
    """The runs that are meant. Raises Refused when a named one is not over."""
    for word in dict.fromkeys(runs or app.store.runs()):
        try:
            found = app.store.find(word)
        except DrrunError as error:
            if runs:
                raise
            screen.warn(f"✘ {word}: {error.message}")  # one damaged run does not hide the others
            continue
        story = story_of(found)
        over = story.finished is not None and story.finished.status in OVER and not story.live
        if runs and not over:
            raise Refused(
                f"{found.run} is not over: {'a controller drives it' if story.live else story.status}",
                hint=f"go on with `drrun resume {found.run}`, or undo it: `drrun abort {found.run} --undo`",
            )
        ended = story.ended.timestamp() if story.ended is not None else 0.0
        if over and time.time() - ended >= age:
            yield story


def _held(app: App, held: ExitStack, story: Story) -> Story:
    """Hold the run while it is forgotten: nobody takes it up meanwhile."""
    _, journal = app.store.open(story.plan.run)
    held.callback(journal.close)
    return story


@contextmanager
def _transport(app: App) -> Iterator[Transport]:
    if app.transport is not None:
        yield app.transport
        return
    from drrun.transport.routes import Transports

    made = Transports()
    try:
        yield made
    finally:
        made.close()


def _each_host(app: App, stories: Sequence[Story], *, dry: bool) -> list[Row]:
    """Ask every host of every run, one connection each."""
    hosts: dict[str, tuple[Target, list[Story]]] = {}
    for story in stories:
        for name in story.plan.changed_hosts:
            target = story.plan.targets[name]
            hosts.setdefault(target.model_dump_json(), (target, []))[1].append(story)
    with _transport(app) as transport, ThreadPoolExecutor(8) as pool:

        def ask(host: tuple[Target, list[Story]]) -> list[Row]:
            return list(_host(transport, *host, dry=dry))

        return [row for rows in pool.map(ask, hosts.values()) for row in rows]


def _host(
    transport: Transport, target: Target, stories: Iterable[Story], *, dry: bool
) -> Iterator[Row]:
    name = target.name
    try:
        line = transport.connect(target)
    except ConnectError as error:
        yield Row(name, trouble=error.message)
        return
    try:
        for story in stories:
            yield Row(name, story.plan.run, _left(line, story, dry=dry))
        yield Row(name, strays=line.strays(dry=dry))
    except DrrunError as error:
        yield Row(name, trouble=error.message)
    finally:
        line.close()


def _left(line: Line, story: Story, *, dry: bool) -> Leftover:
    """What is there, or was. A lock that the run left when the host was away is given back first."""
    run, epoch = story.plan.run, story.state.epoch
    left = line.sweep(run, epoch, dry=dry)
    if left.state is LeftoverState.LOCKED and not dry:
        line.release(run, epoch)
        left = line.sweep(run, epoch, dry=dry)
    return left


def _show(screen: Terminal, rows: Sequence[Row], folders: Sequence[RunId]) -> None:
    if screen.json:
        return
    told = [["run", "host", "what"]]
    told += [[row.run or "", row.host, safe(row.words)] for row in rows if row.words]
    told += [[run, "here", "its folder: plan, journal, output, report"] for run in folders]
    if len(told) > 1:
        screen.say("\n".join(columns(told, indent="")))


def _agreed(app: App, screen: Terminal, *, yes: bool) -> bool:
    if yes:
        return True
    if not app.prompt.present:
        screen.tell("nothing was removed; --yes removes what is listed")
        return False
    question = Question(
        "Remove this? What hosts forget cannot be compared with a journal any more."
    )
    return app.prompt.ask(question) == "yes"


def _forget(app: App, screen: Terminal, stories: Sequence[Story], rows: Sequence[Row]) -> None:
    """Remove the folders of runs of which no host holds anything: the plan says which hosts to ask."""
    unsure = {row.host for row in rows if row.trouble}
    kept = {row.run for row in rows if row.leftover and row.leftover.state not in GONE}
    for story in stories:
        run = story.plan.run
        if run in kept or unsure & set(story.plan.changed_hosts):
            screen.warn(f"! {run} is kept here: a host still holds something of it")
        else:
            app.store.forget(run)


def _code(screen: Terminal, rows: Sequence[Row], *, removed: bool) -> int:
    """What was done, and the exit code: 1 when something stays that should go, 4 unreachable."""
    troubled = [row for row in rows if row.failed]
    code = 0 if not troubled else 1 if removed or not all(r.trouble for r in troubled) else 4
    if screen.json:
        given: list[Mapping[str, Json]] = [_json(row) for row in rows]
        screen.give(
            {"type": "gc", "format": 1, "removed": removed, "exit_code": code, "rows": given}
        )
        return code
    for row in troubled:
        if removed:
            screen.warn(f"✘ {row.host}: {row.run or ''} {safe(row.words)}")
    if removed:
        swept = [row.leftover for row in rows if row.leftover is not None]
        jobs = sum(left.jobs for left in swept if left.state is LeftoverState.SWEPT)
        screen.tell(f"{'✘' if troubled else '✔'} forgot {count(jobs, 'job')}")
    return code


def _json(row: Row) -> dict[str, Json]:
    left = row.leftover
    return {
        "run": row.run,
        "host": row.host,
        "state": str(left.state)
        if left is not None
        else "unreachable"
        if row.trouble
        else "strays",
        "jobs": left.jobs if left is not None else 0,
        "kib": left.kib if left is not None else 0,
        "strays": list(row.strays),
        "why": row.trouble or (left.why if left is not None else ""),
    }
