"""What one command of a run printed, piece by piece: for people, and for programs.

Rule 1: what is not here is said: the rest of a stream that was cut, and bytes that are not those of
the journal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from drrun.journal.outputs import STREAMS, Outputs, as_data, as_text, blocks
from drrun.report.story import Made, Story
from drrun.report.words import as_json, clock, cut, one_line
from drrun.values import UnitId

_HEADS = {"out": "", "err": "stderr: "}


@dataclass(slots=True)
class Log:
    """One change's output, read once from its beginning to its end."""

    story: Story
    made: Made
    outputs: Outputs
    _sums: dict[str, str] = field(default_factory=dict)

    def text(self) -> Iterator[str]:
        """When, where and what it was, its two streams line by line, and what is missing of them."""
        made, intent = self.made, self.made.intent
        end = "its end is not known" if made.code is None else f"rc={made.code} {made.seconds}s"
        way = "undo " if intent.undo else ""
        name = f"{way}{self.story.plan.unit_of[intent.unit].step}.{intent.name}"
        yield f"── {clock(made.began)} {intent.host} {name} {end}\n"
        yield f"   $ {one_line(intent.preview, 400)}\n"
        for stream, head in _HEADS.items():
            yield from _under(head, as_text(self._read(stream)))
        for missing in self._missing():
            yield f"! {missing}\n"

    def document(self) -> Iterator[str]:
        """The same as one JSON document on one line, which nobody needs to hold whole to write."""
        intent, finished = self.made.intent, self.made.finished
        known = {
            "type": "log",
            "run": self.story.plan.run,
            "step": self.story.plan.unit_of[intent.unit].step,
            "host": intent.host,
            "change": intent.name,
            "undo": intent.undo,
            "command": intent.preview,
            "code": self.made.code,
            "stdout_cut": finished.out_cut if finished is not None else None,
            "stderr_cut": finished.err_cut if finished is not None else None,
        }
        yield as_json(known)[:-1]
        for stream, name in STREAMS.items():
            yield f', "{name}": "'
            for piece in as_data(self._read(stream)):
                yield as_json(piece)[1:-1]
            yield '"'
        yield f', "intact": {as_json(self._intact())}}}\n'

    def _read(self, stream: str) -> Iterator[bytes]:
        total = hashlib.sha256()
        for block in blocks(self.outputs, f"{self.made.intent.token}.{stream}"):
            total.update(block)
            yield block
        self._sums[stream] = total.hexdigest()

    def _intact(self) -> bool | None:
        """Whether what was read is what the journal says; None while no end is known."""
        done = self.made.finished
        return None if done is None else self._sums == {"out": done.stdout, "err": done.stderr}

    def _missing(self) -> Iterator[str]:
        if self.made.finished is not None and (where := cut(self.made.finished)):
            yield f"cut: {where}; what came after that was not kept"
        if self._intact() is False:
            yield "not what the journal says: the output's files were changed, or lost a part"


def _under(head: str, pieces: Iterator[str]) -> Iterator[str]:
    """The text with `head` before each of its lines, ending with the end of a line."""
    fresh = True
    for piece in filter(None, pieces):
        lines = piece.replace("\n", f"\n{head}")
        lead, fresh = head if fresh else "", piece.endswith("\n")
        yield lead + (lines[: len(lines) - len(head)] if fresh else lines)
    if not fresh:
        yield "\n"


def traceback(story: Story, unit: UnitId, outputs: Outputs, *, json: bool) -> Iterator[str]:
    """What a step type that broke left behind, if it did."""
    name = f"{unit}.traceback"
    if not outputs.size(name):
        return
    if not json:
        yield f"── {unit}: its step type broke\n"
        yield from _under("", as_text(blocks(outputs, name)))
        return
    yield as_json({"type": "traceback", "run": story.plan.run, "unit": unit})[:-1] + ', "text": "'
    for piece in as_data(blocks(outputs, name)):
        yield as_json(piece)[1:-1]
    yield '"}\n'
