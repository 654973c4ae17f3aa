"""`drrun RUNBOOK`: run a runbook, or say what a run would do."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from drrun.app import App
from drrun.cli.consent import consent, staged
from drrun.cli.detach import detached
from drrun.cli.driving import drive
from drrun.cli.options import Absent, Admission, InventoryPath, Look, answers, find_inventory
from drrun.cli.prompt import TerminalPrompt
from drrun.cli.terminal import Terminal, terminal
from drrun.cli.verbs import VERBS
from drrun.cli.window import admitted, windowed
from drrun.cli.wiring import engine
from drrun.errors import UsageError
from drrun.execute.dry import Forecast
from drrun.execute.sealed import Sealed
from drrun.places import operator
from drrun.plan.plan import Plan
from drrun.report import dry, reviewing
from drrun.report.words import safe
from drrun.sealing import asked, seal
from drrun.store.plan_file import write_plan


def run(
    runbook: str,
    /,
    *,
    inventory: InventoryPath = None,
    extra: Annotated[list[str] | None, Parameter(name=["--extra", "-e"])] = None,
    dry_run: Annotated[bool, Parameter(name=["--dry-run", "-n"])] = False,
    offline: bool = False,
    out: Path | None = None,
    limit: Annotated[list[str] | None, Parameter(name=["--limit", "-l"])] = None,
    stage: bool = False,
    from_: Annotated[str, Parameter(name="--from")] = "",
    forks: int = 16,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"])] = False,
    confirm: str = "",
    no_input: Annotated[bool, Parameter(name="--no-input")] = False,
    detach: bool = False,
    admission: Admission = Admission(),  # noqa: B008 - frozen
    absent: Absent = Absent(),  # noqa: B008 - frozen
    look: Look = Look(),  # noqa: B008 - frozen
) -> int:
    """Run a runbook, or say what a run would do (--dry-run).

    Args:
        runbook: A file, else the name of a stock runbook.
        inventory: The inventory; else $DRRUN_INVENTORY, else ./inventory.yaml.
        extra: KEY=VALUE: an input of the runbook, or role.ROLE=GROUP. Repeatable.
        dry_run: Ask the hosts, change nothing, say what a run would do.
        offline: With --dry-run: do not even ask the hosts.
        out: With --dry-run: seal the plan into this file, for `drrun apply`.
        limit: Only these hosts (an expression over hosts and groups). Repeatable.
        stage: Only the steps up to the first safe point: proves a restore beside the live data.
            The run rests there; `drrun resume` goes on.
        from_: Begin with this step. What the steps before it would have proved is not proved.
        forks: How many units may run at once.
        yes: Agree to what the runbook destroys.
        confirm: Agree, by the inventory's name: refused when it is another one.
        no_input: Never ask; what needs a person waits (exit 6).
        detach: Go on in the background once it is under way; `drrun watch` follows it.
        admission: What must be so before it is begun.
        absent: Hosts that the run goes without.
        look: How it is shown.
    """
    screen = terminal(look)
    prompt = TerminalPrompt(allowed=not no_input)
    app = engine(prompt)
    app.forks = forks
    _go_together(out, admission, dry=dry_run or offline, begin=from_, stage=stage, detach=detach)
    plan = _plan(app, runbook, inventory, extra, limit, begin=from_, absent=absent)
    plan = windowed(app, plan, admission)
    if dry_run or offline:
        forecast = app.forecast(plan, offline=offline)
        sealed: Sealed | None = None
        if out is not None and (offline or not forecast.refusals):
            given = answers(tuple(extra or ()))
            where = find_inventory(inventory)
            question = asked(plan, runbook, where, given, tuple(limit or ()))
            sealed = write_plan(seal(app, forecast, question), out)
        _predicted(screen, forecast, sealed, out)
        return forecast.exit_code
    _which(screen, plan, runbook)
    only = staged(plan, stage=stage)
    if not stage:
        admitted(plan, screen, app.clock.now())
    consent(plan, prompt, screen, yes=yes, confirm=confirm, only=only)
    words = masked(sys.argv[1:], plan)
    if detach:
        app.begin(plan, words)
        return detached(app.store, screen, plan.run, forks=forks, look=look)
    return drive(app, screen, plan, lambda: app.start(plan, words, only=only))


def _go_together(
    out: Path | None, admission: Admission, *, dry: bool, begin: str, stage: bool, detach: bool
) -> None:
    """Raise UsageError for options that contradict each other."""
    if out is not None and admission.window:
        raise UsageError(
            "--window does not go with --out: a sealed plan says what is done, not when",
            hint="the hour is asked when it is applied: drrun apply PLAN --window 22:00-02:00",
        )
    if out is not None and not dry:
        raise UsageError("--out goes with --dry-run: a plan is sealed, not run", hint="add -n")
    if out is not None and begin:
        raise UsageError(
            "--out does not go with --from: a sealed plan is a whole runbook",
            hint="leave --from out: what is done already finds nothing to do",
        )
    if stage and detach:
        raise UsageError(
            "--stage does not go with --detach: a run that rests is not in the background",
            hint="stage it here, then `drrun resume --detach`",
        )


def _predicted(
    screen: Terminal, forecast: Forecast, sealed: Sealed | None, out: Path | None
) -> None:
    """The dry-run's screen, and where its plan was sealed."""
    if screen.json:
        found = {} if sealed is None else {"sealed": reviewing.reference(sealed, str(out))}
        screen.give({**dry.document(forecast), **found})
        return
    screen.say(dry.screen(forecast, verbose=screen.verbose > 0))
    if sealed is not None:
        screen.say("\n".join(reviewing.footer(sealed, str(out))))
    elif out is not None:
        screen.warn(f"{out} was not written: a run would be refused")


def masked(words: Sequence[str], plan: Plan) -> list[str]:
    """The command line for the journal; the values of inputs are in the plan, not here.

    An input may be a secret: what stands after `KEY=` is never copied from the command line.
    """
    keys = [*plan.inputs, *(f"role.{role}" for role in plan.roles)]
    found = []
    for word in words:
        key = next((k for k in keys if f"{k}=" in word), "")
        found.append(word[: word.index(f"{key}=") + len(key) + 1] + "…" if key else word)
    return found


def _plan(
    app: App,
    runbook: str,
    inventory: InventoryPath,
    extra: list[str] | None,
    limit: list[str] | None,
    *,
    begin: str,
    absent: Absent,
) -> Plan:
    if runbook in VERBS and not Path(runbook).exists():
        raise UsageError(
            f"{runbook!r} is a verb, and comes before its options", hint=f"drrun {runbook} …"
        )
    loaded = app.load(runbook)
    given = answers(tuple(extra or ()))
    found, only = find_inventory(inventory), tuple(limit or ())
    fenced = absent.fencings(operator())
    return app.plan(loaded, found, given, limit=only, begin=begin, fenced=fenced)


def _which(screen: Terminal, plan: Plan, word: str) -> None:
    """Say which file a stock name meant."""
    if plan.runbook != word:
        screen.tell(f"the runbook {safe(word)} is {safe(plan.runbook)}")
