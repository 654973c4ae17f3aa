"""Snapshots of real etcds, sound and damaged in every way that operators meet."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from tests.unit.steps.recorded_answers import said, snapshot

from drrun.spi import CONTROLLER, Refused
from drrun.testing import FakeHost
from drrun_steps.etcd.bolt import Bolt
from drrun_steps.etcd.snapshot import HostSnapshot, Snapshot, SnapshotFile
from drrun_steps.etcd.verify import Verify


@pytest.mark.parametrize(
    ("name", "revision", "version", "nospace"),
    [("34", 61, "3.4.0", False), ("35", 301, "3.5.0", False), ("nospace", 9, "3.5.0", True)],
)
def test_a_real_snapshot_is_read_without_etcd(
    tmp_path: Path, name: str, revision: int, version: str, *, nospace: bool
) -> None:
    """Revision, version and alarm come out as etcdutl and etcdctl told them."""
    path = tmp_path / "s.db"
    path.write_bytes(snapshot(name))
    found = SnapshotFile(str(path)).look()
    assert (found.problem, found.revision, found.version, found.nospace) == (
        "",
        revision,
        version,
        nospace,
    )
    assert found.size == len(snapshot(name))


_WHOLE = snapshot("35")
_DAMAGE = {
    "damaged": _WHOLE[:9000] + bytes([_WHOLE[9000] ^ 1]) + _WHOLE[9001:],
    "truncated": _WHOLE[:10_000],
    "unsealed": _WHOLE[:-32],
    "foreign": b"a gzip or something else" * 40,
    "empty": b"",
}


@pytest.mark.parametrize("problem", sorted(_DAMAGE))
def test_damage_is_told_apart_and_refused_with_a_next_move(tmp_path: Path, problem: str) -> None:
    """Each kind has a message of its own: the operator's next move differs."""
    path = tmp_path / "s.db"
    path.write_bytes(_DAMAGE[problem])
    fact = SnapshotFile(str(path))
    found = fact.look()
    assert found.problem == problem
    with pytest.raises(Refused) as caught:
        Verify(path=str(path)).run(FakeHost(CONTROLLER, {fact: found}))
    assert caught.value.hint


def test_whole_pages_cut_off_are_damage_too(tmp_path: Path) -> None:
    """The size still fits; the seal does not."""
    path = tmp_path / "s.db"
    path.write_bytes(_WHOLE[:-4096])
    assert SnapshotFile(str(path)).look().problem == "damaged"


def test_a_missing_file_is_an_answer(tmp_path: Path) -> None:
    """Not an exception out of the middle of a run."""
    assert SnapshotFile(str(tmp_path / "no.db")).look().problem == "missing"


def test_every_byte_flip_in_the_database_is_noticed(tmp_path: Path) -> None:
    """`snapshot status` passes a flipped value; the seal does not. One byte in each page."""
    path = tmp_path / "s.db"
    for offset in range(100, len(_WHOLE) - 32, 4096):
        path.write_bytes(_WHOLE[:offset] + bytes([_WHOLE[offset] ^ 0x40]) + _WHOLE[offset + 1 :])
        assert SnapshotFile(str(path)).look().problem in {"damaged", "foreign"}, offset


def test_nonsense_never_leaves_bolt_but_as_a_value_error() -> None:
    """Any byte of the first pages may lie; nothing else is raised, nothing loops."""
    for offset in range(0, 3 * 4096, 7):
        data = _WHOLE[:offset] + bytes([_WHOLE[offset] ^ 0xFF]) + _WHOLE[offset + 1 : -32]
        try:
            bolt = Bolt(io.BytesIO(data), len(data))
            bolt.last_key(b"key")
            list(bolt.items(b"alarm"))
        except ValueError:
            continue


def test_the_age_is_that_of_the_manifest(tmp_path: Path) -> None:
    """A copy's own time says when it was copied; the manifest counts while its sha256 fits."""
    path = tmp_path / "s.db"
    path.write_bytes(_WHOLE)
    sha256 = SnapshotFile(str(path)).look().sha256
    manifest = {"sha256": sha256, "taken": "2020-01-01T00:00:00Z"}
    Path(f"{path}.json").write_text(json.dumps(manifest))
    assert SnapshotFile(str(path)).look().age > 86400
    Path(f"{path}.json").write_text(json.dumps(manifest | {"sha256": "0" * 64}))
    assert SnapshotFile(str(path)).look().age < 3600


def test_verify_gives_what_the_next_steps_need() -> None:
    """And measures the age of the data for the RPO."""
    fact = SnapshotFile("/s.db")
    sound = Snapshot("", "", "ab", 64, 61, 7, "3.5.0", nospace=True, age=90.0)
    host = FakeHost(CONTROLLER, {fact: sound})
    outputs = Verify(path="/s.db").run(host)
    assert outputs["revision"] == 61
    assert outputs["nospace"] is True
    assert host.measures == {"rpo": 90.0}


def test_a_host_reads_its_snapshot_with_etcds_tool() -> None:
    """Size, seal and structure in one question."""
    text = (
        "size=24608\nsha256=abc\n"
        'status={"hash":3888955792,"revision":61,"totalKey":64,"totalSize":24576}\n'
    )
    found = HostSnapshot("/s.db").parse(said(text))
    assert (found.problem, found.revision, found.keys) == ("", 61, 64)
    assert HostSnapshot("/s.db").parse(said("size=24608\nproblem=damaged\n")).problem == "damaged"
