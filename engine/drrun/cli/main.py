"""The console script: the fast answers, the parser, and the one place where errors end.

Rule 1: `drrun --help` and `--version` import neither the parser nor the engine (≤ 150 ms).
Rule 2: every error becomes a message, a next move and an exit code of design §9 in `ending`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from drrun import __version__
from drrun.cli import verbs

if TYPE_CHECKING:
    from drrun.cli.wiring import Make


def main() -> NoReturn:
    """Run the command line of this process."""
    raise SystemExit(run(sys.argv[1:]))


def run(words: Sequence[str], make: Make | None = None) -> int:
    """Run one command line and return its exit code. `make` wires the engine; tests give theirs."""
    _three_streams()
    if not words or words[0] in {"--help", "-h", "help"}:
        print(verbs.overview(__version__))
        return 0 if words else 2
    if words[0] in {"--version", "-V"}:
        print(f"drrun {__version__}")
        return 0
    from drrun.cli.ending import guarded
    from drrun.cli.parser import parse_and_call
    from drrun.cli.wiring import wired_by

    with wired_by(make):
        return guarded(lambda: parse_and_call(words))


def _three_streams() -> None:
    """Make sure that descriptors 0 to 2 are open.

    Were one closed (`2>&-`, some cron), the next file that is opened would take its place: a journal
    that gets what is meant for people.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, name, open(number, "w" if number else "r", encoding="utf-8"))  # noqa: PTH123, SIM115 - a stream for the life of the process
