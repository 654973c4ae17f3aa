"""`drrun schema`: the JSON Schemas, for editors."""

from __future__ import annotations

import json
from typing import Literal

from drrun.cli.options import Look
from drrun.cli.prompt import TerminalPrompt
from drrun.cli.terminal import terminal
from drrun.cli.wiring import engine
from drrun.model.schema import inventory_schema, runbook_schema


def schema(what: Literal["runbook", "inventory"], /, *, look: Look = Look()) -> int:  # noqa: B008
    """Print the JSON Schema of runbooks (with every installed step type) or of inventories.

    Args:
        what: runbook or inventory.
        look: How it is shown.
    """
    screen = terminal(look)
    if what == "inventory":
        found = inventory_schema()
    else:
        registry = engine(TerminalPrompt(allowed=False)).registry
        specs = [registry.step(name) for name in registry.steps()]
        found = runbook_schema(spec for spec in specs if spec is not None)
    screen.say(json.dumps(found, indent=2, ensure_ascii=False))
    return 0
