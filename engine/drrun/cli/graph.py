"""`drrun graph`: the order of a runbook's steps."""

from __future__ import annotations

from typing import Literal

from drrun.cli.options import Look
from drrun.cli.prompt import TerminalPrompt
from drrun.cli.terminal import terminal
from drrun.cli.wiring import engine
from drrun.report import drawing

Format = Literal["tree", "mermaid", "dot"]


def graph(
    runbook: str,
    /,
    *,
    format: Format = "tree",  # noqa: A002 - the option's name
    look: Look = Look(),  # noqa: B008 - frozen
) -> int:
    """Draw the order of a runbook's steps. Hosts are not asked.

    Args:
        runbook: A file, else the name of a stock runbook.
        format: tree (text, in waves), mermaid or dot.
        look: How it is shown.
    """
    screen = terminal(look)
    app = engine(TerminalPrompt(allowed=False))
    loaded = app.load(runbook)
    plan = app.lint(loaded).plan
    where = {step.id: step.hosts for step in loaded.runbook.steps}
    if screen.json:
        screen.give(drawing.document(plan, where))
        return 0
    draw = {"tree": drawing.tree, "mermaid": drawing.mermaid, "dot": drawing.dot}[format]
    screen.say(draw(plan, where))
    return 0
