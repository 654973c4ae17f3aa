"""The protocol drrun/1 as text: requests and answers, with known answers."""

from __future__ import annotations

import pytest

from drrun.errors import Refused
from drrun.ports import Job, JobState, Leftover, LeftoverState
from drrun.transport import protocol
from drrun.transport.protocol import BadAnswerError, Header, parse_header, split_answer
from drrun.values import Digest

TOKEN = "c-0123456789abcdef0123"


def job(**over: object) -> Job:
    """A job that is fine."""
    known: dict[str, object] = {
        "run": "run-1",
        "token": TOKEN,
        "epoch": 3,
        "script": b"echo hi\n",
        "witness": Digest("ab" * 32),
        "timeout": 1.5,
    }
    return Job(**{**known, **over})  # type: ignore[arg-type]


def test_a_launch_announces_its_bytes() -> None:
    """One line of words, then exactly the script: as a line when it is short, as it is otherwise."""
    head = f"launch run-1 {TOKEN} 3 1500 1 67108864"
    coded = f"{head} 12 {'ab' * 32} 0 line\n"
    assert protocol.launch(job()).wire == coded.encode() + b"echo hi\\0012\n"
    long = b"echo hi\n" * 200
    raw = f"{head} 1600 {'ab' * 32} 250 raw\n"
    assert protocol.launch(job(script=long, wait=0.25)).wire == raw.encode() + long


def test_other_requests() -> None:
    """Every verb's line."""
    lines = [
        protocol.poll("run-1", TOKEN, out_from=5, err_from=0, wait=0.25).line,
        protocol.abandon("run-1", TOKEN, 4).line,
        protocol.kill("run-1", TOKEN, 5).line,
        protocol.ack("run-1", TOKEN).line,
        protocol.fence("run-1", 4, " ann on\nctl ").line,
        protocol.release("run-1", 4).line,
        protocol.sweep("run-1", 4, dry=False).line,
        protocol.sweep("run-1", 4, dry=True).line,
        protocol.strays(dry=True).line,
    ]
    assert lines == [
        f"poll run-1 {TOKEN} 5 0 250 524288",
        f"abandon run-1 {TOKEN} 4",
        f"kill run-1 {TOKEN} 5000",
        f"ack run-1 {TOKEN}",
        "fence run-1 4 ann on ctl",
        "release run-1 4",
        "sweep run-1 4",
        "sweep run-1 4 dry",
        "strays - - dry",
    ]


@pytest.mark.parametrize(
    "over",
    [
        {"run": "../etc"},
        {"run": "a b"},
        {"run": ""},
        {"token": "fence"},
        {"token": "c-$(reboot)"},
        {"epoch": -1},
        {"witness": Digest("a b")},
        {"script": b"a\0b"},
    ],
    ids=str,
)
def test_what_cannot_be_a_word_is_never_sent(over: dict[str, object]) -> None:
    """Names that could leave their folder, or a NUL, are refused before anything is sent."""
    with pytest.raises(Refused):
        protocol.launch(job(**over))


def test_an_answer_is_found_behind_noise() -> None:
    """MOTD, prompts and a nonce in the wrong place are skipped."""
    noise = b"Welcome!\r\n\x1b[0m N not yet\n"
    line = b"\nN state=exited boot=b code=3 size=10,2 send=4,2 cut=1 late=1 why=\n"
    found = split_answer(noise + line + b"1234ee", "N")
    assert found is not None
    header, start = found
    assert header == Header("exited", "b", 3, (10, 2), (4, 2), 1, True, "")
    assert (noise + line + b"1234ee")[start:] == b"1234ee"


@pytest.mark.parametrize("cut", range(0, 30, 3))
def test_half_an_answer_is_waited_for(cut: int) -> None:
    """Until the header's line has ended there is nothing to read."""
    assert split_answer(b"\nN state=absent boot=b why="[:cut], "N") is None


def test_reports() -> None:
    """A header and its bytes become a report; a code belongs to an exit alone."""
    header = parse_header(
        "state=lost boot=b code=3 size=1,0 send=1,0 cut=0 late=0 why=killed by =x "
    )
    report = header.report(b"o", b"")
    assert (report.state, report.code, report.why) == (JobState.LOST, None, "killed by =x")
    assert (report.out, report.out_size, report.out_cut, report.err_cut) == (b"o", 1, False, False)


@pytest.mark.parametrize("cut", range(4))
def test_which_stream_was_cut(cut: int) -> None:
    """One bit for each stream."""
    report = parse_header(f"state=exited boot=b code=0 cut={cut} why=").report(b"", b"")
    assert (report.out_cut, report.err_cut) == (bool(cut & 1), bool(cut & 2))


@pytest.mark.parametrize(
    "line", ["", "boot=x why=", "state=exited code=x why=", "state=a size=1 why="]
)
def test_a_bad_answer_is_no_state(line: str) -> None:
    """What is not drrun/1 is an error, never a guess."""
    with pytest.raises(BadAnswerError):
        parse_header(line)
    with pytest.raises(BadAnswerError, match="no state of a job"):
        Header("asleep").report(b"", b"")


def test_leftovers() -> None:
    """How much a run left, or why it stays; a state of a job is no answer to a sweep."""
    counted = parse_header("state=found boot=b why=jobs=12 kib=48")
    assert protocol.leftover(counted) == Leftover(LeftoverState.FOUND, jobs=12, kib=48)
    kept = parse_header("state=busy boot=b why=c-1 is running")
    assert protocol.leftover(kept) == Leftover(LeftoverState.BUSY, why="c-1 is running")
    with pytest.raises(BadAnswerError, match="no answer to a sweep"):
        protocol.leftover(Header("exited"))
