"""What the outage will wait for, as it was found before the first stop: lines of a screen, and JSON. Pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from drrun.execute.foreseeing import Foreseen, sums
from drrun.report.words import fold, one_line
from drrun.values import HostName, Json

_MARKS = {"good": "✔", "bad": "✘", "accepted": "!", "told": "!", "down": "-"}


def screen(found: Sequence[Foreseen], *, verbose: bool = False) -> list[str]:
    """How it stands; each answer that is wrong; with `verbose` all of them."""
    if not found:
        return []
    lines = ["", f"asked before the first stop, for what the outage waits for: {sums(found)}"]
    shown = [one for one in found if verbose or one.standing not in {"good", "down"}]
    return [*lines, *(f"  {line(one)}" for one in shown)]


def line(one: Foreseen) -> str:
    """One answer."""
    if one.standing == "down":
        return f"- {one.word}  not asked: down"
    if one.standing == "good" and one.found in {"True", "", "[]"}:
        return f"✔ {one.word}  as it must be"
    told = f"{_MARKS[one.standing]} {one.word}  {one_line(one.found, 200)}"
    if one.standing == "good":
        return told
    more = "" if one.standing == "bad" else f" ({_WORDS[one.standing]})"
    return f"{told}, must be {one_line(one.must)}{more}: {one_line(one.because, 200)}"


_WORDS = {"accepted": "accepted by name", "told": "this does not stop the run"}


def journaled(answers: Sequence[Mapping[str, Json]]) -> list[str]:
    """The same, from the journal's event: how many were asked, and what is wrong."""
    found = [
        Foreseen(**{**one, "steps": tuple(one["steps"]), "host": HostName(str(one["host"]))})  # type: ignore[arg-type]
        for one in answers
    ]
    if not found:
        return []
    hosts = fold(dict.fromkeys(one.host for one in found))
    wrong = [line(one) for one in found if one.standing not in {"good", "down"}]
    return [f"asked on {hosts} before the first stop: {sums(found)}", *wrong]


def document(found: Sequence[Foreseen]) -> list[Json]:
    """Each answer as plain JSON."""
    return [{**dataclasses.asdict(one), "accepts": one.word} for one in found]
