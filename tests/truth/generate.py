"""Runbooks that nobody wrote: every word of the language that decides what is changed, at random.

Rule 1: no two steps race. Steps that no need orders share no key; a forecast has one order, and what
a race makes of it no forecast can say.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path

from hypothesis import strategies as st
from tests.truth.steps import Mint

from drrun.lang.inventory import load_inventory
from drrun.lang.load import load_runbook
from drrun.plan.bind import bind
from drrun.plan.compile import compile_plan
from drrun.plan.plan import Plan
from drrun.registry import GROUP, Registry
from drrun.values import HostName, RunId

KEYS = ("k0", "k1", "k2", "k3")
VALUES = ("a", "b", "c")
HOSTS = {
    "members": ("h1", "h2", "h3"),
    "pair": ("h1", "h2"),
    "members & !pair": ("h3",),
    "members[0]": ("h1",),
    "pair[1] | members[2]": ("h2", "h3"),
}
INVENTORY = """
drrun_inventory: 1
name: generated
vars: {everywhere: b}
hosts:
  h1: {vars: {mine: a}}
  h2: {vars: {mine: b}}
  h3: {vars: {mine: a}}
groups:
  members: [h1, h2, h3]
  pair: [h1, h2]
"""
REGISTRY = Registry(
    [
        EntryPoint("world", "drrun.testing.steps", GROUP),
        EntryPoint("odd", "tests.unit.engine.odd_steps", GROUP),
        EntryPoint("truth", "tests.truth.steps", GROUP),
    ]
)
OUTPUTS = {
    "world.set": "was",
    "truth.carry": "carried",
    "truth.coin": "coin",
    "truth.spread": "first",
    "world.agree": "value",
    "truth.pick": "host",
}
GROUPS = {"world.agree", "truth.spread", "truth.pick", "truth.foreign", "odd.both"}


@dataclass
class Written:
    """One step as it is written, and what of the world it looks at."""

    text: dict[str, object]
    keys: frozenset[str]
    before: set[str] = field(default_factory=set)
    """Steps that have wholly ended before it."""

    @property
    def id(self) -> str:
        """Its name."""
        return str(self.text["id"])


@dataclass(frozen=True)
class Generated:
    """A runbook, and the world that it is for."""

    text: str
    answer: str
    world: Mapping[str, Mapping[str, str]]

    def plan(self) -> Plan:
        """The plan. Raises AuthorError where it makes none."""
        loaded = load_runbook(Path("generated.yaml"), self.text)
        inventory = load_inventory(Path("inventory.yaml"), INVENTORY)
        binding = bind(loaded, inventory, {"given": self.answer})
        run = RunId("r-generated")
        return compile_plan(loaded, inventory, binding, REGISTRY, run=run, versions={}).plan

    def inhabited(self) -> Mint:
        """The world as it was."""
        return Mint({HostName(host): dict(keys) for host, keys in self.world.items()})


Draw = Callable[[st.SearchStrategy[str]], str]


class _Author:
    """Writes one runbook, a step at a time."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.steps: list[Written] = []

    def one(self, *choices: str) -> str:
        return self.draw(st.sampled_from(choices))

    def may(self, times: int) -> bool:
        """Once in so many times."""
        return self.one(*["no"] * (times - 1), "yes") == "yes"

    def value(self, hosts: str, *, group: bool) -> tuple[str, set[str]]:
        """A value for a field, and the steps that it is taken from."""
        plain = [*VALUES, "{{ inputs.given }}", "{{ vars.everywhere }}"]
        mine = [] if group else ["{{ host.vars.mine }}"]
        word = self.one(
            *plain, *mine, *(["output"] * 4 if self._givers(hosts, group=group) else [])
        )
        if word != "output":
            return word, set()
        giver = self.one(*self._givers(hosts, group=group))
        return f"{{{{ {self._output(giver, group=group)} }}}}", {giver}

    def _givers(self, hosts: str, *, group: bool) -> list[str]:
        """Steps whose outputs may be named there."""
        found = []
        for step in self.steps:
            uses, there = str(step.text["uses"]), HOSTS[str(step.text["hosts"])]
            if uses not in OUTPUTS or "when" in step.text:
                continue
            single = uses in GROUPS or len(there) == 1
            if single or (not group and set(HOSTS[hosts]) <= set(there)):
                found.append(step.id)
        return found

    def _output(self, giver: str, *, group: bool) -> str:
        text = next(step.text for step in self.steps if step.id == giver)
        uses, there = str(text["uses"]), HOSTS[str(text["hosts"])]
        name = OUTPUTS[uses]
        if uses in GROUPS or len(there) == 1:
            return f"steps['{giver}'].outputs.{name}"
        return f"steps['{giver}'].on[host.name].{name}"

    def write(self, number: int) -> None:
        """One more step, or two that belong together."""
        if self.may(12):
            self._wipe(number)
            return
        uses = self.one(
            *["world.set", "world.safe-set", "truth.carry", "truth.maybe", "truth.coin"] * 2,
            *["truth.branch", "truth.insist", "truth.spread", "truth.pick", "truth.foreign"],
            *["world.agree", "odd.do", "odd.renew", "truth.bare"],
        )
        hosts = self.one(*HOSTS)
        text: dict[str, object] = {"id": f"s{number}", "uses": uses, "hosts": hosts}
        keys, named = self._fields(text)
        if not text.get("when") and self.may(5):
            named |= self._when(text)
        if uses not in GROUPS and self.may(4):
            text["order"] = "serial"
        for word in ("requires", "ensures"):
            if self.may(14):
                keys.add(key := self.one(*KEYS))
                test = {"fact": "world.value", "with": {"key_": key}, "is": self.one(*VALUES)}
                text[word] = [test]
        if self.may(9):
            text["on_failure"] = "continue"
        self._add(Written(text, frozenset(keys)), named)

    def _fields(self, text: dict[str, object]) -> tuple[set[str], set[str]]:
        """Write `with`; the keys that it is about, and the steps that it names."""
        uses, hosts = str(text["uses"]), str(text["hosts"])
        key, to = self.one(*KEYS), self.one(*KEYS)
        value, named = self.value(hosts, group=uses in GROUPS)
        given: dict[str, object] = {
            "world.set": {"key": to, "to": value},
            "world.safe-set": {"key": to, "to": value},
            "world.agree": {"key": to},
            "odd.do": {"key": to, "to": value, "proved": self.one("true", "false")},
            "odd.renew": {"key": to, "to": f"new-{text['id']}"},  # never what is there already
            "truth.carry": {"key": key, "to": to},
            "truth.maybe": {"key": key, "to": to, "is_": self.one(*VALUES), "value": value},
            "truth.coin": {"to": to, "proved": self.one("true", "false")},
            "truth.branch": {"key": key, "to": to, "is_": value},
            "truth.insist": {"key": key, "to": to, "is_": value},
            "truth.bare": {"to": to, "value": value},
            "truth.spread": {"key": key, "to": to},
            "truth.pick": {"key": key, "to": to, "is_": self.one(*VALUES)},
            "truth.foreign": {"key": key, "to": to},
        }
        text["with"] = given[uses]
        if uses == "odd.do":
            text["on_unknown"] = "ask"
        if value not in given[uses].values():  # type: ignore[attr-defined]
            named = set()
        return {key, to} | ({"trace"} if uses == "truth.branch" else set()), named

    def _when(self, text: dict[str, object]) -> set[str]:
        hosts, group = str(text["hosts"]), str(text["uses"]) in GROUPS
        value, named = self.value(hosts, group=group)
        left = value.removeprefix("{{ ").removesuffix(" }}") if "{" in value else f"'{value}'"
        text["when"] = f"{left} {self.one('==', '!=')} '{self.one(*VALUES)}'"
        return named

    def _wipe(self, number: int) -> None:
        """Stop what must be stopped, then destroy; the rule between them is proved and read."""
        to, key = self.one(*VALUES), self.one(*KEYS)
        stop = {"key": "server", "to": "stopped"}
        wipe = {"key": key, "to": to}
        for name, uses, given in (("stop", "world.set", stop), ("wipe", "world.wipe", wipe)):
            text: dict[str, object] = {"id": f"{name}{number}", "uses": uses, "hosts": "members"}
            if name == "wipe":
                text["accept_unknown"] = "true"
            self._add(Written({**text, "with": given}, frozenset({"server", key})), set())

    def _add(self, step: Written, named: set[str]) -> None:
        """Put it behind what it needs: all earlier steps, or some, and whatever it shares a key with."""
        everything = {other.id for other in self.steps}
        if self.may(2) or not everything:
            step.before = everything
        else:
            needs: list[object] = []
            wanted = {self.one(*everything) for _ in range(int(self.one("0", "1", "2")))} | named
            for other in self.steps:
                loose = step.keys & other.keys and other.id not in step.before | wanted
                if loose and self._hostwise(step, other):
                    needs.append({"step": other.id, "per": "host"})
                elif other.id in wanted or loose:
                    outcome = {"outcome": "any"} if self.may(6) and other.id not in named else {}
                    needs.append({"step": other.id, **outcome})
                    step.before |= {other.id, *other.before}
            step.text["needs"] = needs
        self.steps.append(step)

    def _hostwise(self, step: Written, other: Written) -> bool:
        """Whether each host may go on alone: both act on it and on nobody else, this one everywhere."""
        mine, theirs = HOSTS[str(step.text["hosts"])], HOSTS[str(other.text["hosts"])]
        alone = not {str(step.text["uses"]), str(other.text["uses"])} & GROUPS
        return alone and set(mine) <= set(theirs) and self.may(2)


@st.composite
def runbooks(draw: Draw) -> Generated:
    """A runbook of some steps, an answer to its input, and a world."""
    author = _Author(draw)
    for number in range(int(draw(st.sampled_from("23456789")))):
        author.write(number)
    author.steps[0].text["needs"] = []
    if all("needs" in step.text for step in author.steps) and author.may(2):
        author.steps.reverse()  # what comes first is said by needs alone
    if author.may(6):
        last: dict[str, object] = {"id": "last", "uses": "world.set", "hosts": "members"}
        last |= {"with": {"key": "end", "to": "seen"}, "always": "true"}
        author.steps.append(Written(last, frozenset({"end"})))
    book = {
        "drrun": "1",
        "name": "generated",
        "title": "Nobody wrote this",
        "inputs": {"given": {"type": "string", "default": "c"}},
        "roles": {"members": {"min": "1"}, "pair": {"min": "1"}},
        "steps": [step.text for step in author.steps],
    }
    keys = [*KEYS, "server"]
    world = {}
    alike = {key: author.one("", *VALUES) for key in keys}
    for host in HOSTS["members"]:
        world[host] = {
            key: author.one("", *VALUES) if author.may(9) else alike[key] for key in keys
        }
    return Generated(json.dumps(book, indent=1), author.one(*VALUES), world)
