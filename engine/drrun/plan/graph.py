"""The plan as a graph: cycles, who comes before whom, waves. The only importer of networkx.

A unit stands as a node by its id. Between a step's units and those that need the whole step stands
one node a step, so that edges grow with units, not with their square.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from drrun.plan.plan import Plan, Unit
from drrun.values import StepId, UnitId


def waits(
    steps: Iterable[tuple[str, Sequence[str] | None, bool]],
) -> Mapping[str, Sequence[str]]:
    """What each step waits for, of `(id, needs, always)` in order: all above it without `needs`.

    A step that is to run always is waited for by such steps alone.
    """
    found: dict[str, Sequence[str]] = {}
    above: list[str] = []
    always_above: list[str] = []
    for step, needs, always in steps:
        implied = [*above, *always_above] if always else list(above)
        found[step] = implied if needs is None else needs
        (always_above if always else above).append(step)
    return found


def cycle(needs: Mapping[str, Iterable[str]]) -> Sequence[str]:
    """The first cycle among steps, in full (`a, b, c, a`); empty when there is none."""
    import networkx as nx

    graph: nx.DiGraph[str] = nx.DiGraph()
    for step, before in needs.items():
        graph.add_node(step)
        graph.add_edges_from((earlier, step) for earlier in before)
    try:
        edges = nx.find_cycle(graph)
    except nx.NetworkXNoCycle:
        return ()
    return [edges[0][0], *(edge[1] for edge in edges)]


def step_graph(plan: Plan) -> Mapping[StepId, tuple[StepId, ...]]:
    """Each step's direct predecessors, without those that another one implies."""
    import networkx as nx

    graph: nx.DiGraph[str] = nx.DiGraph()
    for step in plan.steps:
        graph.add_node(step.id)
    for unit in plan.units:
        graph.add_edges_from((n.step, unit.step) for n in unit.needs if n.step != unit.step)
    short = nx.transitive_reduction(graph)
    order = {step.id: index for index, step in enumerate(plan.steps)}
    return {
        step.id: tuple(
            sorted((StepId(p) for p in short.predecessors(step.id)), key=lambda s: order[s])
        )
        for step in plan.steps
    }


class Order:
    """Which units are proved to come before a unit, whatever the interleaving.

    Asked at every lint of a runbook with rules, so it walks backwards by itself: loading networkx
    takes longer than proving the stock runbooks.
    """

    def __init__(self, units: Iterable[Unit]) -> None:
        self._direct: dict[str, list[str]] = defaultdict(list)
        self._known: dict[UnitId, frozenset[str]] = {}
        for unit in units:
            self._direct[_end(unit.step)].append(unit.id)
            for need in unit.needs:
                if need.outcome == "ok":  # an edge that a failure also satisfies proves nothing
                    before = f"{need.step}@{need.host}" if need.host else _end(need.step)
                    self._direct[unit.id].append(before)

    def before(self, first: UnitId, second: UnitId) -> bool:
        """True when `first` has ended well before `second` begins, in every run."""
        if second not in self._known:
            self._known[second] = self._ancestors(second)
        return first in self._known[second]

    def depth(self, unit: UnitId) -> int:
        """How many come before: a unit that comes before another has the smaller depth."""
        self.before(unit, unit)
        return len(self._known[unit])

    def _ancestors(self, unit: UnitId) -> frozenset[str]:
        seen: set[str] = set()
        to_visit = list(self._direct.get(unit, ()))
        while to_visit:
            node = to_visit.pop()
            if node not in seen:
                seen.add(node)
                to_visit += self._direct.get(node, ())
        return frozenset(seen)


def _end(step: StepId) -> str:
    return f"{step} (all)"


def waves(plan: Plan) -> Sequence[tuple[StepId, ...]]:
    """The steps in waves: each wave needs only earlier ones."""
    level: dict[StepId, int] = {}
    for step, before in step_graph(plan).items():
        level[step] = 1 + max((level[b] for b in before), default=-1)
    found: list[list[StepId]] = [[] for _ in range(1 + max(level.values(), default=-1))]
    for step, at in level.items():
        found[at].append(step)
    return [tuple(wave) for wave in found]


def ring_mistake(ring: Sequence[str]) -> tuple[str, str]:
    """What is wrong with steps that wait for each other, and the next move."""
    shown = " → ".join(reversed(ring))
    hint = "take one of the `needs` out; a step without `needs` waits for every step above it"
    return f"these steps wait for each other: {shown}", hint
