"""A small disk is really full, and gone when it is not wanted any more."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from drrun_lab.disk import small_disk

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


def test_a_full_disk_takes_no_byte_and_a_cleared_one_does(tmp_path: Path) -> None:
    """What was in the folder is there; ENOSPC is the kernel's own; nothing is left afterwards."""
    folder = tmp_path / "var"
    folder.mkdir()
    (folder / "kept").write_text("kept")
    with small_disk(folder, 8) as disk:
        assert (folder / "kept").read_text() == "kept"
        disk.fill()
        assert disk.free == 0
        with pytest.raises(OSError, match="No space left") as refused:
            (folder / "more").write_bytes(bytes(4096))
        assert refused.value.errno == errno.ENOSPC
        disk.clear()
        (folder / "more").write_bytes(bytes(4096))
    assert not folder.is_mount()
    assert [path.name for path in tmp_path.rglob("*")] == ["var", "kept"]
