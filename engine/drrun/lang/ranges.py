"""Host ranges: `cp[1-3]`, `cp[01-12]`, `cp[1,3-5]`, `r[1-2]n[1-4]`.

The width of the first number is kept: `cp[01-12]` is cp01 … cp12. More than 10 000 names from
one text are refused.
"""

from __future__ import annotations

import re

MAX_NAMES = 10_000
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_PART = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")


def is_range(text: str) -> bool:
    """Whether `text` has brackets at all."""
    return "[" in text or "]" in text


def expand(text: str) -> tuple[str, ...]:
    """Every name that `text` stands for, in order. Raises ValueError, saying what is wrong."""
    pieces = _BRACKETS.split(text)
    literals, lists = pieces[::2], pieces[1::2]
    if any("[" in literal or "]" in literal for literal in literals):
        raise ValueError(f"a bracket of {text!r} is not closed: write cp[1-3]")
    found = [literals[0]]
    for inside, literal in zip(lists, literals[1:], strict=True):
        numbers = _numbers(inside)
        if len(found) * len(numbers) > MAX_NAMES:
            raise ValueError(f"{text!r} stands for more than {MAX_NAMES} names")
        found = [f"{head}{number}{literal}" for head in found for number in numbers]
    return tuple(found)


def _numbers(inside: str) -> list[str]:
    found: list[str] = []
    for part in inside.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"[{inside}] is not a range: write [1-3], [01-12] or [1,3-5]")
        first, last = match[1], match[2] or match[1]
        if int(last) < int(first):
            raise ValueError(f"[{inside}] runs backwards: {first} is more than {last}")
        if int(last) - int(first) >= MAX_NAMES:
            raise ValueError(f"[{inside}] stands for more than {MAX_NAMES} names")
        width = len(first)
        found += [f"{number:0{width}d}" for number in range(int(first), int(last) + 1)]
    if len(set(found)) != len(found):
        raise ValueError(f"[{inside}] names a number twice")
    return found
