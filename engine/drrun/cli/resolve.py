"""`drrun resolve`: a person's verdict on a change whose result was lost."""

from __future__ import annotations

from drrun.cli.options import Look
from drrun.cli.prompt import TerminalPrompt
from drrun.cli.terminal import terminal
from drrun.cli.wiring import engine
from drrun.errors import UsageError


def resolve(
    run: str,
    step: str,
    host: str,
    /,
    *,
    reason: str,
    succeeded: bool = False,
    failed: bool = False,
    rerun: bool = False,
    look: Look = Look(),  # noqa: B008 - frozen
) -> int:
    """Say what became of a change whose result was lost, after a look at the host.

    Args:
        run: The run, or the beginning of its id.
        step: The step's id.
        host: The host of the lost change.
        reason: What was seen; journaled with the verdict.
        succeeded: It was done.
        failed: It was not done.
        rerun: Do it again.
        look: How it is shown.
    """
    screen = terminal(look)
    said = {"succeeded": succeeded, "failed": failed, "rerun": rerun}
    verdicts = [word for word, given in said.items() if given]
    if len(verdicts) != 1:
        raise UsageError(
            "say one of --succeeded, --failed and --rerun", hint="look at the host first"
        )
    app = engine(TerminalPrompt(allowed=False))
    found = app.store.find(run)
    app.resolve(found.run, step, host, verdicts[0], reason)
    if screen.json:
        screen.give({"type": "resolved", "run": found.run, "verdict": verdicts[0]})
    else:
        screen.say(f"✔ {step} on {host}: {verdicts[0]}\n  next  drrun resume {found.run}")
    return 0
