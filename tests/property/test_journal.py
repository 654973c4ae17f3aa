"""Any journal, cut anywhere: what was whole is read back, what was torn is told from what is damaged."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drrun.cli.tail import Tail
from drrun.errors import JournalDamaged
from drrun.journal.chain import GENESIS, Stamp, encode, line_digest, read
from drrun.journal.events import Event, Noted, UnitFinished, UnitStarted
from drrun.values import Outcome, UnitId

UNITS = st.sampled_from([UnitId("a@h1"), UnitId("a@h2"), UnitId("verdict")])
TEXT = st.text(st.characters(codec="utf-8"), max_size=60)
"""Anything that JSON holds, line feeds and NULs among it."""
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(Noted, unit=UNITS, text=TEXT),
    st.builds(UnitStarted, unit=UNITS, attempt=st.integers(1, 9)),
    st.builds(
        UnitFinished, unit=UNITS, attempt=st.just(1), outcome=st.sampled_from(Outcome), why=TEXT
    ),
)
JOURNALS = st.lists(EVENTS, min_size=1, max_size=8)


def written(events: list[Event]) -> list[bytes]:
    """The events as lines."""
    lines: list[bytes] = []
    prev = GENESIS
    for seq, event in enumerate(events):
        stamp = Stamp("2026-11-22T01:00:00.000+00:00", seq * 10**9, "boot")
        lines.append(encode(event, seq=seq, prev=prev, stamp=stamp, epoch=1))
        prev = line_digest(lines[-1])
    return lines


@given(events=JOURNALS)
def test_what_is_written_is_read_back(events: list[Event]) -> None:
    """Events come back equal, whatever their texts hold."""
    found = read(b"".join(written(events)))
    assert [record.event for record in found.records] == events
    assert found.torn == b""


@given(events=JOURNALS, data=st.data())
def test_cut_at_any_byte_of_the_last_record_all_before_it_stay(
    events: list[Event], data: st.DataObject
) -> None:
    """And the rest is torn, unwritten blocks behind it or not."""
    *good, last = written(events)
    cut = data.draw(st.integers(0, len(last) - 1), label="cut")
    zeros = data.draw(st.sampled_from([0, 2, 512, 4096]), label="zeros")
    tail = last[:cut] + b"\0" * zeros
    found = read(b"".join(good) + tail)
    assert [record.event for record in found.records] == events[:-1]
    assert (found.good, found.torn) == (sum(len(line) for line in good), tail)


@given(events=JOURNALS, data=st.data())
def test_a_byte_that_is_another_is_never_believed(events: list[Event], data: st.DataObject) -> None:
    """Wherever it is: refused; only without the last line feed it may also be a torn tail."""
    whole = b"".join(written(events))
    at = data.draw(st.integers(0, len(whole) - 1), label="at")
    byte = data.draw(st.integers(0, 255).filter(lambda b: b != whole[at]), label="byte")
    wrong = whole[:at] + bytes([byte]) + whole[at + 1 :]
    if at == len(whole) - 1:
        assert [record.event for record in read(wrong).records] == events[:-1]
        return
    with pytest.raises(JournalDamaged):
        read(wrong)


@given(events=JOURNALS, sizes=st.lists(st.integers(1, 400), max_size=12))
def test_a_tail_sees_each_record_once_however_it_is_written(
    events: list[Event], sizes: list[int]
) -> None:
    """Pieces of any size, looked at after each: the same records as when all of it is read."""
    whole, at = b"".join(written(events)), 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.jsonl"
        tail = Tail(path)
        seen = list(tail.news())
        for size in [*sizes, len(whole)]:
            with path.open("ab") as file:
                file.write(whole[at : at + size])
            at += size
            seen += tail.news()
    assert tuple(seen) == read(whole).records
