"""Mutants of a runbook, generated: a step dropped, skipped, narrowed to one host, two swapped.

Rule 1: nobody chooses them: every step, and every pair of steps, gives its mutants.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import yaml

NEVER = "never"
"""An input that is false: `when: inputs.never` is a condition that happens not to hold."""


@dataclass(frozen=True)
class Mutant:
    """One mutant: what was done to which steps, and the runbook that came of it."""

    runbook: str
    kind: str
    steps: tuple[str, ...]
    content: str | dict[str, Any] = field(compare=False)
    """The runbook as text, or as what its text is made of when somebody wants it."""

    @cached_property
    def text(self) -> str:
        """The runbook that came of it."""
        return self.content if isinstance(self.content, str) else dumped(self.content)

    @property
    def name(self) -> str:
        """`restore-cluster: drop verify`."""
        return f"{self.runbook}: {self.kind} {', '.join(self.steps)}"


@cache
def mutants(path: Path) -> tuple[Mutant, ...]:
    """All mutants of a runbook, made once."""
    return tuple(_mutants(path))


def _mutants(path: Path) -> Iterator[Mutant]:
    book = yaml.load(path.read_text(), Loader=yaml.CBaseLoader)
    ids = [step["id"] for step in book["steps"]]
    for at, step in enumerate(ids):
        if len(ids) > 1:
            yield _mutant(path, "drop", (step,), _dropped(book, at))
        yield _mutant(path, "skip", (step,), _skipped(book, at))
        hosts = _one_of(book, book["steps"][at].get("hosts", "controller"))
        if hosts:
            yield _mutant(path, "narrow", (step,), _with(book, at, hosts=hosts))
    for at, first in enumerate(ids):
        for other in range(at + 1, len(ids)):
            yield _mutant(path, "swap", (first, ids[other]), _swapped(book, at, other))


def dumped(book: dict[str, Any]) -> str:
    """A runbook's text, by libyaml: in Python alone thousands of mutants take a minute."""
    text: str = yaml.dump(
        book, Dumper=yaml.CSafeDumper, sort_keys=False, default_flow_style=False, width=1000
    )
    return text


def _mutant(path: Path, kind: str, steps: tuple[str, ...], book: dict[str, Any]) -> Mutant:
    return Mutant(path.stem, kind, steps, book)


# What a mutant does not change it shares with the runbook: a copy of all of it, thousands of times, takes a minute.
def _dropped(book: dict[str, Any], at: int) -> dict[str, Any]:
    return {**book, "steps": [step for number, step in enumerate(book["steps"]) if number != at]}


def _with(book: dict[str, Any], at: int, **fields: str) -> dict[str, Any]:
    steps = [*book["steps"]]
    steps[at] = {**steps[at], **fields}
    return {**book, "steps": steps}


def _skipped(book: dict[str, Any], at: int) -> dict[str, Any]:
    found = _with(book, at, when=f"inputs.{NEVER}")
    return {
        **found,
        "inputs": {**book.get("inputs", {}), NEVER: {"type": "bool", "default": "false"}},
    }


def _swapped(book: dict[str, Any], at: int, other: int) -> dict[str, Any]:
    steps = [*book["steps"]]
    steps[at], steps[other] = steps[other], steps[at]
    return {**book, "steps": steps}


def _one_of(book: dict[str, Any], hosts: str) -> str:
    """One host of several; empty when there is only one."""
    roles = book.get("roles", {})
    if hosts in roles:
        return "" if roles[hosts].get("max") == "1" else f"{hosts}[0]"
    but_first = re.fullmatch(r"(?P<role>\w+) & !(?P=role)\[0\]", hosts)
    if but_first:
        return f"{but_first['role']}[1]"
    several = re.fullmatch(r"\(?(?P<role>\w+) & !\w+\)?( \| \w+)?|(?P<first>\w+) \| \w+", hosts)
    role = several and (several["role"] or several["first"])
    return f"({hosts}) & {role}[0]" if role else ""
