"""A part of a long suite: chosen by a seed, the same each time, in the order of the whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.sampling import Sampling

CONFTEST = Path(__file__).parents[1] / "conftest.py"
MANY = [f"test_{number}" for number in range(142)]


def test_the_same_seed_chooses_the_same_and_another_one_others() -> None:
    """A commit's sample can be run again; over commits everything has its turn."""
    assert Sampling(5, "abc").of(MANY) == Sampling(5, "abc").of(MANY)
    assert Sampling(5, "abc").of(MANY) != Sampling(5, "abd").of(MANY)
    seen = {name for seed in range(200) for name in Sampling(5, str(seed)).of(MANY)}
    assert len(seen) > 135


def test_a_sample_keeps_the_order_of_the_whole() -> None:
    """Tests that share a lab stay beside each other."""
    chosen = Sampling(9, "abc").of(MANY)
    assert chosen == [name for name in MANY if name in chosen]
    assert len(chosen) == 9


def test_what_is_added_changes_little_of_a_sample() -> None:
    """Each thing has its own rank: the others do not move when one comes."""
    before, after = Sampling(5, "abc").of(MANY), Sampling(5, "abc").of([*MANY, "test_new"])
    assert len(set(before) - set(after)) <= 1


def test_without_a_size_it_is_everything() -> None:
    """Nobody asked for a sample; one that is larger than the whole is the whole."""
    assert Sampling().of(MANY) == MANY
    assert Sampling(500, "abc").of(MANY) == MANY
    assert Sampling().told(142) == ""
    assert Sampling(5, "abc").told(142) == "sample: 5 of 142, seed abc"


def test_less_than_nothing_is_refused() -> None:
    """A typing error must not run nothing and pass."""
    with pytest.raises(ValueError, match="a sample has a size"):
        Sampling(-1, "abc")


def test_the_environment_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As make targets do with SAMPLE and SEED."""
    monkeypatch.setenv("DRRUN_SAMPLE", "3")
    monkeypatch.setenv("DRRUN_SEED", "abc")
    assert Sampling.asked() == Sampling(3, "abc")
    monkeypatch.setenv("DRRUN_SAMPLE", "")
    assert Sampling.asked().of(MANY) == MANY


SUITE = """\
import pytest

@pytest.mark.lab
@pytest.mark.parametrize("n", range(20))
def test_hosts(n): assert n != {broken}

@pytest.mark.lab
@pytest.mark.timeout(2400)
def test_too_long(): pass

@pytest.mark.lab
def test_by_itself(sampling): assert sampling.count == 4

def test_quick(): pass
"""


def run_suite(
    folder: Path, *words: str, broken: int | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a suite with the conftest of all tests."""
    (folder / "conftest.py").write_text(CONFTEST.read_text())
    (folder / "test_some.py").write_text(SUITE.replace("{broken}", str(broken)))
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  lab: a\n  timeout: b\n")
    command = [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", str(folder), *words]
    return subprocess.run(
        command, cwd=CONFTEST.parents[1], capture_output=True, text=True, check=False
    )


def test_pytest_runs_a_sample_of_what_boots_hosts(tmp_path: Path) -> None:
    """The quick ones all run, one that samples by itself too; one of over half an hour does not."""
    done = run_suite(tmp_path, "--sample", "4", "--seed", "abc")
    assert done.returncode == 0, done.stdout
    assert "sample: 4 of 21, seed abc" in done.stdout
    assert done.stdout.count("::test_hosts[") == 4
    assert "::test_quick PASSED" in done.stdout
    assert "::test_by_itself PASSED" in done.stdout
    assert "::test_too_long" not in done.stdout


def test_a_sample_ends_at_its_first_failure(tmp_path: Path) -> None:
    """Otherwise the time might run out behind it, and no verdict would be left."""
    names = [f"test_some.py::test_hosts[{number}]" for number in range(20)]
    first = Sampling(4, "abc").of(names)[0]
    done = run_suite(
        tmp_path, "--sample", "20", "--seed", "abc", broken=int(first[:-1].split("[")[1])
    )
    assert done.returncode == 1
    assert "stopping after 1 failures" in done.stdout


def test_a_sample_that_no_suite_boots_hosts_for_says_nothing(tmp_path: Path) -> None:
    """Nothing is left out."""
    done = run_suite(tmp_path, "--sample", "4", "-m", "not lab")
    assert done.returncode == 0, done.stdout
    assert "sample:" not in done.stdout
