"""`.ci/run` judges: what ran to its end and failed fails a landing, what was cut short does not."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RUN = ROOT / ".ci" / "run"
LONG = ("test-field", "test-undo", "test-recoveries", "truth", "test-crash", "test-faults")
CUT = 124
"""What `timeout` ends with."""

MAKE = """\
#!/bin/sh
# -n NAME: is it there; else: run it.
if [ "$1" = -n ]; then ! grep -qx "$2" "$FAKE/missing"; exit; fi
shift; name=$1
echo "$*" >>"$FAKE/ran"
exit "$(sed -n "s/^$name //p" "$FAKE/codes" | grep . || echo 0)"
"""
TIMEOUT = """\
#!/bin/sh
# Runs the command with no limit, and says which one it was given.
shift 2; echo "$4 $1" >>"$FAKE/limits"; shift; exec "$@"
"""


class Landing:
    """The script on a PATH whose `make` and `timeout` are scripts that end as told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in (("make", MAKE), ("timeout", TIMEOUT)):
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)

    def run(
        self,
        codes: Mapping[str, int] | None = None,
        missing: tuple[str, ...] = (),
        **environment: str,
    ) -> subprocess.CompletedProcess[str]:
        """Land; suites end with these codes, 0 if not told."""
        lines = (f"{name} {code}\n" for name, code in (codes or {}).items())
        (self.folder / "codes").write_text("".join(lines))
        (self.folder / "missing").write_text("".join(f"{name}\n" for name in missing))
        for name in ("ran", "limits"):
            (self.folder / name).write_text("")
        own = {"FAKE": str(self.folder), "CI_SEED": "abc", "CI_JUDGES": "all", **environment}
        path = f"{self.folder}:{os.environ['PATH']}"
        return subprocess.run(
            [RUN],
            env={**os.environ, **own, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )

    def ran(self) -> list[str]:
        """What make was asked to make, in order."""
        return (self.folder / "ran").read_text().splitlines()

    def limits(self) -> dict[str, int]:
        """Seconds that each suite was given."""
        lines = (line.split() for line in (self.folder / "limits").read_text().splitlines())
        return {name: int(seconds) for name, seconds in lines}


@pytest.fixture
def landing(tmp_path: Path) -> Landing:
    """A landing."""
    return Landing(tmp_path)


def row(told: str, suite: str) -> str:
    """The result of a suite in the table at the end."""
    found = re.search(rf"^{re.escape(suite)} +(.*?)  ", told.rpartition("suite ")[2], re.MULTILINE)
    assert found, told
    return found[1].strip()


def test_make_test_comes_first_and_whole_then_samples_by_the_commit(landing: Landing) -> None:
    """Every long suite is asked for a part, with the commit's id; figures come last."""
    done = landing.run()
    assert done.returncode == 0, done.stdout + done.stderr
    first, *samples, last = landing.ran()
    assert (first, last) == ("test", "bench")
    assert {line.split()[0] for line in samples} >= {*LONG, "test-mutants", "test-chaos"}
    assert all(re.fullmatch(r"[a-z-]+ SAMPLE=\d+ SEED=abc", line) for line in samples)


def test_every_suite_of_the_list_but_those_to_come_is_a_target() -> None:
    """A name that is misspelt would be listed as not there, for ever."""
    names = re.findall(r'^  "([a-z-]+) ', RUN.read_text(), re.MULTILINE)
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(names) - set(targets) <= {"test-undo"}
    assert len(names) >= 8


@pytest.mark.parametrize("suite", ["test", *LONG, "test-mutants", "test-chaos"])
def test_what_failed_fails_the_landing(landing: Landing, suite: str) -> None:
    """Each suite counts, and the others run all the same."""
    done = landing.run({suite: 2})
    assert done.returncode == 1
    assert row(done.stdout, suite) == "FAILED (2)"
    assert len(landing.ran()) > len(LONG)


@pytest.mark.parametrize("code", [CUT, 137])
def test_a_sample_that_was_cut_short_is_listed_and_fails_nothing(
    landing: Landing, code: int
) -> None:
    """No verdict is no failure, whether it ended at the signal or had to be killed."""
    done = landing.run({"truth": code})
    assert done.returncode == 0
    assert row(done.stdout, "truth") == "CUT SHORT"


@pytest.mark.parametrize("code", [CUT, 137])
def test_make_test_must_have_a_verdict(landing: Landing, code: int) -> None:
    """Cut short, or never begun for want of time: the landing is not proved."""
    cut = landing.run({"test": code})
    assert (cut.returncode, row(cut.stdout, "test")) == (1, "CUT SHORT")
    never = landing.run(CI_MINUTES="0")
    assert (never.returncode, row(never.stdout, "test")) == (1, "NOT RUN")


def test_a_suite_that_is_not_there_is_listed(landing: Landing) -> None:
    """Later issues add theirs; nothing else waits for them."""
    done = landing.run(missing=("test-undo",))
    assert done.returncode == 0
    assert row(done.stdout, "test-undo") == "not there"
    assert not [line for line in landing.ran() if line.startswith("test-undo")]


def test_figures_never_decide(landing: Landing) -> None:
    """They are of a machine on a day: printed, even when they fail."""
    done = landing.run({"bench": 2})
    assert (done.returncode, row(done.stdout, "bench")) == (0, "FAILED (2)")


def test_nothing_is_begun_that_cannot_end(landing: Landing) -> None:
    """With three minutes for samples only those that take no longer are begun, and end by then."""
    done = landing.run(SAMPLE_MINUTES="3")
    assert done.returncode == 0
    assert row(done.stdout, "test-recoveries") == "NOT RUN"
    assert row(done.stdout, "test-chaos") == "passed"
    assert all(seconds <= 180 for name, seconds in landing.limits().items() if name != "test")


def test_all_ends_within_the_time_that_there_is(landing: Landing) -> None:
    """Each sample has its own limit; `make test` may take everything."""
    landing.run(CI_MINUTES="75")
    limits = landing.limits()
    assert 75 * 60 - 30 <= limits["test"] <= 75 * 60
    assert all(seconds <= 9 * 60 for name, seconds in limits.items() if name != "test")


def test_another_suite_comes_first_at_another_commit(landing: Landing) -> None:
    """So that time never runs out for the same one."""
    firsts = set()
    for seed in range(24):
        landing.run(CI_SEED=str(seed))
        firsts.add(landing.ran()[1].split()[0])
    assert len(firsts) >= 5


def test_a_suite_that_does_not_judge_yet_is_printed(landing: Landing) -> None:
    """Its failure is in the table, and lands all the same."""
    done = landing.run({"truth": 1}, CI_JUDGES="test-field")
    assert done.returncode == 0
    assert re.search(r"^truth +FAILED", done.stdout, re.MULTILINE)
    assert landing.run({"test-field": 1}, CI_JUDGES="test-field").returncode == 1
