"""`drrun steps`: what step types and facts there are, and the whole word on one."""

from __future__ import annotations

from drrun.cli.options import Look
from drrun.cli.prompt import TerminalPrompt
from drrun.cli.terminal import terminal
from drrun.cli.wiring import engine
from drrun.errors import UsageError
from drrun.lang.diagnostics import suggest
from drrun.report import catalogue


def steps(
    name: str | None = None,
    /,
    *,
    facts: bool = False,
    look: Look = Look(),  # noqa: B008 - frozen
) -> int:
    """List the step types (or, with --facts, the facts), or document one.

    Args:
        name: A step type or a fact.
        facts: List the facts: read-only questions for requires, ensures and rules.
        look: How it is shown.
    """
    screen = terminal(look)
    registry = engine(TerminalPrompt(allowed=False)).registry
    if name is not None:
        spec, fact = registry.step(name), registry.fact(name)
        if spec is None and fact is None:
            known = [*registry.steps(), *registry.facts()]
            raise UsageError(
                f"there is no step type and no fact {name!r}",
                hint=suggest(name, known, "there are") or "`drrun steps`, `drrun steps --facts`",
            )
        if screen.json:
            screen.give(
                {
                    "step": catalogue.step_json(spec) if spec else None,
                    "fact": catalogue.fact_json(fact) if fact else None,
                }
            )
        else:
            both = [catalogue.step(spec)] if spec else []
            both += [catalogue.fact(fact)] if fact else []
            screen.say("\n\n".join(both))
        return 0
    if facts:
        found = [f for f in map(registry.fact, registry.facts()) if f is not None]
        if screen.json:
            screen.give({"type": "facts", "facts": [catalogue.fact_json(f) for f in found]})
        else:
            screen.say(catalogue.facts(found))
        return 0
    types = [s for s in map(registry.step, registry.steps()) if s is not None]
    if screen.json:
        screen.give({"type": "steps", "steps": [catalogue.step_json(s) for s in types]})
    else:
        screen.say(catalogue.steps(types))
    return 0
