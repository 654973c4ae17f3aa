"""Mutants of every stock runbook: refused, caught on real hosts, or harmless; none does harm."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.mutants import judge
from tests.mutants.judge import HARM, HARMLESS, LIVE
from tests.mutants.mutate import Mutant, mutants
from tests.mutants.page import OPEN, PAGE, page, said, score, verdicts
from tests.mutants.worlds import SCENARIOS, inhabited
from tests.mutants.worlds import judge as on_hosts
from tests.sampling import Sampling

from drrun.places import stock_runbooks
from drrun_lab import Lab, LabSpec, Progress


def test_every_step_and_every_pair_gives_its_mutants() -> None:
    """Nobody chooses them: dropped, skipped, narrowed where there are several hosts, swapped."""
    for path in stock_runbooks().glob("*.yaml"):
        made = mutants(path)
        kinds = [mutant.kind for mutant in made]
        steps = kinds.count("skip")
        assert kinds.count("drop") == (steps if steps > 1 else 0)
        assert kinds.count("swap") == steps * (steps - 1) // 2
        assert 1 <= kinds.count("narrow") <= steps
        assert len({mutant.text for mutant in made}) == len(made)


def test_the_unchanged_runbooks_are_refused_by_nothing() -> None:
    """Otherwise a mutant's refusal would say nothing of the mutation."""
    for path in stock_runbooks().glob("*.yaml"):
        assert judge.before_anything_runs(Mutant(path.stem, "", (), path.read_text())) is None


@pytest.mark.long
def test_no_mutant_does_harm_and_the_page_says_so(sampling: Sampling) -> None:
    """Every verdict that was ever taken on real hosts, and every refusal of today's lint.

    To lint all of them takes minutes: a sample of one asks for twenty of
    the page's verdicts.
    """
    if sampling:
        assert page_disagrees(sampling) == []
        return
    found = verdicts()
    print(f"\n{score(found)}")
    assert [mutant.name for mutant, verdict in found.items() if verdict.by == HARM] == []
    assert PAGE.read_text() == page(), "python -m tests.mutants.page writes it"


def page_disagrees(sampling: Sampling) -> list[str]:
    """Sampled mutants of which the page says another verdict than lint gives today."""
    every = [m for path in sorted(stock_runbooks().glob("*.yaml")) for m in mutants(path)]
    wider, known = Sampling(20 * sampling.count, sampling.seed), judge.judged()
    print(f"\nlint: {wider.told(len(every))}")
    page_says = said()
    return [
        f"{mutant.name}: {verdict.by}, not {page_says.get(mutant.name)}"
        for mutant in wider.of(every, lambda mutant: mutant.name)
        for verdict in (judge.before_anything_runs(mutant) or known.get(mutant.name, OPEN),)
        if verdict.by != page_says.get(mutant.name)
    ]


def test_what_was_judged_on_real_hosts_is_still_there() -> None:
    """A verdict for a mutant that lint refuses by now, or that is gone, is dead weight."""
    known = judge.judged()
    there = {m.name: m for path in stock_runbooks().glob("*.yaml") for m in mutants(path)}
    assert set(known) <= set(there)
    assert [n for n in known if judge.before_anything_runs(there[n]) is not None] == []


@pytest.fixture(scope="module", name="lab")
def _lab() -> Iterator[Lab]:
    """Three members, two spares and a load balancer, gone when the module ends."""
    if os.geteuid() != 0:
        pytest.skip("booting hosts needs root")
    lab = Lab.up("mutants", LabSpec(spares=2), progress=Progress())
    yield lab
    lab.down()


@pytest.mark.lab
@pytest.mark.timeout(7200)
def test_what_lint_lets_pass_does_no_harm_on_real_hosts(
    lab: Lab, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, sampling: Sampling
) -> None:
    """As many as MUTANT_MINUTES allow: those that nobody judged first, the others by turns.

    A sample is drawn from those that were judged, and harmless or caught there.
    """
    end = time.monotonic() + 60 * float(os.environ.get("MUTANT_MINUTES", "10"))
    keep = bool(os.environ.get("DRRUN_WRITE_MUTANTS"))
    due = sampled(sampling) if sampling else by_turns()
    harm, ran = [], 0
    for mutant in due:
        if time.monotonic() > end:
            break
        lab.reset()
        world = inhabited(lab, tmp_path / "snapshot.db")
        verdict = on_hosts(mutant, world, tmp_path_factory.mktemp("mutant"))
        ran += 1
        print(f"\n{mutant.name}: {verdict.by}: {verdict.why}", end="")
        if keep:
            judge.keep(mutant.name, verdict)
        if verdict.by == HARM:
            harm.append(f"{mutant.name}: {verdict.why}")
    print(
        f"\nmutants on real hosts: {ran - len(harm)} of {ran} without harm ({len(due)} pass lint)"
    )
    assert ran, "no time for a single one"
    assert harm == []


def by_turns() -> list[Mutant]:
    """Those that lint lets pass and that have a scenario: the ones that nobody judged come first."""
    found = {m: v for m, v in verdicts().items() if v.by in {LIVE, HARMLESS, OPEN.by}}
    turn = int(time.time()) // 86400 * 7  # another part each day
    ours = [mutant for mutant in found if mutant.runbook in SCENARIOS]
    return sorted(ours, key=lambda m: (found[m] != OPEN, (hash_of(m) + turn) % 1000))


def sampled(sampling: Sampling) -> list[Mutant]:
    """A sample of those that were judged on real hosts; lint is not asked, it is a matter of minutes."""
    known = judge.judged()
    every = [
        mutant
        for name in SCENARIOS
        for mutant in mutants(stock_runbooks() / f"{name}.yaml")
        if mutant.name in known
    ]
    print(f"\n{sampling.told(len(every))}")
    return sampling.of(every, lambda mutant: mutant.name)


def hash_of(mutant: Mutant) -> int:
    """The same number for the same mutant, every day."""
    return sum(mutant.name.encode()) % 1000
