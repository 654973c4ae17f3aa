"""Damage to the files of a run: refused with the line and the next move, nothing written, nothing lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from drrun.errors import JournalDamaged
from drrun.execute.decide import Finish
from drrun.journal.chain import GENESIS, Stamp, encode, line_digest, read
from drrun.journal.events import Noted
from drrun.store.folder import PLAN, FolderStore
from drrun.testing.crash import CrashingTransport
from drrun.testing.world import Crash
from drrun.values import RunId, UnitId

from .conftest import Desk
from .test_broken_disk import Fuse

Lines = list[bytes]


def written(count: int = 6) -> Lines:
    """The lines of a journal."""
    lines: Lines = []
    prev = GENESIS
    for seq in range(count):
        event = Noted(unit=UnitId("a@h1"), text=f"note {seq}")
        line = encode(event, seq=seq, prev=prev, stamp=Stamp("2026-11-22", seq), epoch=1)
        prev = line_digest(line)
        lines.append(line)
    return lines


def flipped(lines: Lines) -> Lines:
    """A letter of line 3 is another."""
    return [*lines[:2], lines[2].replace(b"note 2", b"note 7"), *lines[3:]]


def removed(lines: Lines) -> Lines:
    """Line 3 is gone."""
    return lines[:2] + lines[3:]


def swapped(lines: Lines) -> Lines:
    """Lines 3 and 4 stand in each other's place."""
    return [*lines[:2], lines[3], lines[2], *lines[4:]]


def doubled(lines: Lines) -> Lines:
    """Line 2 stands there twice."""
    return [*lines[:2], lines[1], *lines[2:]]


def blank(lines: Lines) -> Lines:
    """An empty line before line 3."""
    return [*lines[:2], b"\n", *lines[2:]]


def holed(lines: Lines) -> Lines:
    """Line 3 was never written to the disk, those after it were."""
    return [*lines[:2], b"\0" * (len(lines[2]) - 1) + b"\n", *lines[3:]]


def forked(lines: Lines) -> Lines:
    """Line 3 is whole, and of another journal."""
    event = Noted(unit=UnitId("a@h1"), text="another")
    line = encode(event, seq=2, prev=GENESIS, stamp=Stamp("2026-11-22", 2), epoch=1)
    return [*lines[:2], line, *lines[3:]]


def doubled_at_the_end(lines: Lines) -> Lines:
    """The last line stands there twice: no crash writes that."""
    return [*lines, lines[-1]]


def flipped_at_the_end(lines: Lines) -> Lines:
    """The last line is whole and wrong: no crash writes that."""
    return [*lines[:-1], lines[-1].replace(b"note", b"note"[::-1])]


def foreign(lines: Lines) -> Lines:
    """A line that verifies, and is none of ours."""
    import hashlib

    payload = b'["not", "ours"]'
    return [*lines[:2], hashlib.sha256(payload).hexdigest().encode() + b" " + payload + b"\n"]


DAMAGE: dict[Callable[[Lines], Lines], tuple[int, str]] = {
    flipped: (3, "its text does not have the digest"),
    removed: (3, "record 3 stands there, record 2 is missing or was moved"),
    swapped: (3, "record 3 stands there, record 2 is missing or was moved"),
    doubled: (3, "record 1 stands there again, instead of record 2"),
    blank: (3, "it is no record"),
    holed: (3, "it is no record"),
    forked: (3, "it does not continue the line before it"),
    doubled_at_the_end: (7, "record 5 stands there again"),
    flipped_at_the_end: (6, "its text does not have the digest"),
    foreign: (3, "no record of drrun's"),
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_damage_is_refused_with_its_line(damage: Callable[[Lines], Lines]) -> None:
    """The error names the line, the byte and what is wrong with it."""
    line, why = DAMAGE[damage]
    lines = damage(written())
    with pytest.raises(JournalDamaged) as found:
        read(b"".join(lines), "runs/r-test/journal.jsonl")
    byte = sum(len(each) for each in lines[: line - 1])
    told = f"runs/r-test/journal.jsonl is damaged in line {line} (byte {byte}): "
    assert found.value.message.startswith(told)
    assert why in found.value.message
    assert f"head -n {line - 1} " in found.value.hint


@pytest.mark.parametrize("bit", range(8))
def test_every_flipped_bit_is_refused(bit: int) -> None:
    """One bit anywhere but in the last line feed: refused, never trimmed, never believed."""
    whole = b"".join(written(3))
    for at in range(len(whole) - 1):
        wrong = bytearray(whole)
        wrong[at] ^= 1 << bit
        with pytest.raises(JournalDamaged, match="damaged in line"):
            read(bytes(wrong))


def test_a_journal_of_a_newer_format_is_named_as_such() -> None:
    """It is not called damaged: a newer drrun reads it."""
    import hashlib

    payload = json.dumps({"v": 2}).encode()
    line = hashlib.sha256(payload).hexdigest().encode() + b" " + payload + b"\n"
    with pytest.raises(JournalDamaged, match="has the format 2, this version reads up to 1"):
        read(line)


def crashed(root: Path) -> Desk:
    """A run whose controller died after its third launch, before it had the result."""
    fuse = Fuse(0)
    desk = Desk(root, through=lambda transport: CrashingTransport(transport, fuse))
    desk.app().start(desk.plan)
    third = [i for i, name in enumerate(fuse.names, 1) if name.startswith("after launch")][2]
    shutil.rmtree(root)
    fuse = Fuse(third)
    desk = Desk(root, through=lambda transport: CrashingTransport(transport, fuse))
    with pytest.raises(Crash):
        desk.app().start(desk.plan)
    fuse.at = 0
    return desk


def test_a_damaged_journal_is_not_touched_and_a_copy_goes_on(desk: Desk) -> None:
    """Refused by resume, takeover, abort and status alike; the file is the same byte for byte."""
    desk = crashed(desk.root)
    good = desk.path.read_bytes()
    bad = b"".join(flipped_in(good.splitlines(keepends=True), 8))
    desk.path.write_bytes(bad)
    app = desk.app()
    acts: list[Callable[[], Finish]] = [
        lambda: app.resume(None),
        lambda: app.takeover(None),
        lambda: app.abort(None),
    ]
    for act in acts:
        with pytest.raises(JournalDamaged, match="line 9"):
            act()
    assert desk.path.read_bytes() == bad
    desk.path.write_bytes(good)
    assert desk.app().resume(None).exit_code == 0
    desk.proved()


def test_without_a_copy_a_run_goes_on_behind_the_last_line_that_verifies(desk: Desk) -> None:
    """Cut at any line, as the error's next move says: the hosts run no command twice."""
    lines = crashed(desk.root).path.read_bytes().splitlines(keepends=True)
    shutil.rmtree(desk.root)
    assert len(lines) > 15
    for good in range(1, len(lines)):
        desk = crashed(desk.root)
        bad = b"".join(flipped_in(desk.path.read_bytes().splitlines(keepends=True), good))
        desk.path.write_bytes(bad)
        with pytest.raises(JournalDamaged) as found:
            desk.app().resume(None)
        assert f"head -n {good} " in found.value.hint
        desk.path.write_bytes(b"".join(bad.splitlines(keepends=True)[:good]))
        assert desk.app().resume(None).exit_code == 0
        assert set(desk.world.effects.values()) == {1}
        shutil.rmtree(desk.root)


def flipped_in(lines: Lines, index: int) -> Lines:
    """One letter of a line is another."""
    wrong = bytearray(lines[index])
    wrong[-3] ^= 1
    return [*lines[:index], bytes(wrong), *lines[index + 1 :]]


def test_a_plan_that_the_run_did_not_begin_with_is_refused(desk: Desk) -> None:
    """A letter of plan.json is another: nothing is resumed by it."""
    desk = crashed(desk.root)
    path = desk.root / "r-test" / PLAN
    path.write_bytes(path.read_bytes().replace(b"stopped", b"removed"))
    with pytest.raises(JournalDamaged, match="is not the plan that the run began with"):
        desk.app().resume(None)


def test_a_plan_that_cannot_be_read_is_refused(desk: Desk) -> None:
    """Not a bug's exit code, but the disk's."""
    desk.store.create(desk.plan).close()
    (desk.root / "r-test" / PLAN).write_bytes(b"{")
    with pytest.raises(JournalDamaged, match="cannot be read") as found:
        FolderStore(desk.root).open(RunId("r-test"))
    assert found.value.exit_code == 10
