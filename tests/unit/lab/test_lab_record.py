"""A lab is found again by what it wrote down."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path

import pytest

from drrun.errors import LabError
from drrun_lab.layout import LabSpec, Layout
from drrun_lab.record import LabRecord, records

LAYOUT = Layout("lab", LabSpec(hosts=1, etcd="3.4", kube=False), IPv4Network("10.70.1.0/24"))


def test_a_record_reads_back_as_written(tmp_path: Path) -> None:
    """Every field survives, the spec included: idempotence compares it."""
    record = LabRecord(LAYOUT, (Path("/cache/a"),), {"etcd-server": "3.4.23"}).ready("uid")
    record.write(tmp_path)
    assert LabRecord.read(tmp_path) == record


def test_no_record_is_no_lab(tmp_path: Path) -> None:
    """A folder without one (or no folder) is nothing to resume."""
    assert LabRecord.read(tmp_path) is None
    assert records(tmp_path / "nowhere") == {}


@pytest.mark.parametrize("text", ["", "{}", '{"spec": 3}'], ids=["empty", "bare", "odd"])
def test_a_damaged_record_is_named(tmp_path: Path, text: str) -> None:
    """The path of what cannot be read is the first thing its owner needs."""
    (tmp_path / "lab.json").write_text(text)
    with pytest.raises(LabError, match=r"lab\.json"):
        LabRecord.read(tmp_path)


def test_labs_are_listed_by_name(tmp_path: Path) -> None:
    """Lock files beside the labs' folders are no labs."""
    (tmp_path / "lab").mkdir()
    (tmp_path / ".lab.lock").touch()
    LabRecord(LAYOUT, (), {}).write(tmp_path / "lab")
    assert list(records(tmp_path)) == ["lab"]
