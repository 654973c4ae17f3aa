"""What is demanded of a plan, and by whom: what step types carry, and what the runbook says itself.

Rule 1: demands speak of whole roles, whatever --limit narrows: a guard covers every host (H5).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from drrun.errors import AuthorError
from drrun.lang.diagnostics import Loc, did_you_mean
from drrun.lang.hosts import resolve
from drrun.lang.load import LoadedRunbook
from drrun.lang.template import needs_run, render
from drrun.lang.template_error import TemplateError
from drrun.model.rule import Alone, Demand, Duty, FactRef, Rule, step_done
from drrun.model.runbook import FactTest, Guarded, KeepText, RuleText, Service, Step
from drrun.model.spec import Effects, FactSpec, StepSpec
from drrun.plan.absence import Absence, refused_guard
from drrun.plan.plan import Keep, PlanStep, Unit
from drrun.plan.rules import Carried
from drrun.values import HostName, Json, StepId, UnitId

AUTHOR = "the runbook"
ANYWHERE = "*"
"""As the hosts of a demand: every host of the inventory."""


class Specs(Protocol):
    """What is installed, as far as the compiler needs to know."""

    def step(self, uses: str) -> StepSpec | None:
        """The spec of a step type, or None."""
        ...

    def fact(self, name: str) -> FactSpec | None:
        """The spec of a fact, or None."""
        ...

    def steps(self) -> Sequence[str]:
        """Every step type's name, for suggestions."""
        ...

    def facts(self) -> Sequence[str]:
        """Every fact's name, for suggestions."""
        ...


class Problem(Protocol):
    """Takes one mistake of the runbook."""

    def __call__(self, loc: Loc, code: str, message: str, hint: str = "") -> None:
        """Keep it."""
        ...


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts as runbooks name them, checked; what is wrong becomes a problem of the runbook."""

    specs: Specs
    problem: Problem

    def ref(self, test: FactTest, loc: Loc, names: Mapping[str, Any]) -> FactRef | None:
        """The fact that a test names."""
        spec = self.specs.fact(test.fact)
        if spec is None:
            hint = did_you_mean(test.fact, self.specs.facts()) or "`drrun steps --facts` lists them"
            self.problem((*loc, "fact"), "unknown-fact", f"there is no fact {test.fact!r}", hint)
            return None
        try:
            return spec.check(render(dict(test.with_), names))  # type: ignore[arg-type]
        except (AuthorError, ValueError) as error:
            self.problem((*loc, "with"), "with", str(error))
            return None

    def value(self, test: FactTest, loc: Loc, names: Mapping[str, Any]) -> Json:
        """The value that a test wants, as the fact gives it."""
        spec = self.specs.fact(test.fact)
        try:
            return None if spec is None else spec.value(render(test.is_, names))
        except TemplateError as error:
            self.problem((*loc, "is"), error.code, error.message, error.hint)
        except ValueError as error:
            self.problem((*loc, "is"), "is", f"{test.fact} is never {test.is_!r}: {error}")
        return None


@dataclass(slots=True)
class Demands:
    """Gathers the demands of one plan."""

    loaded: LoadedRunbook
    roles: Mapping[str, tuple[HostName, ...]]
    """Whole, as the inventory has them."""
    hosts: Sequence[HostName]
    names: Mapping[str, Any]
    specs: Specs
    problem: Problem
    absence: Absence
    _found: dict[tuple[str, str], Carried] = field(default_factory=dict)

    def gather(
        self,
        units: Sequence[Unit],
        steps: Mapping[StepId, PlanStep],
        effects: Mapping[UnitId, Effects],
    ) -> Sequence[Carried]:
        """Every demand with the units that carry it. Its problems are told, not raised."""
        places = {step.id: at for at, step in enumerate(self.loaded.runbook.steps)}
        for unit in units:
            step = steps[unit.step]
            for demand in effects[unit.id].rules:
                self._carry(demand, unit, step.uses, ("steps", places[step.id], "uses"))
            authored = self.loaded.runbook.steps[places[step.id]]
            self._services(authored, unit, ("steps", places[step.id], "uses_service"))
        for number, text in enumerate(self.loaded.runbook.rules):
            at: Loc = ("rules", number)
            ruled = self._authored(text, at)
            if ruled is None:
                continue
            for one in self._guarded(text.every, (*at, "every"), units, steps):
                self._carry(ruled, one, AUTHOR, at)
        return list(self._found.values())

    def _carry(self, demand: Demand, unit: Unit | None, by: str, loc: Loc) -> None:
        """Put a unit to the demand that others of its kind carry already, or begin one."""
        key = (by, repr(demand))
        known = self._found.get(key)
        if known is None:
            hosts: tuple[HostName, ...] = ()
            fenced: tuple[HostName, ...] = ()
            if isinstance(demand, Rule | Duty) and demand.hosts:
                whole = self._hosts(demand, loc, by)
                fenced = self._fenced(demand, whole, loc)
                hosts = self.absence.present(whole)
                if not hosts:
                    return
            known = Carried(demand, (), by, hosts, loc, fenced)
        more = () if unit is None else (unit.id,)
        self._found[key] = replace(known, units=(*known.units, *more))

    def _hosts(self, demand: Rule | Duty, loc: Loc, by: str) -> tuple[HostName, ...]:
        if demand.hosts == ANYWHERE:
            return tuple(self.hosts)
        who = "" if by == AUTHOR else f"{by} needs it: "
        try:
            return resolve(demand.hosts, self.roles, tuple(self.hosts))
        except AuthorError as error:
            message = f"{error.message} ({who}{demand.because})"
            self.problem(loc, "rule-hosts", message, error.hint)
            return ()

    def _fenced(
        self, demand: Rule | Duty, hosts: Sequence[HostName], loc: Loc
    ) -> tuple[HostName, ...]:
        """The hosts that count by the operator's word; a problem where that is none."""
        spec = self.specs.fact(demand.fact.name)
        counted, wrong = self.absence.of_demand(hosts, spec, demand)
        if wrong:
            self.problem(loc, "fenced", *refused_guard(demand.fact, demand.value, wrong))
        return counted

    def keep(self, text: KeepText, at: Loc) -> Keep | None:
        """What a step keeps, bound to the whole role; None, and a problem, when it cannot be."""
        test = FactTest.model_validate({"fact": text.fact, "with": text.with_, "is": text.is_})
        found = self._fact(test, at)
        try:
            hosts = resolve(text.role, self.roles, tuple(self.hosts))
        except AuthorError as error:
            self.problem((*at, "role"), "hosts", error.message, error.hint)
            return None
        if found is None:
            return None
        least = _least(text.at_least, len(hosts))
        if least >= len(hosts):
            message = f"{len(hosts)} hosts of which {least} must stay: nobody could have a turn"
            self.problem((*at, "at_least"), "keep", message, "keep fewer, or take `keep` out")
        return Keep(*found, hosts, least, text.if_lost, text.within)

    # --- what the runbook itself says ----------------------------------------------------------

    def _authored(self, text: RuleText, at: Loc) -> Demand | None:
        """A rule of the runbook as a demand; None, and a problem, when it is none."""
        said = [
            key
            for key in ("needs_state", "needs_step", "then_state", "then_step", "alone")
            if getattr(text, key)
        ]
        every = text.every
        if every is None:
            wrong = said not in (["then_state"], ["then_step"]) or not _named(text)
            hint = "without `every` it has then_state or then_step, with `hosts`"
        else:
            kinds = (every.uses is None) + (every.effect is None)
            wrong = len(said) != 1 or kinds != 1 or bool(every.effect and every.with_)
            hint = "`every` has `uses`, with `with` or not, or `effect`; beside it stands "
            hint += "needs_state, needs_step, then_state, then_step or alone"
        if wrong:
            self.problem(at, "rule", "a rule says one thing of one kind of steps", hint)
            return None
        self._known_types(text, at)
        where: Loc = (*at, said[0])
        if text.alone:
            return Alone(f"rule {at[1]}", text.because)
        if text.needs_state is not None:
            return self._state(text.needs_state, where, text.because)
        if text.then_state is not None:
            return self._owed(text, where)
        return self._done(text, where)

    def _done(self, text: RuleText, where: Loc) -> Demand | None:
        needed = text.needs_step or text.then_step
        assert needed is not None
        fields = self._fields(needed.uses, needed.with_, where)
        if fields is None:
            return None
        done, hosts = step_done(needed.uses, **fields), needed.hosts or ""
        if text.needs_step is not None:
            return Rule(done, hosts, value=True, because=text.because)
        return Duty(done, hosts, value=True, because=text.because)

    def _guarded(
        self,
        every: Guarded | None,
        at: Loc,
        units: Sequence[Unit],
        steps: Mapping[StepId, PlanStep],
    ) -> Sequence[Unit | None]:
        """The units that a rule is about; None alone stands for the run itself."""
        if every is None:
            return [None]
        if every.uses is None:
            return [unit for unit in units if steps[unit.step].effect == every.effect]
        fields = self._fields(every.uses, every.with_, at)
        return [
            unit
            for unit in units
            if steps[unit.step].uses == every.uses
            and fields is not None
            and all(unit.params.get(key) == value for key, value in fields.items())
        ]

    def _fields(self, uses: str, written: Mapping[str, object], at: Loc) -> dict[str, Json] | None:
        """Fields of a step type, rendered. A name that it does not have would match no step ever."""
        spec, loc = self.specs.step(uses), (*at, "with")
        for name in written:
            if spec is not None and name not in spec.fields:
                hint = did_you_mean(name, spec.fields)
                self.problem((*loc, name), "with", f"{uses} has no field {name!r}", hint)
                return None
        if needs_run([dict(written)]):
            self._rests_on_the_run(at)
            return None
        try:
            return {name: plain(render(value, self.names)) for name, value in written.items()}
        except TemplateError as error:
            self.problem(loc, error.code, error.message, error.hint)
            return None

    def _rests_on_the_run(self, where: Loc) -> None:
        message = "a rule is proved before the run: it cannot rest on what a step gives"
        self.problem(where, "rule", message, "use inputs, vars and roles")

    def _known_types(self, text: RuleText, at: Loc) -> None:
        for key, uses in (
            ("every", text.every and text.every.uses),
            ("needs_step", text.needs_step and text.needs_step.uses),
            ("then_step", text.then_step and text.then_step.uses),
        ):
            if uses and self.specs.step(uses) is None:
                message, hint = unknown_step_type(uses, self.specs)
                self.problem((*at, key, "uses"), "unknown-step-type", message, hint)

    def _state(self, test: FactTest, where: Loc, because: str) -> Rule | None:
        found = self._fact(test, where)
        if found is None:
            return None
        ref, value = found
        standing = bool(getattr(test, "standing", True))
        return Rule(ref, test.hosts or "", value, because, standing=standing)

    def _owed(self, text: RuleText, where: Loc) -> Duty | None:
        assert text.then_state is not None
        found = self._fact(text.then_state, where)
        if found is None:
            return None
        ref, value = found
        owed = text.then_state
        return Duty(ref, owed.hosts or "", value, text.because, anew=owed.anew)

    def _fact(self, test: FactTest, where: Loc) -> tuple[FactRef, Json] | None:
        if needs_run([dict(test.with_), test.is_]):
            self._rests_on_the_run(where)
            return None
        facts = Facts(self.specs, self.problem)
        ref = facts.ref(test, where, self.names)
        return None if ref is None else (ref, facts.value(test, where, self.names))

    def _services(self, step: Step, unit: Unit, loc: Loc) -> None:
        """What a step says that it rests on: alive from the beginning, and never taken away."""
        known = self.loaded.runbook.services
        for name in step.uses_service:
            service: Service | None = known.get(name)
            if service is None:
                hint = did_you_mean(name, known) or "declare it under `services:`"
                self.problem(loc, "unknown-service", f"there is no service {name!r}", hint)
                continue
            because = f"it needs {name}: {service.because}"
            rule = self._state(service.alive, ("services", name, "alive"), because)
            if rule is not None:
                self._carry(rule, unit, AUTHOR, loc)


def _least(text: int | str, hosts: int) -> int:
    """How many of so many hosts: more than half for a quorum, a share rounded up."""
    if isinstance(text, int):
        return text
    return hosts // 2 + 1 if text == "quorum" else -(-hosts * int(text[:-1]) // 100)


def _named(text: RuleText) -> bool:
    """Whether a rule without `every` says where: it has no step whose hosts could be meant."""
    owed = text.then_state or text.then_step
    return owed is not None and bool(owed.hosts)


def plain(value: object) -> Json:
    """A value as JSON has it: no tuple, no mapping of another kind."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [plain(inner) for inner in value]
    return value  # type: ignore[return-value]


def unknown_step_type(uses: str, specs: Specs) -> tuple[str, str]:
    """What is wrong with a step type that is not there, and the next move."""
    hint = did_you_mean(uses, specs.steps()) or "`drrun steps` lists them"
    return f"there is no step type {uses!r}", hint
