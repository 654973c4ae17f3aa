"""The shells that hosts have, for every test that runs a real script in them."""

from __future__ import annotations

import shutil

import pytest

SHELLS = {
    "dash": ("dash",),
    "bash": ("bash",),
    "busybox": ("busybox", "sh"),
    "mksh": ("mksh",),
}


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Each shell that a host may have as its `sh`; one that is not here is skipped, and says so."""
    argv = SHELLS[request.param]
    if shutil.which(argv[0]) is None:
        pytest.skip(f"{argv[0]} is not installed: apt-get install {argv[0]}")
    return argv
