"""`drrun apply`: run a sealed plan, if all that it rests on is still so."""

from __future__ import annotations

import dataclasses
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from drrun.app import App
from drrun.cli.consent import consent, staged
from drrun.cli.driving import drive
from drrun.cli.options import Admission, InventoryPath, Look
from drrun.cli.prompt import TerminalPrompt
from drrun.cli.run import masked
from drrun.cli.terminal import terminal
from drrun.cli.window import admitted, windowed
from drrun.cli.wiring import engine
from drrun.errors import Refused, UsageError
from drrun.execute.decide import Finish
from drrun.execute.sealed import Sealed
from drrun.report import drift, dry, region, reviewing
from drrun.sealing import review
from drrun.store.approvals import counted
from drrun.store.plan_file import read_plan


def apply(
    plan: Path,
    /,
    *,
    runbook: str = "",
    inventory: InventoryPath = None,
    dry_run: Annotated[bool, Parameter(name=["--dry-run", "-n"])] = False,
    stage: bool = False,
    approvals: int = 0,
    signers: Path | None = None,
    forks: int = 16,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"])] = False,
    confirm: str = "",
    no_input: Annotated[bool, Parameter(name="--no-input")] = False,
    admission: Admission = Admission(),  # noqa: B008 - frozen
    look: Look = Look(),  # noqa: B008 - frozen
) -> int:
    """Run a sealed plan: the hosts are asked again, and what moved refuses it or is told.

    Args:
        plan: The file that `drrun RUNBOOK --dry-run --out FILE` sealed. It is applied once.
        runbook: Where the runbook lies here, when it is not where it was sealed.
        inventory: Where the inventory lies here, when it is not where it was sealed.
        dry_run: Only compare: say whether the plan would be applied, change nothing.
        stage: Only the steps up to the first safe point: proves a restore beside the live data.
            The run rests there; `drrun resume` goes on.
        approvals: By how many people it must have been approved (`drrun plan approve`); with --signers.
        signers: Whose key is whose: a file as ALLOWED SIGNERS of ssh-keygen(1) describes it.
        forks: How many units may run at once.
        yes: Agree to what the plan destroys.
        confirm: Agree, by the inventory's name: refused when it is another one.
        no_input: Never ask; what needs a person waits (exit 6).
        admission: What must be so before it is begun.
        look: How it is shown.
    """
    screen = terminal(look)
    prompt = TerminalPrompt(allowed=not no_input)
    app = engine(prompt)
    app.forks = forks
    sealed = _approved(plan, read_plan(plan), approvals, signers)
    _first(app, plan, sealed)
    found = review(app, sealed, runbook=runbook, inventory=inventory)
    agreed = windowed(app, found.plan, admission)
    told = [*reviewing.head(sealed, datetime.now(UTC)), *drift.moved_lines(found.comparison.moved)]
    told += region.planned(agreed)
    record = reviewing.comparison_document(sealed, found.comparison)
    if dry_run:
        if screen.json:
            screen.give({**dry.document(found.forecast), **record})
        else:
            screen.say("\n".join([*told, dry.screen(found.forecast, verbose=screen.verbose > 0)]))
        return 0
    if not screen.json:
        screen.warn("\n".join(told))
    only = staged(agreed, stage=stage)
    if not stage:
        admitted(agreed, screen, app.clock.now())
    consent(agreed, prompt, screen, yes=yes, confirm=confirm, only=only)
    words = masked(sys.argv[1:], agreed)

    def act() -> Finish:
        if screen.json:
            screen.give(record)
        return app.start(agreed, words, sealed, only)

    return drive(app, screen, agreed, act)


def _first(app: App, path: Path, sealed: Sealed) -> None:
    """Raise Refused where the plan was applied before."""
    if app.store.folder(sealed.run).exists():
        raise Refused(
            f"{path} was applied already: it is the run {sealed.run}",
            hint=f"`drrun status {sealed.run}` shows it; to do it again, seal a new plan",
        )


def _approved(path: Path, sealed: Sealed, needed: int, signers: Path | None) -> Sealed:
    """The plan with those who approved it, proved. Raises Refused where they are too few, UsageError."""
    if signers is None:
        if needed:
            raise UsageError(
                "--approvals goes with --signers: whose key is whose, this has to be told"
            )
        return sealed
    found = counted(path, sealed.digest, signers)
    if len(found.names) < needed:
        raise Refused(
            f"{path} was approved by {', '.join(found.names) or 'nobody'}, and {needed} must have"
            + "".join(f"\n  does not count: {other}" for other in found.others),
            hint=f"drrun plan approve {path} --key ~/.ssh/id_ed25519",
        )
    return dataclasses.replace(sealed, approved=found.names)
