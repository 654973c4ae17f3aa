"""What a step says of failure and loss: never looser than its type allows, never left open.

Rule 1: where a change may not simply be sent again, a fact or a policy decides what became of one
whose result was lost. A run must not find out at its worst moment that nobody can tell.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from drrun.model.runbook import OnUnknown
from drrun.model.spec import StepSpec
from drrun.values import Effect, Repeat


@dataclass(frozen=True, slots=True)
class Said:
    """What the runbook says of one step, as far as it says anything."""

    repeat: str = ""
    on_unknown: str = ""
    retries: bool = False


@dataclass(frozen=True, slots=True)
class Slip:
    """One mistake: the step's field that it stands at, and what an operator is told."""

    field: str
    code: str
    message: str
    hint: str


def effective(said: str | None, spec: StepSpec) -> Repeat:
    """Whether the step's changes may be sent again: the runbook's word, else the type's."""
    return Repeat(said) if said else spec.repeat


def decided(said: OnUnknown | None, repeat: Repeat, *, checkable: bool) -> OnUnknown | None:
    """What a plan says of lost results: facts come before a person where they can tell."""
    return "check" if said is None and repeat is Repeat.NEVER and checkable else said


def slips(said: Said, spec: StepSpec, *, checkable: bool) -> Iterator[Slip]:
    """Everything that is wrong; `checkable`: facts that its changes set can tell."""
    if spec.effect is Effect.READ:
        return
    repeat = effective(said.repeat, spec)
    if repeat.stricter(spec.repeat) is not repeat and not spec.authors_word:
        yield Slip(
            "repeat",
            "repeat-looser",
            f"{spec.uses} is `repeat: {spec.repeat}`: the runbook may not loosen it to {repeat}",
            "take `repeat` out; what a step type promises of itself is its author's word",
        )
        return
    if said.retries and repeat is not Repeat.SAFE:
        yield Slip(
            "retries",
            "retries-unsafe",
            f"{spec.uses} is `repeat: {repeat}`: trying it again could do it twice",
            "take `retries` out; a failed run can be resumed by hand",
        )
    yield from _unknown(said, spec, repeat, checkable=checkable)


def _unknown(said: Said, spec: StepSpec, repeat: Repeat, *, checkable: bool) -> Iterator[Slip]:
    field = next((name for name in ("check", "check_script") if name in spec.fields), "")
    check = (
        f"give `{field}:`, which reads only and ends with 0 once it is done, or " if field else ""
    )
    if said.on_unknown == "rerun" and repeat is Repeat.NEVER:
        yield Slip(
            "on_unknown",
            "rerun-unsafe",
            f"{spec.uses} is `repeat: never`: a lost result may not be answered by running again",
            "use `on_unknown: ask`",
        )
    elif checkable:
        return
    elif said.on_unknown == "check" or (repeat is Repeat.CHECK and said.on_unknown != "ask"):
        yield Slip(
            "on_unknown" if said.on_unknown else "repeat" if said.repeat else "uses",
            "nothing-to-check",
            f"{spec.uses} sets no fact that could tell whether it was done",
            f"{check}say `on_unknown: ask`",
        )
    elif repeat is Repeat.NEVER and not said.on_unknown:
        yield Slip(
            "repeat" if said.repeat else "uses",
            "unknown-undecided",
            f"{spec.uses} is `repeat: never`: if its result is lost, nothing decides whether it "
            "was done",
            f"{check}say `on_unknown: ask`: the run then waits for a person",
        )
