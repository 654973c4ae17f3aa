"""The names of the stock runbooks, without the weight of the engine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_PACKAGED = Path(__file__).parents[1] / "_runbooks"
_CHECKOUT = Path(__file__).parents[3] / "runbooks"


def stock_names() -> Sequence[str]:
    """Sorted names, as in `drrun NAME`."""
    folder = _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT
    return sorted(path.stem for path in folder.glob("*.yaml"))
