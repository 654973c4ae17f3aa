"""What a command printed, read back: bytes as text, last words, and what is missing."""

from __future__ import annotations

import hashlib
import json

import pytest
from tests.unit.engine.conftest import compiled
from tests.unit.report.conftest import records

from drrun.journal.events import ChangeFinished, ChangeIntended, Event
from drrun.journal.outputs import BLOCK, TAIL, as_text, blocks, count_lines, tail
from drrun.report import document, html, junit, markdown, text
from drrun.report.lines import line
from drrun.report.logs import Log
from drrun.report.story import Story
from drrun.report.words import at
from drrun.testing.world import MemoryOutputs
from drrun.values import Digest, HostName, UnitId

STEPS = """
- id: flood
  hosts: members[0]
  uses: world.set
  with: {key: a, to: b}
"""


def kept(out: bytes, err: bytes = b"") -> MemoryOutputs:
    """What two streams hold."""
    return MemoryOutputs({"c-1.out": bytearray(out), "c-1.err": bytearray(err)})


def told(out: bytes, err: bytes = b"", *, cut: bool = False, code: int = 0) -> Story:
    """A run of one change that printed this."""
    where = {
        "unit": UnitId("flood@h1"),
        "attempt": 1,
        "ordinal": 1,
        "name": "set",
        "host": HostName("h1"),
        "token": "c-1",
    }
    events: list[tuple[float, Event]] = [
        (
            0,
            ChangeIntended(**where, asked=Digest(""), epoch=1, boot_id="b", preview="flood"),  # type: ignore[arg-type]
        ),
        (
            1,
            ChangeFinished(
                **where,  # type: ignore[arg-type]
                code=code,
                stdout=Digest(hashlib.sha256(out).hexdigest()),
                stderr=Digest(hashlib.sha256(err).hexdigest()),
                out_size=len(out),
                err_size=len(err),
                out_cut=cut,
            ),
        ),
    ]
    return Story.of(compiled(STEPS), records(events))


def log(story: Story, outputs: MemoryOutputs) -> Log:
    """The log of its only change."""
    return Log(story, story.changes[0], outputs)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_text_does_not_depend_on_the_cuts(size: int) -> None:
    """Characters and line ends that fall across two pieces come out as from one."""
    data = "grüße\r\n\N{PILE OF POO}\r\tend\r".encode() + b"\xff\xc3(\x1b[2J\x00\n"
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert "".join(as_text(pieces)) == ("grüße\n\N{PILE OF POO}\n\tend\n\\xff\\xc3(\\x1b[2J\\x00\n")


@pytest.mark.parametrize(
    ("data", "lines", "count"),
    [
        (b"", (), 0),
        (b"\n \n\n", (), 3),
        (b"one", ("one",), 1),
        (b"one\ntwo\n\n", ("one", "two"), 3),
        (b"x" * TAIL, ("x" * TAIL,), 1),
        (b"x" * (TAIL + 1), ("…" + "x" * TAIL,), 1),
        (b"a\n" * 9 + b"x" * (TAIL - 2) + b"\nz", ("…" + "x" * (TAIL - 2), "z"), 11),
        (b"a\n" + "ü".encode() * TAIL + b"y", ("…" + "ü" * (TAIL // 2 - 1) + "y",), 2),
    ],
)
def test_last_words(data: bytes, lines: tuple[str, ...], count: int) -> None:
    """The lines of the last 4 KiB, no half character, and how many lines there are in all."""
    outputs = kept(data)
    assert tail(outputs, "c-1.out") == lines
    assert count_lines(outputs, "c-1.out") == count


def test_an_output_is_read_in_blocks() -> None:
    """However long it is, nobody is given more than a block at once."""
    outputs = kept(b"x" * (2 * BLOCK + 5))
    assert [len(block) for block in blocks(outputs, "c-1.out")] == [BLOCK, BLOCK, 5]
    assert list(blocks(outputs, "nothing")) == []


def test_each_line_of_stderr_is_marked() -> None:
    """Also where blocks meet inside a line, and the last line ends although its command did not."""
    err = b"a" * (BLOCK - 1) + b"\nb\n\nc"
    shown = "".join(log(told(b"out", err), kept(b"out", err)).text())
    head, command, out, *rest = shown.splitlines()
    assert head.endswith("h1 flood.set rc=0 0.0s")
    assert (command, out) == ("   $ flood", "out")
    assert rest == ["stderr: " + "a" * (BLOCK - 1), "stderr: b", "stderr: ", "stderr: c"]
    assert shown.endswith("stderr: c\n")


def test_a_log_is_one_json_document_whatever_was_printed() -> None:
    """Quotes, controls and bytes that are no UTF-8, cut anywhere: the document parses to the text."""
    out = b'"\\\x00\x9b\xff\n' * (BLOCK // 6) + "ü\u2028".encode() * 9
    document_of = "".join(log(told(out, b"e"), kept(out, b"e")).document())
    assert document_of.endswith("\n")
    assert document_of.count("\n") == 1
    assert not set(document_of) & {"\x9b", "\u2028", "\x00"}
    found = json.loads(document_of)
    assert found["stdout"] == out.decode("utf-8", "backslashreplace")
    assert (found["stderr"], found["stdout_cut"], found["intact"]) == ("e", False, True)


def test_bytes_that_are_not_the_journals_are_told() -> None:
    """A file that lost its end, or was changed, does not pass for what the command printed."""
    story = told(b"all of it\n")
    shown = "".join(log(story, kept(b"all of\n")).text())
    assert "! not what the journal says" in shown
    assert json.loads("".join(log(story, kept(b"")).document()))["intact"] is False
    assert "!" not in "".join(log(story, kept(b"all of it\n")).text())


def test_a_cut_is_said_everywhere() -> None:
    """Lines, end screen, status, logs and each report give the bytes that were kept, and that there was more."""
    story, outputs = told(b"12345", cut=True, code=3), kept(b"12345")
    where = "stdout after 5 bytes"
    finished = story.changes[0].finished
    assert finished is not None
    assert f'cut="{where}"' in line(story.plan, finished, at("2026-11-22T01:00:00+00:00"))
    found = [
        text.end(story),
        text.status(story),
        html.page(story, outputs),
        markdown.page(story, outputs),
        junit.suite(story, outputs),
        "".join(log(story, outputs).text()),
    ]
    assert all(where in page and "what came after" in page for page in found)
    [change] = json.loads(json.dumps(document.whole(story)))["changes"]
    assert (change["stdout_size"], change["stdout_cut"], change["stderr_cut"]) == (5, True, False)
    assert "cut" not in text.end(told(b"12345"))
