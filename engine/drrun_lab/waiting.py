"""Waiting for a condition: polled, with a deadline, and with words for what is awaited.

Rule 1: nothing in the lab sleeps instead of looking.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from drrun.errors import LabError


def until(
    condition: Callable[[], object],
    *,
    timeout: float,
    awaiting: str,
    every: float = 0.1,
    evidence: Callable[[], str] | None = None,
) -> None:
    """Return when `condition` is true.

    Raises LabError when it is not within `timeout` seconds; the message says what was awaited and
    repeats what `evidence` found (such as the last lines of a journal).
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() >= deadline:
            found = f"\n{evidence()}" if evidence else ""
            raise LabError(f"waited {timeout:g} s in vain for {awaiting}{found}")
        time.sleep(every)  # noqa: TID251 - the lab's one place that looks, then pauses
