"""`drrun lint`: check runbooks and inventories, every mistake at once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from drrun.app import App
from drrun.cli.options import InventoryPath, Look
from drrun.cli.prompt import TerminalPrompt
from drrun.cli.terminal import terminal
from drrun.cli.wiring import engine
from drrun.errors import AuthorError
from drrun.lang.diagnostics import Diagnostic, render
from drrun.report.words import count

Format = Literal["text", "json", "github"]


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
        format: text, json, or github (annotations of a workflow).
        look: How it is shown.
    """
    screen = terminal(look)
    app = engine(TerminalPrompt(allowed=False))
    found: list[Diagnostic] = []
    for word in files:
        found += _checked(app, word, inventory)
    shown = format or ("json" if screen.json else "text")
    if shown == "json":
        screen.give({"type": "lint", "format": 1, "diagnostics": [d.json() for d in found]})
    elif shown == "github":
        for diagnostic in found:
            screen.say(annotation(diagnostic))
    elif found:
        screen.say(render(found))
    if shown == "text":
        mistakes = count(len(found), "mistake") if found else "no mistakes"
        screen.tell(f"{'✘' if found else '✔'} {count(len(files), 'file')}, {mistakes}")
    return AuthorError.exit_code if found else 0


def _checked(app: App, word: str, inventory: Path | None) -> Iterable[Diagnostic]:
    from drrun.lang.inventory import load_inventory

    try:
        if is_inventory(Path(word)):
            load_inventory(Path(word))
            return ()
        on = load_inventory(inventory) if inventory is not None else None
        app.lint(app.load(word), on)
    except AuthorError as error:
        found = [d for d in error.diagnostics if isinstance(d, Diagnostic)]
        return found or [Diagnostic(word, 1, 1, 1, "author", error.message, error.hint)]
    return ()


def is_inventory(path: Path) -> bool:
    """Whether a file says that it is an inventory of ours."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    return any(line.startswith("drrun_inventory") for line in lines)


def annotation(diagnostic: Diagnostic) -> str:
    """One mistake as a command of a GitHub workflow."""
    place = (
        f"file={_property(diagnostic.path)},line={diagnostic.line},"
        f"col={diagnostic.column},endColumn={diagnostic.end_column},"
        f"title={_property(diagnostic.code)}"
    )
    hint = f" ({diagnostic.hint})" if diagnostic.hint else ""
    return f"::error {place}::{_data(diagnostic.message + hint)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
