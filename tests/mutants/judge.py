"""What becomes of a mutant: refused before anything runs, or judged on real hosts (worlds.py)."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.mutants.mutate import Mutant

from drrun.errors import AuthorError
from drrun.lang.load import load_runbook
from drrun.plan.bind import bind_for_lint
from drrun.plan.compile import compile_plan
from drrun.plan.early import early_mistakes
from drrun.registry import Registry
from drrun.values import RunId

RULE, DEPENDENCY, LIVE, HARMLESS, HARM = "rule", "dependency", "live fact", "harmless", "HARM"


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
        loaded = load_runbook(
            Path(f"{mutant.runbook}.yaml"),
            mutant.text,
            further=lambda root, source: early_mistakes(root, source, _registry()),
        )
        inventory, binding = bind_for_lint(loaded)
        compile_plan(loaded, inventory, binding, _registry(), run=RunId("lint"), versions={})
    except AuthorError as error:
        found = [d for d in error.diagnostics if getattr(d, "code", "") == "rule"]
        if found:
            return Verdict(RULE, f"{found[0].message}: {found[0].hint}")  # type: ignore[attr-defined]
        return Verdict(DEPENDENCY, error.message)
    return None


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
