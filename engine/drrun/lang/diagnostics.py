"""Mistakes in authored files: where they stand, what is wrong, what to write instead.

Rule 1: a reader of a file collects every mistake it can find, then calls `fail` once.
Rule 2: lines and columns are 1-based and count characters, as editors do; `end_column` is exclusive.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NoReturn, TypeAlias

from drrun.errors import AuthorError
from drrun.values import Json

Loc: TypeAlias = tuple[str | int, ...]
"""A path into an authored file: `("steps", 3, "with", "service")`."""

LINE_BREAK = re.compile(r"\r\n|\n|\r")
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Span:
    """From a first character to the one after the last."""

    line: int
    column: int
    end_line: int
    end_column: int


START = Span(1, 1, 1, 1)
"""The very beginning: what a mistake of the file as a whole points at."""


@dataclass(frozen=True, slots=True, order=True)
class Diagnostic:
    """One mistake. `code` is a stable slug (`drrun explain CODE`); `hint` is the next move."""

    path: str
    line: int
    column: int
    end_column: int
    code: str
    message: str
    hint: str = ""
    source_line: str = ""
    severity: Literal["error", "warning"] = "error"

    def json(self) -> dict[str, Json]:
        """The diagnostic for machines; the keys are part of the interface."""
        return {
            "path": self.path,
            "line": self.line,
            "column": self.column,
            "end_column": self.end_column,
            "code": self.code,
            "severity": self.severity,
            "message": self.message,
            "hint": self.hint,
        }


@dataclass(frozen=True, slots=True)
class Source:
    """An authored file's name and lines: all that is needed to point into it."""

    path: str
    lines: tuple[str, ...]

    @classmethod
    def of(cls, path: str, text: str) -> Source:
        """Split at line feeds and carriage returns only: U+2028 is a character like any other."""
        return cls(path, tuple(LINE_BREAK.split(text)))

    def diagnostic(self, span: Span, code: str, message: str, hint: str = "") -> Diagnostic:
        """A mistake at `span`; a span over several lines is marked to the end of its first."""
        line = self.lines[span.line - 1] if 0 < span.line <= len(self.lines) else ""
        end = span.end_column if span.end_line == span.line else len(line) + 1
        return Diagnostic(
            path=self.path,
            line=span.line,
            column=span.column,
            end_column=max(end, span.column),
            code=code,
            message=message,
            hint=hint,
            source_line=line,
        )

    def find(self, span: Span, text: str) -> Span:
        """Where `text` first stands inside `span`, or else `span` itself."""
        pattern = re.compile(rf"(?<![\w.]){re.escape(text)}(?![\w-])")
        for number in range(span.line, span.end_line + 1):
            line = self.lines[number - 1] if number <= len(self.lines) else ""
            start = span.column - 1 if number == span.line else 0
            if match := pattern.search(line, start):
                return Span(number, match.start() + 1, number, match.end() + 1)
        return span


def ordered(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """The mistakes in reading order, each once."""
    return tuple(sorted(set(diagnostics)))


def fail(diagnostics: Iterable[Diagnostic]) -> NoReturn:
    """Raise AuthorError with every mistake, in reading order. There must be at least one."""
    found = ordered(diagnostics)
    first = found[0]
    count = "1 mistake" if len(found) == 1 else f"{len(found)} mistakes"
    raise AuthorError(
        f"{first.path}:{first.line}:{first.column}: {first.message} ({count})",
        hint=first.hint,
        diagnostics=found,
    )


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """`did you mean "x"?` for the nearest of `choices`, or the empty text when none is near."""
    near = nearest(word, choices)
    return f"did you mean `{near}`?" if near else ""


def nearest(word: str, choices: Iterable[str], *, cutoff: float = 0.6) -> str:
    """The nearest of `choices` to `word`, or the empty text."""
    known = {_folded(choice): choice for choice in choices}
    found = difflib.get_close_matches(_folded(word), known, n=1, cutoff=cutoff)
    return known[found[0]] if found else ""


def suggest(word: str, choices: Sequence[str], noun: str, *, always: bool = False) -> str:
    """The nearest choice as a question; else, or `always`, all of them when they fit on a line."""
    listed = f"{noun}: {', '.join(choices)}" if choices and len(choices) <= 24 else ""
    question = did_you_mean(word, choices)
    return f"{question} {listed}".strip() if always or not question else question


def _folded(word: str) -> str:
    return word.casefold().replace("-", "_")


def render(diagnostics: Iterable[Diagnostic]) -> str:
    """The mistakes for people: place, source line, caret, next move. Plain text."""
    return "\n\n".join(_block(diagnostic) for diagnostic in ordered(diagnostics))


def _block(diagnostic: Diagnostic) -> str:
    gutter = " " * len(str(diagnostic.line))
    head = [
        f"{diagnostic.severity}[{diagnostic.code}]: {_shown(diagnostic.message)}",
        f"{gutter}--> {diagnostic.path}:{diagnostic.line}:{diagnostic.column}",
    ]
    if diagnostic.source_line.strip():
        source, start = _window(diagnostic.source_line, diagnostic.column - 1)
        source = _shown(source)
        marked = source[start : start + diagnostic.end_column - diagnostic.column] or " "
        caret = " " * _width(source[:start]) + "^" * max(1, _width(marked.rstrip()))
        head += [
            f"{gutter} |",
            f"{diagnostic.line} | {source}",
            f"{gutter} | {caret}",
        ]
    if diagnostic.hint:
        head.append(f"{gutter} = help: {_shown(diagnostic.hint)}")
    return "\n".join(head)


def _window(line: str, start: int) -> tuple[str, int]:
    """At most 160 characters of `line` around `start`, and where `start` is in them."""
    left = max(0, start - 100) if len(line) > 160 else 0
    shown = line[left : left + 160]
    head, tail = "…" * (left > 0), "…" * (left + 160 < len(line))
    return f"{head}{shown}{tail}", start - left + len(head)


def _shown(text: str) -> str:
    """`text` made safe for a terminal: what would move the cursor is shown as a box."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text.replace("\t", " "))


def _width(text: str) -> int:
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) > 0 for char in text)
