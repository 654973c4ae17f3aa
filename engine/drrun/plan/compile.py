"""Model -> plan: bind roles, render what is known, check every step against its type, prove rules.

Every mistake that can be found is found in one go; each points at its place in the runbook.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from drrun.errors import AuthorError, NotKnownError
from drrun.lang.diagnostics import Diagnostic, fail
from drrun.lang.hosts import resolve
from drrun.lang.load import LoadedRunbook
from drrun.lang.template import needs_run, read_test, render, steps_named
from drrun.lang.template import test as holds
from drrun.lang.template_error import TemplateError
from drrun.model.inventory import Inventory, Target
from drrun.model.runbook import FactTest, Step
from drrun.model.spec import Effects, StepSpec
from drrun.plan.absence import Absence, refused_step
from drrun.plan.bind import Binding
from drrun.plan.demands import Demands, Facts, Specs, plain, unknown_step_type
from drrun.plan.graph import cycle, ring_mistake, waits
from drrun.plan.optional import left_out, spoken_to
from drrun.plan.plan import Check, Need, Plan, PlanStep, Unit
from drrun.plan.planned import planned
from drrun.plan.policies import Said, decided, slips
from drrun.plan.rules import Breach, Runs, guarded_units, prove
from drrun.plan.tolerance import tolerated
from drrun.values import CONTROLLER, HostName, Json, NotKnown, RunId, StepId, UnitId

Loc = tuple[str | int, ...]

_UNSEEN = "use a step type that says what it does, or see to the order by hand"


@dataclass(frozen=True, slots=True)
class Compiled:
    """A plan and what was learnt on the way: states for the graph's proof, warnings for lint."""

    plan: Plan
    warnings: tuple[Diagnostic, ...]


def compile_plan(
    loaded: LoadedRunbook,
    inventory: Inventory,
    binding: Binding,
    specs: Specs,
    *,
    run: RunId,
    versions: Mapping[str, str],
) -> Compiled:
    """The plan. Raises AuthorError with every diagnostic."""
    compiler = _Compiler(loaded, inventory, binding, specs)
    return compiler.plan(run, versions)


@dataclass
class _Compiler:
    loaded: LoadedRunbook
    inventory: Inventory
    binding: Binding
    specs: Specs
    problems: list[Diagnostic] = field(default_factory=list)
    effects: dict[UnitId, Effects] = field(default_factory=dict)
    runs: dict[UnitId, Runs] = field(default_factory=dict)
    steps: dict[StepId, PlanStep] = field(default_factory=dict)
    units: list[Unit] = field(default_factory=list)
    unchecked: set[str] = field(default_factory=set)
    """Steps of which no fact tells afterwards whether they were done."""
    idle: Mapping[str, int] = field(default_factory=dict)
    """Steps that are left out, as their role is empty and may be: id -> place in the runbook."""

    def plan(self, run: RunId, versions: Mapping[str, str]) -> Compiled:
        book = self.loaded.runbook
        self._refuse_cycles()
        self.idle = left_out(book, self.binding.roles, tuple(self.inventory.targets))
        for index, step in enumerate(book.steps):
            if step.id not in self.idle:
                self._step(index, step)
        self._prove()
        self._refuse_skipped()
        if self.problems:
            fail(self.problems)
        hosts = spoken_to(self.units, self.steps) | self.absence.gone
        some = [unit for unit in self.units if self.runs[unit.id] is not Runs.NEVER]
        silent = hosts - spoken_to(some, self.steps) - self.absence.gone
        plan = Plan(
            run=run,
            name=book.name,
            title=book.title,
            runbook=str(self.loaded.path),
            runbook_digest=self.loaded.digest,
            inventory=self.inventory.path,
            inventory_name=self.inventory.name,
            inputs=self.binding.inputs,
            files=self.binding.files,
            vars={k: plain(v) for k, v in self.inventory.vars.items()},
            roles=self.binding.roles,
            targets={n: t for n, t in self._targets().items() if n in hosts},
            steps=tuple(self.steps.values()),
            units=tuple(self.units),
            objectives={k: v for k, v in book.objectives.model_dump().items() if v is not None},
            versions=versions,
            whole_roles=self.binding.whole_roles,
            fenced=self.binding.fenced,
            unasked=tuple(sorted(silent)),
        )
        return Compiled(plan, tuple(self._cautions()))

    def _prove(self) -> None:
        """Bind what is demanded to the units, and prove it where the runbook makes sense at all."""
        inventory = tuple(self.inventory.targets)
        demands = Demands(
            self.loaded,
            self.binding.whole_roles,
            inventory,
            self.binding.names(self._targets(), None),
            self.specs,
            self._problem,
            self.absence,
        )
        for index, step in enumerate(self.loaded.runbook.steps):
            if step.keep is not None and step.id in self.steps:
                kept = demands.keep(step.keep, ("steps", index, "keep"))
                self.steps[StepId(step.id)] = replace(self.steps[StepId(step.id)], keep=kept)
        carried = demands.gather(self.units, self.steps, self.effects)
        if self.problems:
            return
        proved = prove(self.units, self.steps, self.effects, self.runs, carried)
        self.problems += [self._breach(breach) for breach in proved.breaches]
        self.units = list(guarded_units(self.units, proved))

    def _cautions(self) -> Sequence[Diagnostic]:
        """What no rule can see, at the steps that do it."""
        return [
            replace(
                self.loaded.diagnostic(("steps", index, "uses"), "unseen", text, _UNSEEN),
                severity="warning",
            )
            for index, step in enumerate(self.loaded.runbook.steps)
            for text in dict.fromkeys(
                text
                for unit in self.units
                if unit.step == step.id
                for text in self.effects[unit.id].cautions
            )
        ]

    @property
    def absence(self) -> Absence:
        """Who is fenced."""
        return Absence(self.binding, tuple(self.inventory.targets))

    def _targets(self) -> Mapping[HostName, Target]:
        here = Target(name=CONTROLLER, address="localhost", become="none")
        return {**self.inventory.targets, CONTROLLER: here}

    def _problem(self, loc: Loc, code: str, message: str, hint: str = "") -> None:
        self.problems.append(self.loaded.diagnostic(loc, code, message, hint))

    def _refuse_cycles(self) -> None:
        steps = self.loaded.runbook.steps
        order = {step.id: index for index, step in enumerate(steps)}
        needs = {s.id: [need.step for need in s.needs] for s in steps if s.needs is not None}
        if all(order[b] < order[step] for step, before in needs.items() for b in before):
            return  # each step needs earlier ones only: no ring, and no graph to load for it
        ring = cycle(waits((step.id, needs.get(step.id), step.always) for step in steps))
        if ring:
            index = next(order[step] for step in ring if step in needs)
            self._problem(("steps", index, "needs"), "cycle", *ring_mistake(ring))
            fail(self.problems)

    def _refuse_skipped(self) -> None:
        """No step that runs may need what one gives that this plan skips."""
        skipped = {unit.step for unit in self.units} - {
            unit.step for unit in self.units if self.runs[unit.id] is not Runs.NEVER
        }
        skipped |= {StepId(step) for step in self.idle}
        for index, step in enumerate(self.loaded.runbook.steps):
            for key, value in (("with", step.with_), ("when", f"{{{{ {step.when} }}}}")):
                for needed in (
                    sorted(steps_named(value) & skipped) if step.id not in skipped else ()
                ):
                    why = (
                        "its role is empty" if needed in self.idle else f"its `when` skips {needed}"
                    )
                    message = f"{step.id} needs what {needed} gives, and {why}"
                    self._problem(("steps", index, key), "skipped-step", message)

    def _step(self, index: int, step: Step) -> None:
        at: Loc = ("steps", index)
        spec = self.specs.step(step.uses)
        if spec is None:
            message, hint = unknown_step_type(step.uses, self.specs)
            self._problem((*at, "uses"), "unknown-step-type", message, hint)
            return
        hosts = self._hosts(step.hosts, (*at, "hosts"), step.when)
        if hosts is None:
            return
        policy = step.on_unreachable or self.loaded.runbook.on_unreachable
        cut = self.absence.of_step(step.hosts)
        if wrong := refused_step(step.id, cut, policy):
            self._problem((*at, "hosts"), "fenced", *wrong)
        line = self.loaded.diagnostic(at, "", "").line
        spared = self._tolerated(step, spec, len(hosts), (*at, "tolerate"))
        plan_step = planned(
            step, spec, hosts, line, on_unreachable=policy, fenced=cut, tolerate=spared
        )
        self.steps[plan_step.id] = plan_step
        groups = [hosts] if spec.kind == "group" else [(host,) for host in hosts]
        width = (1 if step.order == "serial" else step.batch) if spec.kind == "host" else None
        for place, members in enumerate(groups):
            before = groups[place - width][0] if width and place >= width else None
            self.units.append(self._unit(index, step, spec, members, before))
        checkable = step.id not in self.unchecked
        self._policies(at, step, spec, checkable=checkable)
        lost = decided(step.on_unknown, plan_step.repeat, checkable=checkable)
        self.steps[plan_step.id] = dataclasses.replace(plan_step, on_unknown=lost)

    def _tolerated(self, step: Step, spec: StepSpec, hosts: int, loc: Loc) -> int:
        try:
            return tolerated(step, spec, hosts, self.binding.names(self._targets(), None))
        except ValueError as error:
            self._problem(loc, "tolerate", str(error))
            return 0

    def _policies(self, at: Loc, step: Step, spec: StepSpec, *, checkable: bool) -> None:
        said = Said(step.repeat or "", step.on_unknown or "", step.retries is not None)
        for slip in slips(said, spec, checkable=checkable):
            self._problem((*at, slip.field), slip.code, slip.message, slip.hint)

    def _hosts(self, text: str, loc: Loc, when: str | None = None) -> tuple[HostName, ...] | None:
        if text == CONTROLLER:
            return (CONTROLLER,)
        try:
            hosts = resolve(text, self.binding.roles, tuple(self.inventory.targets))
        except AuthorError as error:
            self._problem(loc, "hosts", error.message, error.hint)
            return None
        present = self.absence.present(hosts)
        if not present:
            message, hint = f"`{text}` names no host of {self.inventory.name}", ""
            if hosts or self.absence.of_step(text):
                message = f"every host of `{text}` is fenced: nobody is left to act on"
                hint = f"where `when: {when}` does not hold, no --fenced is needed" if when else ""
            self._problem(loc, "no-hosts", message, hint)
            return None
        return present

    def _unit(
        self,
        index: int,
        step: Step,
        spec: StepSpec,
        hosts: tuple[HostName, ...],
        previous: HostName | None,
    ) -> Unit:
        at: Loc = ("steps", index)
        host = hosts[0] if spec.kind == "host" else None
        names = self.binding.names(self._targets(), host)
        params, still_open = self._params((*at, "with"), step.with_, names)
        trusted = {**params, **{n: NotKnown(f"{n}: {text}") for n, text in still_open.items()}}
        effects = Effects()
        problems = spec.check(trusted)
        if problems:
            for problem in problems:
                self._problem((*at, "with", *problem.where), "with", problem.message)
        else:
            effects = self._effects(spec, trusted, (*at, "with"))
            if not effects.checkable:
                self.unchecked.add(step.id)
        unit_id = UnitId(f"{step.id}@{host}" if host is not None else step.id)
        self.effects[unit_id] = effects
        self.runs[unit_id] = _runs(step.when, names)
        return Unit(
            id=unit_id,
            step=StepId(step.id),
            hosts=hosts,
            params=params,
            open=still_open,
            needs=self._needs(index, step, hosts, previous),
            requires=self._checks((*at, "requires"), step.requires, hosts, names),
            ensures=self._checks((*at, "ensures"), step.ensures, hosts, names),
        )

    def _effects(self, spec: StepSpec, fields: Mapping[str, object], at: Loc) -> Effects:
        try:
            return spec.effects(fields)
        except AuthorError as error:
            self._problem(at, "rule-unknown", error.message, error.hint)
            return Effects()

    def _params(
        self, at: Loc, values: Mapping[str, object], names: Mapping[str, Any]
    ) -> tuple[dict[str, Json], dict[str, Json]]:
        params: dict[str, Json] = {}
        still_open: dict[str, Json] = {}
        for name, value in values.items():
            if needs_run({name: value}):
                still_open[name] = value  # type: ignore[assignment]
                continue
            try:
                params[name] = render({name: value}, names)[name]  # type: ignore[index]
            except TemplateError as error:
                self._problem((*at, *error.where), error.code, error.message, error.hint)
                still_open[name] = ""
        return params, still_open

    def _needs(
        self, index: int, step: Step, hosts: tuple[HostName, ...], previous: HostName | None
    ) -> tuple[Need, ...]:
        needs: list[Need] = []
        if previous is not None:
            needs.append(Need(StepId(step.id), "serial", previous))
        for need in step.needs if step.needs is not None else ():
            if need.step in self.idle:
                place = self.idle[need.step]
                needs += self._needs(place, self.loaded.runbook.steps[place], (), None)
            elif need.per == "host" and hosts and need.step in self.steps:
                there = self.steps[StepId(need.step)].hosts
                needs += [
                    Need(StepId(need.step), "needs", host, need.outcome)
                    for host in hosts
                    if host in there
                ]
            else:
                needs.append(Need(StepId(need.step), "needs", None, need.outcome))
        if step.needs is None:
            needs += [Need(before, "order") for before in self._frontier(index, always=step.always)]
        return tuple(needs)

    def _frontier(self, index: int, *, always: bool) -> list[StepId]:
        """Earlier steps that no later earlier step waits for as a whole: enough to wait for all."""
        earlier = [
            StepId(step.id)
            for step in self.loaded.runbook.steps[:index]
            if step.id in self.steps and (always or not step.always)
        ]
        covered = {
            need.step
            for unit in self.units
            if unit.step in earlier
            for need in unit.needs
            if need.host is None and need.outcome == "ok"
        }
        return [step for step in earlier if step not in covered]

    def _checks(
        self,
        at: Loc,
        tests: Sequence[FactTest],
        own: tuple[HostName, ...],
        names: Mapping[str, Any],
    ) -> tuple[Check, ...]:
        checks = []
        facts = Facts(self.specs, self._problem)
        for number, test in enumerate(tests):
            where: Loc = (*at, number)
            if self.specs.fact(test.fact) is None:
                facts.ref(test, where, names)
                continue
            hosts = own if test.hosts is None else self._hosts(test.hosts, (*where, "hosts")) or ()
            value: Any = {"args": dict(test.with_), "is": test.is_}
            if not needs_run(value):
                ref = facts.ref(test, where, names)
                value = {"args": ref.args if ref else {}, "is": facts.value(test, where, names)}
            checks.append(Check(test.fact, value["args"], value["is"], hosts, test.within or 0.0))
        return tuple(checks)

    def _breach(self, breach: Breach) -> Diagnostic:
        steps = enumerate(self.loaded.runbook.steps)
        mine = next((index for index, step in steps if step.id == breach.step), None)
        return self.loaded.diagnostic(
            breach.place if mine is None else ("steps", mine, "uses"),
            "rule",
            breach.message,
            f"{breach.because} (rule of {breach.by})",
        )


def _runs(when: str | None, names: Mapping[str, Any]) -> Runs:
    """What a `when` comes to, where it rests on what is known before the run."""
    if when is None:
        return Runs.SURELY
    try:
        if any(name.partition(".")[0] == "steps" for name in read_test(when).names):
            return Runs.MAYBE
        return Runs.SURELY if holds(when, names) else Runs.NEVER
    except (TemplateError, NotKnownError):
        return Runs.MAYBE
