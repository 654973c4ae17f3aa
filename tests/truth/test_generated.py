"""What a dry-run foretells of runbooks that nobody wrote, and what their runs then do."""

from __future__ import annotations

import copy
import os
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, reject, settings
from tests.truth.compare import judged
from tests.truth.foretold import Foretold
from tests.truth.generate import REGISTRY, Generated, runbooks
from tests.truth.seen import GENERATED, keep
from tests.unit.engine.conftest import Bench

from drrun.errors import AuthorError
from drrun.execute.asking import Remembering, ask_facts
from drrun.execute.dry import Dry, Forecast
from drrun.execute.hosts import Hosts
from drrun.testing.world import WorldTransport

WHOLE = 10_000
"""Changes that a whole `make truth` generates at least."""


WHOLE_RUN = "truth"
"""hypothesis' profile of a whole `make truth`."""


@pytest.fixture(scope="module", name="total")
def _total() -> Iterator[Counter[str]]:
    """All that was foretold, over all the runbooks; a whole run has foretold enough."""
    total: Counter[str] = Counter()
    yield total
    print(
        f"\ngenerated: {total['kept']} of {total['predicted']} changes as predicted, {dict(total)}"
    )
    if settings.get_current_profile_name() == WHOLE_RUN:
        assert total["predicted"] >= WHOLE
        if os.environ.get("DRRUN_WRITE_TRUTH"):
            keep(GENERATED, total)


@given(generated=runbooks())
@settings(deadline=None, suppress_health_check=list(HealthCheck))
def test_a_run_does_what_the_dry_run_told(total: Counter[str], generated: Generated) -> None:
    """Change for change with its command, fact for fact; and the dry-run itself changes nothing."""
    try:
        plan = generated.plan()
    except AuthorError:
        reject()
    world = generated.inhabited()
    before = copy.deepcopy(world.values)
    hosts, overlay = Hosts(plan, WorldTransport(world)), Foretold()
    forecast = Dry(plan, REGISTRY, Remembering(hosts), overlay=overlay).forecast()
    assert (world.values, world.jobs, world.locks, world.minted) == (before, {}, {}, 0)

    bench = Bench(plan, world, registry=REGISTRY)
    finish = bench.drive()
    tally = judged(forecast, bench.journal.events(), REGISTRY)
    left, lies = 0, list(tally.lies)
    if finish.status == "done":
        left, late = overlay.against(lambda host, fact: ask_facts(hosts.line(host), [fact])[0])
        lies += late
    assert lies == [], f"{lies}\n{finish}\n{told(forecast)}\n{generated.text}\n{generated.world}"
    if forecast.refusals:
        assert finish.status != "done"
    tally.left = left
    total.update(
        tally.figures,
        runbooks=1,
        refused=bool(forecast.refusals),
        done=finish.status == "done",
    )


def told(forecast: Forecast) -> str:
    """A forecast in short, a unit a line."""
    return "\n".join(
        f"{u.unit}: {[c.preview for c in u.changes]} {u.refused or u.unknown or u.skipped}"
        for u in forecast.units
    )
