"""How long drrun takes to start: the median of ten, for `--help` and for linting the stock runbooks.

Goals: 150 ms and 500 ms on one idle core. Printed, never asserted: a busy machine is no bug.
Run it: `.venv/bin/python tests/bench/startup.py`.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
TIMES = 10


def seconds(words: Sequence[str]) -> float:
    """One start, from the outside."""
    began = time.perf_counter()
    subprocess.run(words, check=True, capture_output=True, cwd=ROOT)
    return time.perf_counter() - began


def main() -> None:
    """Print a line for each command: median, best, goal."""
    drrun = str(Path(sys.executable).parent / "drrun")
    runbooks = [str(path) for path in sorted((ROOT / "runbooks").glob("*.yaml"))]
    for name, words, goal in (
        ("drrun --help", [drrun, "--help"], 150),
        ("drrun lint runbooks/*.yaml", [drrun, "lint", *runbooks], 500),
    ):
        seconds(words)  # the first start compiles bytecode
        took = [1000 * seconds(words) for _ in range(TIMES)]
        median, best = statistics.median(took), min(took)
        print(f"{name:<28} median {median:4.0f} ms   best {best:4.0f} ms   goal {goal} ms")


if __name__ == "__main__":
    main()
