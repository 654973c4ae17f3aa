"""What a run made of the sealed plan that it was applied from: every deviation is told (H17). Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from drrun.execute.forecast import Predicted
from drrun.execute.sealed import Sealed
from drrun.report.story import Made, Story
from drrun.report.words import count, one_line
from drrun.values import Json, digest

SHORT = 12
"""Characters of a digest that people compare."""


@dataclass(frozen=True, slots=True)
class Promise:
    """How many of the changes that were sealed as sure were made just so, and what was not."""

    digest: str
    sealed: int
    kept: int
    ahead: int
    """Changes of units that have not ended: neither kept nor broken yet."""
    deviations: tuple[str, ...]

    @property
    def words(self) -> str:
        """`sealed plan 3f9c1e2a77b0: 9 of 9 changes as sealed`."""
        return (
            f"sealed plan {self.digest[:SHORT]}: {self.kept} of "
            f"{count(self.sealed, 'change')} as sealed"
            f"{f', {self.ahead} not reached' if self.ahead else ''}"
        )

    @property
    def lines(self) -> list[str]:
        """The words, and each deviation."""
        return [self.words, *(f"  ~ {one_line(text, 200)}" for text in self.deviations)]

    def document(self) -> dict[str, Json]:
        """The same for programs."""
        return {
            "digest": self.digest,
            "changes": self.sealed,
            "as_sealed": self.kept,
            "not_reached": self.ahead,
            "deviations": list(self.deviations),
        }


def promise(story: Story, sealed: Sealed) -> Promise:
    """Compare what was made with what was sealed, in the plan's order. Undoing is nobody's promise."""
    place_in_plan = {unit.id: place for place, unit in enumerate(story.plan.units)}
    made: dict[tuple[str, str, str], Made] = {}
    for one in sorted(story.changes, key=lambda one: place_in_plan[one.intent.unit]):
        if not one.intent.undo:
            made.setdefault((one.intent.unit, one.intent.host, one.intent.name), one)
    promised = {
        (change.unit, str(change.host), change.name): change
        for unit in sealed.forecast.units
        for change in unit.changes
    }
    sure = {place: change for place, change in promised.items() if not change.conditional}
    kept = sum(place in made and _as_sealed(change, made[place]) for place, change in sure.items())
    ended = {unit for unit, record in story.state.units.items() if record.outcome is not None}
    ahead = sum(place not in made and change.unit not in ended for place, change in sure.items())
    due = {place: change for place, change in sure.items() if change.unit in ended}
    found = tuple(_deviations(promised, due, made))
    return Promise(sealed.digest, len(sure), kept, ahead, found)


def _deviations(
    promised: Mapping[tuple[str, str, str], Predicted],
    due: Mapping[tuple[str, str, str], Predicted],
    made: Mapping[tuple[str, str, str], Made],
) -> Iterator[str]:
    for unit, host, name in due:
        if (unit, host, name) not in made:
            yield f"not made: {unit}: {name} on {host}"
    for place, one in made.items():
        unit, host, name = place
        if place not in promised:
            yield f"made besides: {unit}: {name} on {host}: {one.intent.preview}"
        elif not _as_sealed(promised[place], one):
            yield f"another command: {unit}: {name} on {host}: {one.intent.preview}"


def _as_sealed(change: Predicted, made: Made) -> bool:
    """The very command; one with a hole can only be compared by name, as it was sealed."""
    if _has_hole(change.command):
        return True
    question = {"host": change.host, "name": change.name, "command": change.command}
    return digest(question) == made.intent.asked


def _has_hole(value: object) -> bool:
    if isinstance(value, Mapping):
        return "known_after" in value or any(_has_hole(inner) for inner in value.values())
    return isinstance(value, list | tuple) and any(_has_hole(inner) for inner in value)
