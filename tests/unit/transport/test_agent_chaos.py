"""Random SIGKILLs in every shell: nothing twice, no success that was none.

A dozen kills a shell here; `make test-chaos` has two hundred. DRRUN_CHAOS_KILLS and DRRUN_CHAOS_SEED set both.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.conftest import SHELLS

from .chaos import chaos

KILLS = int(os.environ.get("DRRUN_CHAOS_KILLS", "12"))
SEED = int(os.environ.get("DRRUN_CHAOS_SEED", "0")) or random.randrange(1, 10**6)


@pytest.mark.timeout(1200)
def test_random_kills_never_double_and_never_lie(
    tmp_path: Path, shell: tuple[str, ...], record_property: Callable[[str, object], None]
) -> None:
    """Whoever is killed, whenever: at most one effect, exit 0 only with it, none after a no."""
    name = next(known for known, argv in SHELLS.items() if argv == shell)
    tally = chaos(tmp_path / "base", name, shell, KILLS, SEED)
    record_property("measured", f"{tally} (seed {SEED})")
    assert tally.kills >= KILLS
    assert tally.wrong == [], f"seed {SEED}"
