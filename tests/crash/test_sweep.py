"""The crash sweep on real hosts: killed at every point, resumed, and every effect counted there.

The points are enumerated from a traced run, not chosen: each append to the journal, and both sides
of each launch, acknowledgement, upload, lock and release.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from queue import SimpleQueue

import pytest
from tests.sampling import Sampling

from drrun.store.folder import FolderStore

from .conftest import EXPECTED, FIGURE, Place

pytestmark = [pytest.mark.lab, pytest.mark.timeout(3600)]


def crashed_and_resumed(place: Place, point: int, folder: Path) -> str:
    """Die at the point, resume; the complaint, empty when all is as a clean run leaves it."""
    state, trace = folder / f"p{point}", folder / f"p{point}.trace"
    died = place.drive("start", state, point, trace)
    if died == 0:
        return ""  # this interleaving had fewer points than the traced one
    if died != -9:
        return f"point {point}: the controller ended with {died} instead of dying"
    runs = FolderStore(state).runs()
    ended = bool(runs) and any(
        e.type == "run.finished" for e in FolderStore(state).load(runs[0]).events
    )
    if not runs:
        return ""  # it died before the run existed: nothing was begun anywhere
    again = 0 if ended else place.drive("resume", state, 0, trace)
    if again != 0:
        return f"point {point}: the resume ended with {again}"
    found = place.counted(state)
    return "" if found == EXPECTED else f"point {point}: the hosts count {found}"


def test_killed_at_every_point_it_ends_as_a_clean_run(
    places: list[Place], tmp_path: Path, pytestconfig: pytest.Config, sampling: Sampling
) -> None:
    """After the resume every effect has happened exactly once on every host, at every point.

    A sample is as many points, drawn from all of them.
    """
    trace = tmp_path / "reference.trace"
    assert places[0].drive("start", tmp_path / "reference", 0, trace) == 0
    assert places[0].counted(tmp_path / "reference") == EXPECTED
    all_points = range(1, len(trace.read_text().splitlines()) + 1)
    points = sampling.of(all_points)
    print(f"\n{sampling.told(len(all_points))}")
    free: SimpleQueue[Place] = SimpleQueue()
    for place in places:
        free.put(place)

    def sweep(point: int, folder: Path) -> str:
        place = free.get()
        try:
            return crashed_and_resumed(place, point, folder)
        finally:
            free.put(place)

    with ThreadPoolExecutor(max_workers=len(places)) as pool:
        complaints = list(pool.map(sweep, points, repeat(tmp_path)))
    bad = [complaint for complaint in complaints if complaint]
    pytestconfig.stash[FIGURE] = f"crash: {len(points) - len(bad)} of {len(points)} points"
    assert not bad, "\n".join(bad[:10])
    assert len(all_points) >= 150
