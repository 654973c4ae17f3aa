"""Samples of long suites, and figures that tests measured, printed whichever process ran them."""

from __future__ import annotations

import pytest

from tests.sampling import LONGEST, Sampling

SAMPLING = pytest.StashKey[Sampling]()
TOLD = pytest.StashKey[list[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The same as DRRUN_SAMPLE and DRRUN_SEED, for one session by hand."""
    asked = Sampling.asked()
    group = parser.getgroup("samples", "a part of a long suite")
    group.addoption("--sample", type=int, default=asked.count, metavar="N", help="how many of them")
    group.addoption("--seed", default=asked.seed, help="what chooses them: a commit's id")


def pytest_configure(config: pytest.Config) -> None:
    """A sample ends at its first failure: what failed is not hidden by the time running out."""
    sampling = Sampling(config.getoption("--sample"), config.getoption("--seed"))
    config.stash[SAMPLING], config.stash[TOLD] = sampling, []
    if sampling and not config.option.maxfail:
        config.option.maxfail = 1


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of the tests that boot hosts, the sample; those that sample by themselves, and all others, stay."""
    sampling = config.stash[SAMPLING]
    if not sampling:
        return
    booting = [item for item in items if _boots(item)]
    short = [item for item in booting if _seconds(item) <= LONGEST]
    chosen = sampling.of(short, _id)
    dropped = set(booting) - set(chosen)
    if not booting:
        return
    config.stash[TOLD].append(sampling.told(len(booting)))
    config.hook.pytest_deselected(items=[item for item in items if item in dropped])
    items[:] = [item for item in items if item not in dropped]


def _boots(item: pytest.Item) -> bool:
    samples_itself = "sampling" in getattr(item, "fixturenames", ())
    return item.get_closest_marker("lab") is not None and not samples_itself


def _id(item: pytest.Item) -> str:
    return item.nodeid


def _seconds(item: pytest.Item) -> float:
    mark = item.get_closest_marker("timeout")
    return float(mark.args[0]) if mark and mark.args else 0.0


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """Say which sample it is, before it runs."""
    return config.stash[TOLD]


@pytest.fixture(scope="session")
def sampling(pytestconfig: pytest.Config) -> Sampling:
    """For a test that goes through many things by itself: which of them."""
    return pytestconfig.stash[SAMPLING]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests gave to `record_property` as `measured`, a line each."""
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.stats.get(kind, [])]
    lines = [value for r in reports for name, value in r.user_properties if name == "measured"]
    if lines:
        terminalreporter.section("measured")
        for line in sorted({str(line) for line in lines}):
            terminalreporter.line(line)
