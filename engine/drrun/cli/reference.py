"""Writes the generated pages of docs/reference: `python -m drrun.cli.reference [FOLDER]`."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from drrun import __version__
from drrun.cli import verbs
from drrun.cli.parser import build
from drrun.lang.load import load_runbook
from drrun.places import stock_runbooks
from drrun.registry import Registry
from drrun.report import reference

FOLDER = Path(__file__).parents[3] / "docs" / "reference"
_NOTHING = re.compile(r' \*\[default: (False|0|"")\]\*')


@cache
def pages() -> Mapping[str, str]:
    """File name -> what it must hold."""
    registry = Registry()
    steps = [spec for spec in map(registry.step, registry.steps()) if spec is not None]
    stock = [load_runbook(path).runbook for path in sorted(stock_runbooks().glob("*.yaml"))]
    facts = [spec for spec in map(registry.fact, registry.facts()) if spec is not None]
    return {
        "cli.md": cli_page(),
        "runbook.md": reference.runbook_page(),
        "stock-runbooks.md": reference.stock_page(stock),
        "steps.md": reference.steps_page(steps, facts),
        "events.md": reference.events_page(),
    }


def cli_page() -> str:
    """Every verb with its options."""
    own = build(verbs.VERBS.values()).generate_docs(flatten_commands=True)
    body = own[own.index("# drrun run\n") :]
    body = re.sub(r" -m \S+", "", body)  # a nested app writes how this very program was started
    body = _NOTHING.sub("", re.sub(r"^#+ ", "## ", body, flags=re.MULTILINE))
    head = [reference.NOTE, "", "# Command line", "", "```", verbs.summary(__version__), "```", ""]
    return "\n".join(head) + "\n" + body.rstrip() + "\n"


def main() -> None:
    """Write the pages."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")
        print(folder / name)


if __name__ == "__main__":
    main()
