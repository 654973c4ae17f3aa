"""What becomes of a mutant: refused before anything runs, or judged on real hosts (worlds.py)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.mutants.mutate import Mutant

from drrun.errors import AuthorError
from drrun.lang.load import load_runbook
from drrun.places import stock_runbooks
from drrun.plan.bind import bind_for_lint
from drrun.plan.compile import compile_plan
from drrun.plan.early import early_mistakes
from drrun.plan.graph import Order
from drrun.registry import Registry
from drrun.values import RunId

RULE, DEPENDENCY, LIVE, HARMLESS, HARM = "rule", "dependency", "live fact", "harmless", "HARM"
SAME = "same plan"


@dataclass(frozen=True)
class Verdict:
    """How a mutant ended, and the reason in drrun's words or the cluster's."""

    by: str
    why: str


@cache
def _registry() -> Registry:
    return Registry()


def before_anything_runs(mutant: Mutant) -> Verdict | None:
    """The verdict of lint on any inventory; None for one that it lets pass."""
    try:
        made = _order(mutant.runbook, mutant.text)
    except AuthorError as error:
        found = [d for d in error.diagnostics if getattr(d, "code", "") == "rule"]
        if found:
            return Verdict(RULE, f"{found[0].message}: {found[0].hint}")  # type: ignore[attr-defined]
        return Verdict(DEPENDENCY, error.message)
    if mutant.kind == "swap" and made == _unchanged(mutant.runbook):
        return Verdict(SAME, "every step waits for what it waits for in the unchanged runbook")
    return None


def _order(name: str, text: str) -> Mapping[str, frozenset[str]]:
    """Each unit of a runbook's plan, and every unit that is proved to come before it."""
    loaded = load_runbook(
        Path(f"{name}.yaml"),
        text,
        further=lambda root, source: early_mistakes(root, source, _registry()),
    )
    inventory, binding = bind_for_lint(loaded)
    compiled = compile_plan(loaded, inventory, binding, _registry(), run=RunId("lint"), versions={})
    ids = [unit.id for unit in compiled.plan.units]
    order = Order(compiled.plan.units)
    return {one: frozenset(o for o in ids if order.before(o, one)) for one in ids}


@cache
def _unchanged(name: str) -> Mapping[str, frozenset[str]]:
    return _order(name, (stock_runbooks() / f"{name}.yaml").read_text())


# -- what was judged --------------------------------------------------------------------------

JUDGED = Path(__file__).with_name("judged.json")
"""Verdicts of real hosts, by the mutant's name: what the page is made of."""


def judged() -> dict[str, Verdict]:
    """The verdicts that were kept."""
    if not JUDGED.exists():
        return {}
    return {name: Verdict(**raw) for name, raw in json.loads(JUDGED.read_text()).items()}


def keep(name: str, verdict: Verdict) -> None:
    """Keep a verdict of real hosts."""
    known = {n: dataclasses.asdict(v) for n, v in judged().items()}
    known[name] = dataclasses.asdict(verdict)
    text = json.dumps(dict(sorted(known.items())), indent=1, ensure_ascii=False)
    JUDGED.write_text(text + "\n")
