"""Where text goes: data to standard output, progress to standard error, colours where they help.

Rule 1: a reader that went away (a closed pipe, a lost terminal) costs text, never a run.
"""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TextIO

from drrun.cli.options import Color, Look
from drrun.report.words import as_json
from drrun.values import Json

_ASCII = {"✔": "ok", "✘": "x", "▶": ">", "·": "-", "…": "...", "─": "-", "│": "|", "⠿": "*"}
_PAINT = {"✔": "32", "✘": "1;31", "!": "1;31", "▶": "36", "?": "33", "~": "33", "error": "1;31"}


@dataclass(frozen=True, slots=True)
class Terminal:
    """The two streams of this process, and what they can show."""

    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)
    color: Color = "auto"
    output: str = "text"
    quiet: bool = False
    verbose: int = 0

    @property
    def json(self) -> bool:
        """Whether standard output carries JSON only."""
        return self.output == "json"

    @property
    def animated(self) -> bool:
        """Whether progress may be drawn in place."""
        return self.err.isatty() and os.environ.get("TERM", "dumb") != "dumb"

    def say(self, text: str) -> None:
        """Data: a line or more for standard output."""
        _write(self.out, self.painted(text, self.out))

    def tell(self, text: str) -> None:
        """Progress: for standard error, unless --quiet."""
        if not self.quiet:
            self.warn(text)

    def warn(self, text: str) -> None:
        """What must be said on standard error, --quiet or not."""
        _write(self.err, self.painted(text, self.err))

    def give(self, document: Mapping[str, Json]) -> None:
        """One JSON document, on one line."""
        _write(self.out, as_json(document))

    def pour(self, pieces: Iterable[str]) -> None:
        """Data of any length, piece by piece, as it stands; stops when nobody reads on."""
        try:
            for piece in pieces:
                self.out.write(piece)
            self.out.flush()
        except (BrokenPipeError, OSError, ValueError):
            drop(self.out)

    def painted(self, text: str, stream: TextIO) -> str:
        """The text with each line's mark in its colour."""
        if not self.paints(stream):
            return text
        return "\n".join(_painted(line) for line in text.split("\n"))

    def paints(self, stream: TextIO) -> bool:
        """Whether colours go to `stream`."""
        if self.color != "auto":
            return self.color == "always"
        dumb = os.environ.get("TERM", "dumb") == "dumb" or bool(os.environ.get("NO_COLOR"))
        return stream.isatty() and not dumb


_CURRENT: ContextVar[Terminal | None] = ContextVar("terminal", default=None)


def terminal(look: Look) -> Terminal:
    """The terminal of this command line, as its options ask for it."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="drrun")
    found = Terminal(color=look.color, output=look.output, quiet=look.quiet, verbose=look.verbose)
    _CURRENT.set(found)
    return found


def current() -> Terminal:
    """The terminal that the verb asked for, else a plain one."""
    return _CURRENT.get() or Terminal()


def forget() -> None:
    """The next command line begins anew."""
    _CURRENT.set(None)


def _painted(line: str) -> str:
    body = line.lstrip(" ")
    mark = body.split(" ", 1)[0].split("[", 1)[0].rstrip(":")
    code = _PAINT.get(mark)
    if code is None:
        return line
    indent = line[: len(line) - len(body)]
    return f"{indent}\x1b[{code}m{mark}\x1b[0m{body[len(mark) :]}"


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text + "\n")
        stream.flush()
    except (BrokenPipeError, OSError, ValueError):
        drop(stream)


def drop(stream: TextIO) -> None:
    """Point a stream that nobody reads at nothing, so that its last flush cannot fail."""
    try:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, stream.fileno())
        os.close(nothing)
    except (OSError, ValueError):
        return


def _ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    return "".join(_ASCII.get(char, "?") for char in lost), error.end


codecs.register_error("drrun", _ascii)
