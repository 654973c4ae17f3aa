"""Every stock runbook on real hosts: foretold, then run, then held against each other.

The dry-run is traced on every host: it opens no file for writing and leaves no process.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.lab.traced import left, touched, traced, written
from tests.mutants.test_rules_refuse import Nobody
from tests.truth.compare import Tally, judged
from tests.truth.foretold import Foretold
from tests.truth.scenarios import PENDING, SCENARIOS
from tests.truth.seen import keep

from drrun.app import App
from drrun.execute.asking import Remembering, ask_facts
from drrun.execute.dry import Dry
from drrun.execute.sealed import Sealed
from drrun.places import stock_runbooks
from drrun.plan.plan import Plan
from drrun.registry import Registry
from drrun.spi import Fact
from drrun.store.folder import FolderStore
from drrun.store.plan_file import read_plan
from drrun.values import HostName, Json
from drrun_lab import Lab, LabSpec, Progress
from drrun_lab.operator import Operator

RUNBOOKS = sorted(path.stem for path in stock_runbooks().glob("*.yaml"))


def test_every_stock_runbook_has_a_scenario() -> None:
    """A new one without the state that it is for would go unproved."""
    assert sorted(SCENARIOS) == RUNBOOKS


@pytest.fixture(scope="module", name="lab")
def _lab() -> Iterator[Lab]:
    """Three members, two spares and a load balancer, gone when the module ends."""
    if os.geteuid() != 0:
        pytest.skip("booting hosts needs root")
    lab = Lab.up("truth", LabSpec(spares=2), progress=Progress())
    yield lab
    if not os.environ.get("DRRUN_KEEP_LAB"):
        lab.down()


@pytest.fixture(scope="module", name="tallies")
def _tallies() -> Iterator[dict[str, Tally]]:
    """What became of each runbook; the last line counts these and nothing else."""
    tallies: dict[str, Tally] = {}
    yield tallies
    print()
    for name, tally in tallies.items():
        print(f"{name}: {tally.words}")
    kept, told = sum(t.kept for t in tallies.values()), sum(t.predicted for t in tallies.values())
    missing = [name for name in RUNBOOKS if name not in tallies]
    whole = f"; without {', '.join(missing)}" if missing else ""
    print(f"truth: {kept} of {told} changes as predicted{whole}")


@pytest.mark.lab
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", sorted(SCENARIOS.keys() - PENDING.keys()))
def test_a_run_does_on_real_hosts_what_the_dry_run_told(
    name: str, lab: Lab, tallies: dict[str, Tally], tmp_path: Path
) -> None:
    """Sealed by a dry-run, applied: the very changes, and every fact that was told holds."""
    scenario, operator = SCENARIOS[name], Operator(lab.inventory, tmp_path / "state")
    lab.reset()
    scenario.happens(lab, Operator(lab.inventory, tmp_path / "before"), tmp_path)
    answers = scenario.answers(tmp_path)
    words = [word for key, value in answers.items() for word in ("-e", f"{key}={value}")]
    path = tmp_path / "plan.drrun"
    machines = [host.name for host in lab.layout.hosts]
    there = left(lab, machines)
    with traced(lab, machines, tmp_path) as traces:
        told = operator.drrun(f"{name}.yaml", *words, "--dry-run", "--out", str(path))
    assert told.returncode == 0, told.stdout + told.stderr
    assert written(traces) == {}
    assert left(lab, machines) == there
    assert operator.runs() == []
    sealed, app = read_plan(path), App(Nobody(), registry=Registry())
    assert touched(traces) >= {asked.host for asked in sealed.forecast.facts} & set(machines)
    overlay, plan = foretold(app, sealed, lab, answers)

    ran = operator.drrun("apply", str(path), "--yes", "--no-input", timeout=600)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    events = FolderStore(operator.state / "runs").find(sealed.run).events
    tally = tallies[name] = judged(sealed.forecast, events, app.registry)
    with app._hosts(plan) as hosts:

        def ask(host: HostName, fact: Fact[Any]) -> Json:
            return ask_facts(hosts.line(host), [fact])[0]

        tally.left, late = overlay.against(ask)
    tally.lies += late
    print(f"\n{told.stdout}\n{name}: {tally.words}\n" + "\n".join(tally.lies))
    if os.environ.get("DRRUN_WRITE_TRUTH"):
        keep(name, tally.figures)
    assert tally.lies == []
    assert tally.kept == tally.predicted


def foretold(app: App, sealed: Sealed, lab: Lab, answers: dict[str, str]) -> tuple[Foretold, Plan]:
    """The same forecast once more, with the facts that it leaves in our hands."""
    overlay = Foretold()
    plan = app.plan(app.load(sealed.asked.runbook), lab.inventory, answers, run=sealed.run)
    with app._hosts(plan) as hosts:
        again = Dry(plan, app.registry, Remembering(hosts), overlay=overlay).forecast()
    assert [c.digest for c in again.changes] == [c.digest for c in sealed.forecast.changes]
    return overlay, plan
