"""What whole runs of `make truth` saw: the figures that the page is made of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

SEEN = Path(__file__).with_name("seen.json")
GENERATED = "(generated)"
"""The name under which the generated runbooks stand."""

Figures = Mapping[str, int]


def seen() -> dict[str, dict[str, int]]:
    """Runbook -> its figures."""
    found: dict[str, dict[str, int]] = json.loads(SEEN.read_text()) if SEEN.exists() else {}
    return found


def keep(name: str, figures: Figures) -> None:
    """Keep the figures of one runbook."""
    known = {**seen(), name: dict(figures)}
    SEEN.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")
