"""The cache holds finished entries only, whatever happened to the builds."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from drrun.errors import LabError
from drrun_lab.cache import Cache, Recipe
from drrun_lab.progress import Progress
from drrun_lab.waiting import until

RECIPE = Recipe("piece", "recipe one", room=1)


def _cache(root: Path) -> Cache:
    return Cache(root, Progress(io.StringIO()))


def _build(folder: Path) -> Mapping[str, str]:
    (folder / "content").write_text("whole")
    return {"piece": "1.0"}


def test_an_entry_is_built_once(tmp_path: Path) -> None:
    """The second request finds the first one's work, with its versions."""
    calls: list[Path] = []

    def counted(folder: Path) -> Mapping[str, str]:
        calls.append(folder)
        return _build(folder)

    first = _cache(tmp_path).obtain(RECIPE, counted)
    second = _cache(tmp_path).obtain(RECIPE, counted)
    assert (first, len(calls)) == (second, 1)
    assert second.record == {"piece": "1.0"}


def test_another_recipe_is_another_entry(tmp_path: Path) -> None:
    """A changed recipe never serves what the old one made."""
    cache = _cache(tmp_path)
    cache.obtain(RECIPE, _build)
    assert cache.find(Recipe("piece", "recipe two", room=1)) is None


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    """An exception in a build removes the draft and reaches the caller."""

    def broken(folder: Path) -> Mapping[str, str]:
        (folder / "half").write_text("half")
        raise LabError("no such mirror")

    with pytest.raises(LabError, match="no such mirror"):
        _cache(tmp_path).obtain(RECIPE, broken)
    assert [path.name for path in tmp_path.iterdir()] == [".piece.lock"]


def test_a_killed_build_is_swept_and_built_again(tmp_path: Path) -> None:
    """SIGKILL in the middle leaves no entry and no lock; the next build starts clean."""
    script = (
        "import sys, time, pathlib\n"
        "from drrun_lab.cache import Cache, Recipe\n"
        "from drrun_lab.progress import Progress\n"
        "def build(folder):\n"
        "    (folder / 'half').write_text('half')\n"
        "    time.sleep(60)\n"
        "cache = Cache(pathlib.Path(sys.argv[1]), Progress(quiet=True))\n"
        "cache.obtain(Recipe('piece', 'recipe one', room=1), build)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)]) as process:
        half = tmp_path / ".building-piece" / "half"
        until(half.exists, timeout=20, awaiting="the build to be half-way", every=0.02)
        process.send_signal(signal.SIGKILL)
    cache = _cache(tmp_path)
    assert cache.find(RECIPE) is None
    entry = cache.obtain(RECIPE, _build)
    assert sorted(p.name for p in entry.folder.iterdir()) == ["content", "record.json"]


def test_two_requests_at_once_build_once(tmp_path: Path) -> None:
    """The second waits for the first, and says so, instead of building beside it."""
    calls: list[Path] = []

    def slow(folder: Path) -> Mapping[str, str]:
        calls.append(folder)
        until(lambda: len(waiting.getvalue()) > 0, timeout=10, awaiting="the second request")
        return _build(folder)

    waiting = io.StringIO()
    caches = [_cache(tmp_path), Cache(tmp_path, Progress(waiting))]
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(caches[0].obtain, RECIPE, slow)
        until(lambda: calls, timeout=10, awaiting="the first request")
        second = pool.submit(caches[1].obtain, RECIPE, slow)
        assert first.result() == second.result()
    assert len(calls) == 1
    assert "waiting for another process" in waiting.getvalue()


def test_a_full_disk_is_refused_before_the_build(tmp_path: Path) -> None:
    """Minutes of compiling must not end in ENOSPC."""
    with pytest.raises(LabError, match="GiB free") as caught:
        _cache(tmp_path).obtain(Recipe("vast", "x", room=2**60), _build)
    assert "DRRUN_LAB_CACHE" in caught.value.hint
