"""`drrun lint`: check runbooks and inventories, every mistake at once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from drrun import __version__
from drrun.app import App
from drrun.cli.options import InventoryPath, Look
from drrun.cli.prompt import TerminalPrompt
from drrun.cli.terminal import Terminal, terminal
from drrun.cli.wiring import engine
from drrun.errors import AuthorError
from drrun.lang.diagnostics import Diagnostic, render
from drrun.report.findings import annotation, sarif
from drrun.report.words import count
from drrun.values import Effect

Format = Literal["text", "json", "github", "sarif"]


def lint(
    files: list[str],
    /,
    *,
    inventory: InventoryPath = None,
    format: Format | None = None,  # noqa: A002 - the option's name
    look: Look = Look(),  # noqa: B008 - frozen
) -> int:
    """Check runbooks and inventories. Hosts are not asked. Exit 3 when there is a mistake.

    Args:
        files: Runbooks (files, or stock names) and inventories.
        inventory: Prove the runbooks on this inventory; on any one when left out.
        format: text, json, github (annotations of a workflow), or sarif (2.1.0).
        look: How it is shown.
    """
    screen = terminal(look)
    app = engine(TerminalPrompt(allowed=False))
    found = [diagnostic for word in files for diagnostic in _checked(app, word, inventory)]
    mistakes = [diagnostic for diagnostic in found if diagnostic.severity == "error"]
    match format or ("json" if screen.json else "text"):
        case "json":
            screen.give({"type": "lint", "format": 1, "diagnostics": [d.json() for d in found]})
        case "sarif":
            screen.give(sarif(found, __version__))
        case "github":
            for diagnostic in found:
                screen.say(annotation(diagnostic))
        case _:
            _show(screen, files, found, mistakes)
            if len(files) == 1 and not mistakes and (more := _unforeseen(app, files[0])):
                screen.tell(more)
    return AuthorError.exit_code if mistakes else 0


def _show(
    screen: Terminal, files: list[str], found: list[Diagnostic], mistakes: list[Diagnostic]
) -> None:
    if found:
        screen.say(render(found))
    told = count(len(mistakes), "mistake") if mistakes else "no mistakes"
    if len(found) > len(mistakes):
        told += f", {count(len(found) - len(mistakes), 'warning')}"
    screen.tell(f"{'✘' if mistakes else '✔'} {count(len(files), 'file')}, {told}")


def _unforeseen(app: App, word: str) -> str:
    """Which steps say what they wait for, to be asked before the first stop, and which say nothing; or nothing."""
    if is_inventory(Path(word)):
        return ""
    steps = [step for step in app.lint(app.load(word)).plan.steps if step.effect is not Effect.READ]
    asks = [step.id for step in steps if (spec := app.registry.step(step.uses)) and spec.asks]
    if not asks:
        return ""
    silent = [step.id for step in steps if step.id not in asks]
    more = f"; these change something and ask nothing: {', '.join(silent)}" if silent else ""
    return f"  {word}: asked before the first stop: what {', '.join(asks)} wait for{more}"


def _checked(app: App, word: str, inventory: Path | None) -> Iterable[Diagnostic]:
    from drrun.lang.inventory import load_inventory

    try:
        if is_inventory(Path(word)):
            load_inventory(Path(word))
            return ()
        on = load_inventory(inventory) if inventory is not None else None
        return app.lint(app.load(word), on).warnings
    except AuthorError as error:
        found = [d for d in error.diagnostics if isinstance(d, Diagnostic)]
        return found or [Diagnostic(word, 1, 1, 1, "author", error.message, error.hint)]


def is_inventory(path: Path) -> bool:
    """Whether a file says that it is an inventory of ours."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    return any(line.startswith("drrun_inventory") for line in lines)
