"""Bare lab hosts for the crash suite, and controllers on them as processes of their own."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from drrun_lab import Lab, LabSpec

FIGURE = pytest.StashKey[str]()
"""`crash: N of N points`, once the sweep has counted them."""

ROOT = Path(__file__).parents[2]
LABS = 2
"""Labs side by side: one for each core."""

WORDS = ["one", "two", "three", "four", "six", "after wrote seven", "ten", "eleven"]
EXPECTED = {
    "cp1": Counter([*WORDS, "seven"]),
    "cp2": Counter([*WORDS, "eight"]),
    "cp3": Counter(WORDS),
}


@dataclass(frozen=True)
class Place:
    """A lab, and the inventory that the controllers use there."""

    lab: Lab
    inventory: Path

    def words(self, verb: str, state: Path, at: int, trace: Path) -> list[str]:
        """The command line of one controller."""
        more = [verb, str(self.inventory), str(state), str(at), str(trace)]
        return [sys.executable, "-m", "tests.crash.drive", *more]

    def drive(self, verb: str, state: Path, at: int, trace: Path) -> int:
        """One controller; its exit code (-9 when it died at its point)."""
        done = subprocess.run(
            self.words(verb, state, at, trace),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if done.returncode not in (0, -9):
            sys.stderr.write(done.stderr)
        return done.returncode

    def counted(self, state: Path) -> dict[str, Counter[str]]:
        """What the hosts hold: each line, and how often."""
        found = {}
        for host in EXPECTED:
            log = self.lab.ssh(host, f"cat /var/tmp/crash/{state.name}/log").stdout
            found[host] = Counter(log.splitlines())
        return found


@pytest.fixture(scope="module", name="places")
def _places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Place]]:
    """Two labs of three bare hosts each."""
    made = []
    try:
        for number in range(LABS):
            lab = Lab.up(f"crash{number}", LabSpec(kube=False))
            text = lab.inventory.read_text()
            inventory = tmp_path_factory.mktemp("inventory") / "inventory.yaml"
            inventory.write_text(text.replace("groups:", "groups:\n  members: [cp1, cp2, cp3]"))
            made.append(Place(lab, inventory))
        yield made
    finally:
        for place in made:
            place.lab.down()


def pytest_unconfigure(config: pytest.Config) -> None:
    """The sweep's figure is the last line, after pytest's own."""
    told = config.stash.get(FIGURE, "")
    if told:
        print(told)
