"""One unit from its first question to its outputs: the same code in every mode.

Order: `when`, the step's own fields, guards, requires, the step, ensures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from drrun.errors import Refused
from drrun.execute.asking import ask_all
from drrun.execute.hosts import Hosts
from drrun.execute.view import GroupView, HostView, Session, as_predicate
from drrun.lang.template import render, test
from drrun.model.rule import STEP_DONE
from drrun.model.spec import StepSpec
from drrun.plan.bind import template_names
from drrun.plan.plan import Check, Guard, Plan, PlanStep, Unit
from drrun.plan.rules import done_words
from drrun.spi import Done, Fact, GroupStep, HostStep, Outputs, Step
from drrun.values import HostName, NotKnown, UnitId


class Catalog(Protocol):
    """Step types and facts by name, as classes."""

    def step(self, uses: str) -> StepSpec | None:
        """What is known of a step type without making one; None for one that there is not."""
        ...

    def make_step(self, uses: str, fields: Mapping[str, object]) -> Step:
        """A configured step. Raises AuthorError."""
        ...

    def make_fact(self, name: str, args: Mapping[str, object]) -> Fact[Any]:
        """A fact with its arguments. Raises AuthorError."""
        ...


@dataclass(frozen=True, slots=True)
class Skip:
    """The unit's `when` is false."""

    why: str


def names_for(
    plan: Plan, unit: Unit, outputs: Mapping[str, Mapping[str, object]]
) -> dict[str, Any]:
    """What the unit's templates may name."""
    alone = plan.step_of[unit.step].kind == "host"
    target = plan.targets[unit.hosts[0]] if alone else None
    names = template_names(plan.inputs, plan.roles, plan.vars, target)
    return {**names, "run": {"id": plan.run, "name": plan.name}, "steps": outputs}


@dataclass(slots=True)
class Performance:
    """A unit, on its stage."""

    plan: Plan
    unit: Unit
    catalog: Catalog
    session: Session
    names: Mapping[str, Any]
    done: Callable[[UnitId], bool]
    """Whether a unit was done in this run: neither skipped nor failed."""
    undoing: bool = False
    turn: Callable[[], AbstractContextManager[None]] = nullcontext
    """Entered before anything of a unit that runs; refuses a turn that `keep` forbids."""
    fenced: frozenset[HostName] = frozenset()
    """Hosts that were fenced since the plan was made."""

    @property
    def step(self) -> PlanStep:
        """The unit's step."""
        return self.plan.step_of[self.unit.step]

    def run(self) -> Outputs | Skip:
        """Perform it. Raises the step's own errors."""
        if self.step.when is not None and not test(self.step.when, self.names):
            return Skip(f"when: {self.step.when}")
        with self.turn():
            return self._run()

    def _run(self) -> Outputs:
        made = self._made()
        self.check_guards()
        for check in self.unit.requires:
            self._check(check, "the step requires it")
        outputs = made.run(self._host()) if isinstance(made, HostStep) else None
        if isinstance(made, GroupStep):
            outputs = made.run(self._group())
        for check in self.unit.ensures:
            self._check(check, "the step must ensure it")
        return outputs or {}

    def undo(self, done: Done) -> bool:
        """Undo what was done; False when this step type cannot."""
        with self.turn():
            return self._undo(done)

    def _undo(self, done: Done) -> bool:
        made = self._made()
        self.check_guards()
        try:
            if isinstance(made, HostStep):
                made.undo(self._host(), done)
            elif isinstance(made, GroupStep):
                made.undo(self._group(), done)
        except NotImplementedError:
            return False
        return True

    @property
    def guards(self) -> Sequence[Guard]:
        """The guards of this way: an undo is not bound by what orders the way forward."""
        return [guard for guard in self.unit.guards if guard.undo or not self.undoing]

    def check_guards(self) -> None:
        """Read every guard on every host of its role (hazard H5). Raises Refused."""
        for guard in self.guards:
            if guard.fact.name == STEP_DONE:
                self._must_be_done(guard)
                continue
            fact = self.catalog.make_fact(guard.fact.name, guard.fact.args)
            self._counted(guard, fact)
            want = fact.answers.validate_python(guard.value)
            answers = self.session.read_all(guard.hosts, fact)
            known = {host: a for host, a in answers.items() if not isinstance(a, NotKnown)}
            hold = {host for host, answer in known.items() if answer == want}
            if guard.some and hold:
                continue
            broken_at = [host for host in known if host not in hold]
            if broken_at and not (guard.some and len(known) < len(answers)):
                raise broken(guard, broken_at[0], known[broken_at[0]])
            for host in answers:
                if host not in known:
                    self.session.unchecked(f"{fact.key} on {host} must be {guard.value}")

    def _must_be_done(self, guard: Guard) -> None:
        """The run's own word: what was skipped, left out or failed was not done."""
        done = {
            host
            for unit in guard.by
            if unit in self.plan.unit_of and self.done(unit)
            for host in self.plan.unit_of[unit].hosts
        }
        present = self._present(guard)
        missing = [host for host in present if host not in done]
        if missing and not (guard.some and len(missing) < len(present)):
            raise Refused(
                f"{done_words(guard.fact)} was not done on {missing[0]} in this run: "
                f"{guard.because}",
                hint="what is skipped or left out proves nothing: run the runbook as a whole",
            )

    def prove_guards(self, hosts: Hosts) -> Callable[[], None]:
        """A check of the guards straight on the hosts, for the moment before a change is sent.

        It takes no ordinal: how often it runs depends on what the journal held.
        """
        facts = [
            (guard, self.catalog.make_fact(guard.fact.name, guard.fact.args))
            for guard in self.guards
            if guard.fact.name != STEP_DONE
        ]

        def prove() -> None:
            for guard in self.guards:
                if guard.fact.name == STEP_DONE:
                    self._must_be_done(guard)
            for guard, fact in facts:
                self._counted(guard, fact)
            asked = ask_all(hosts, [(self._present(guard), fact) for guard, fact in facts])
            for (guard, _), answers in zip(facts, asked, strict=True):
                wrong = [host for host, answer in answers.items() if answer != guard.value]
                if wrong and not (guard.some and len(wrong) < len(answers)):
                    raise broken(guard, wrong[0], answers[wrong[0]])

        return prove

    def _counted(self, guard: Guard, fact: Fact[Any]) -> None:
        """Fenced hosts count by the operator's word. Raises Refused where that says nothing."""
        cut = [host for host in guard.hosts if host in self.fenced]
        if cut and not (guard.some or guard.present) and fact.when_fenced != guard.value:
            raise Refused(
                f"{cut[0]} is fenced, and {fact.key} must be {guard.value} there: {guard.because}",
                hint="bring that host back: that it is off says nothing of this",
            )

    def _present(self, guard: Guard) -> tuple[HostName, ...]:
        return tuple(host for host in guard.hosts if host not in self.fenced)

    def _check(self, check: Check, why: str) -> None:
        args = render(dict(check.args), self.names)
        value = render(check.value, self.names)
        assert isinstance(args, dict)
        fact = self.catalog.make_fact(check.fact, args)
        must = as_predicate(fact.answers.validate_python(value))
        for host in check.hosts:
            if host in self.fenced:
                self.session.pass_over()
                continue
            self.session.require(host, fact, must, because=why, hint="", within=check.within)

    def _made(self) -> Step:
        rendered = render(dict(self.unit.open), self.names)
        assert isinstance(rendered, dict)
        return self.catalog.make_step(self.step.uses, {**self.unit.params, **rendered})

    def _host(self) -> HostView:
        target = self.plan.targets[self.unit.hosts[0]]
        return HostView(self.session, target, self.plan.run, self.step.id)

    def _group(self) -> GroupView:
        return GroupView(self.session, self.plan, self.unit, self.fenced)


def broken(guard: Guard, host: HostName, answer: object) -> Refused:
    """The refusal of a unit whose guard does not hold."""
    return Refused(
        f"{host}: {guard.fact.key} is {answer}, must be {guard.value}: {guard.because}",
        hint="make it so on that host, then `drrun resume`",
    )
