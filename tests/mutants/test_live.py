"""With the proof switched off, live facts refuse what it refuses: rules are facts too (hazard H5)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.mutants.judge import RULE, SAME, before_anything_runs
from tests.mutants.mutate import Mutant, mutants
from tests.mutants.test_rules_refuse import Nobody
from tests.mutants.worlds import World, inhabited
from tests.sampling import Sampling

from drrun.app import App
from drrun.errors import AuthorError
from drrun.places import stock_runbooks
from drrun.plan.plan import Plan
from drrun.plan.rules import Proved, prove
from drrun.registry import Registry
from drrun.values import Effect, UnitId
from drrun_lab import Lab, Progress

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module", name="world")
def _world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A lab in use, in which everything that a restore must stop is running."""
    if os.geteuid() != 0:
        pytest.skip("booting hosts needs root")
    lab = Lab.up("live", progress=Progress())
    lab.reset()
    yield inhabited(lab, tmp_path_factory.mktemp("live") / "snapshot.db")
    lab.down()


def unproved() -> Mapping[Mutant, str]:
    """Mutants of restore-cluster, two steps swapped left out, that a rule before a change refuses.

    A rule before a read has no live fact: the read itself asks for what the rule is about.
    """
    found = {
        mutant: before_anything_runs(mutant)
        for mutant in mutants(stock_runbooks() / "restore-cluster.yaml")
        if mutant.kind != "swap"
    }
    return {
        mutant: verdict.why
        for mutant, verdict in found.items()
        if verdict is not None
        and verdict.by == RULE
        and verdict.why.startswith("before ")
        and _changes(mutant, verdict.why.split()[1].rstrip(","))
    }


def _changes(mutant: Mutant, step: str) -> bool:
    """Whether a step of a mutant changes anything."""
    steps: list[dict[str, str]] = yaml.load(mutant.text, Loader=yaml.BaseLoader)["steps"]
    spec = Registry().step(next(one["uses"] for one in steps if one["id"] == step))
    return spec is not None and spec.effect is not Effect.READ


def test_live_facts_refuse_what_the_proof_refuses(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampling: Sampling
) -> None:
    """A dry-run on real hosts, guards bound as ever, breaches dropped: each mutant is refused."""

    def believe(*given: Any) -> Proved:
        return replace(prove(*given), breaches=())

    every = unproved()
    mutants = sampling.of(every, lambda mutant: mutant.name)
    print(f"\n{sampling.told(len(every))}")
    monkeypatch.setattr("drrun.plan.compile.prove", believe)
    passed, caught = [], 0
    for mutant in mutants:
        refused = _dry(mutant, world, tmp_path)
        if refused == SAME:
            continue
        caught += bool(refused)
        print(f"\n{mutant.name}: {refused[:160] or 'PASSED'}", end="")
        if not refused:
            passed.append(f"{mutant.name}, which the proof refuses: {every[mutant]}")
    print(f"\nlive facts: {caught} of {caught + len(passed)} caught without the proof")
    assert passed == []
    assert sampling or caught > 20


def _dry(mutant: Mutant, world: World, folder: Path) -> str:
    """What a dry-run refuses, by guard or because something is missing; empty when nothing.

    SAME where nothing was narrowed here: a role of one host is that host.
    """
    path = folder / f"{mutant.runbook}.yaml"
    path.write_text(mutant.text)
    app = App(Nobody(), registry=Registry())
    given = {"snapshot": str(world.snapshot), "accept_loss": "100"}
    try:
        plan = app.plan(app.load(str(path)), world.lab.inventory, given)
    except AuthorError as error:
        return error.message
    if mutant.kind == "narrow" and _units(plan) == _whole(app, world, given):
        return SAME
    forecast = app.forecast(plan)
    return forecast.refusals[0].refused if forecast.refusals else ""


def _whole(app: App, world: World, given: Mapping[str, str]) -> set[UnitId]:
    loaded = app.load(str(stock_runbooks() / "restore-cluster.yaml"))
    return _units(app.plan(loaded, world.lab.inventory, given))


def _units(plan: Plan) -> set[UnitId]:
    return {unit.id for unit in plan.units}
