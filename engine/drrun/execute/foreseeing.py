"""Asking, before anything is taken away, what the outage will wait for.

Every step type says what it rests on later (`Step.questions`). All of it is asked once, on the state
of now, before the first change that takes something away: a wrong answer costs nothing then.
Rule 1: what is down is not asked, and refuses nothing: most recoveries begin when all is down.
Rule 2: a wrong answer refuses, unless it was accepted by its name. Once something was taken away, it
is told and refuses nothing any more: to stop half-way would make the outage longer.
Rule 3: fenced hosts, and hosts that may be left out, are not asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from drrun.errors import DrrunError, NotKnownError, Refused, StepFailed
from drrun.execute.asking import short
from drrun.execute.view import as_predicate
from drrun.lang.template import render, test
from drrun.model.rule import FactRef
from drrun.model.runbook import ACCEPT_ANSWERS
from drrun.plan.plan import Plan, Unit
from drrun.spi import Fact, Question, Step
from drrun.values import Effect, HostName, Json, NotKnown, StepId, UnitId

Standing = Literal["good", "bad", "down", "accepted", "told"]
"""`told`: wrong, and not refused: a step that may fail, or an outage that has begun already."""


@dataclass(frozen=True, slots=True)
class Foreseen:
    """One question of one host, and what it said."""

    name: str
    host: HostName
    steps: tuple[StepId, ...]
    standing: Standing
    fact: str
    found: str
    """The answer in a line; empty where it was not asked."""
    must: str
    because: str
    hint: str = ""

    @property
    def word(self) -> str:
        """What accepts it."""
        return f"{self.name}@{self.host}"


class Reader(Protocol):
    """Asks a host."""

    def __call__(self, host: HostName, facts: Sequence[Fact[Any]]) -> list[Json] | None:
        """The answers as JSON; None when nobody is asked. Raises StepFailed on one that makes no sense."""
        ...


class Makes(Protocol):
    """Makes configured steps, and facts by name."""

    def make_fact(self, name: str, args: Mapping[str, object]) -> Fact[Any]:
        """A fact with its arguments. Raises AuthorError."""
        ...

    def make_step(self, uses: str, fields: Mapping[str, object]) -> Step:
        """A configured step. Raises AuthorError."""
        ...


@dataclass(slots=True)
class _Wanted:
    question: Question
    steps: list[StepId]
    binding: bool


@dataclass(slots=True)
class Foresight:
    """Gathers the questions of a plan's units, asks them, and rules on the answers."""

    plan: Plan
    catalog: Makes
    names: Callable[[Unit], Mapping[str, Any]]
    """What a unit's templates may name now."""
    gone: frozenset[HostName] = frozenset()
    """Hosts that nobody asks: fenced, left out, or not connected to."""
    begun: bool = False
    """Whether something was taken away in this run already."""
    again: Callable[[HostName, Fact[Any], Callable[[Any], bool]], Any] | None = None
    """Asks once more, for a while, what was wrong at first; None: one answer is enough."""
    known: Callable[[HostName, Fact[Any]], tuple[bool, Any]] = lambda _host, _fact: (False, None)
    """In a dry-run: whether a change before this one says what the fact will be, and what; else it is asked."""
    _made: dict[UnitId, Step] = field(default_factory=dict)

    def takes_away(self, unit: Unit) -> bool:
        """Whether the outage begins with this unit."""
        step = self.plan.step_of[unit.step]
        if step.effect is Effect.READ:
            return False
        try:
            made = self._step(unit)
            return made is not None and made.takes_away()
        except (NotKnownError, TypeError):  # what it does is known only when it runs
            return True

    def ask(self, units: Iterable[Unit], reader: Reader) -> tuple[Foreseen, ...]:
        """Every question of these units, each once a host. Raises ConnectError's kinds."""
        wanted: dict[tuple[HostName, str, str], _Wanted] = {}
        for unit in units:
            for host, question in self._of(unit):
                key = (host, question.fact.key, question.name)
                one = wanted.setdefault(key, _Wanted(question, [], binding=False))
                if unit.step not in one.steps:
                    one.steps.append(unit.step)
                one.binding = one.binding or self._binds(unit)
        hosts = [host for host in self.plan.targets if any(at == host for at, _, _ in wanted)]

        def answers(host: HostName) -> list[Foreseen]:
            mine = [one for (at, _, _), one in wanted.items() if at == host]
            return list(self._answers(host, mine, reader))

        with ThreadPoolExecutor(max_workers=min(len(hosts), 8) or 1) as pool:
            return tuple(one for found in pool.map(answers, hosts) for one in found)

    def _of(self, unit: Unit) -> Iterator[tuple[HostName, Question]]:
        step = self.plan.step_of[unit.step]
        if step.when is not None:
            with suppress(DrrunError):
                if not test(step.when, self.names(unit)):
                    return
        made = self._step(unit)
        for host in unit.hosts:
            if made is None or host in self.gone:
                continue
            with suppress(NotKnownError, TypeError):
                yield from ((host, one) for one in made.questions(self.plan.targets[host]))

    def _step(self, unit: Unit) -> Step | None:
        """The unit's step, with holes where only a run can fill them; None for one that cannot be made."""
        if unit.id not in self._made:
            names = self.names(unit)
            later = {n: _rendered(text, names, f"{unit.id}.{n}") for n, text in unit.open.items()}
            fields = {**unit.params, **later}
            try:
                self._made[unit.id] = self.catalog.make_step(
                    self.plan.step_of[unit.step].uses, fields
                )
            except DrrunError:
                return None
        return self._made[unit.id]

    def _binds(self, unit: Unit) -> bool:
        """Whether the run stops when this unit fails."""
        step = self.plan.step_of[unit.step]
        return step.on_failure != "continue" and not step.tolerate

    def _answers(
        self, host: HostName, wanted: Sequence[_Wanted], reader: Reader
    ) -> Iterator[Foreseen]:
        conditions = {
            id(one): [(self._fact(fact), value) for fact, value in one.question.up]
            for one in wanted
        }
        up = {fact.key: fact for pairs in conditions.values() for fact, _ in pairs}
        said = dict(zip(up, _each(reader, host, list(up.values())), strict=True))
        asked = [
            one
            for one in wanted
            if all(
                _good(as_predicate(value), said[fact.key]) for fact, value in conditions[id(one)]
            )
        ]
        answers = dict(
            zip(
                (id(one) for one in asked),
                self._read(reader, host, asked),
                strict=True,
            )
        )
        for one in wanted:
            if id(one) in answers:
                yield self._judged(host, one, answers[id(one)])
            else:
                yield _foreseen(host, one, "down", "")

    def _read(self, reader: Reader, host: HostName, asked: Sequence[_Wanted]) -> list[Any]:
        """The answers: of what an earlier step may put right, by its word where it has one; else the host's."""
        facts = [one.question.fact for one in asked]
        spoken = [
            self.known(host, one.question.fact) if one.question.mended else (False, None)
            for one in asked
        ]
        fresh = iter(
            _each(
                reader, host, [f for f, (there, _) in zip(facts, spoken, strict=True) if not there]
            )
        )
        return [value if there else next(fresh) for there, value in spoken]

    def _fact(self, fact: Fact[Any] | FactRef) -> Fact[Any]:
        return self.catalog.make_fact(fact.name, fact.args) if isinstance(fact, FactRef) else fact

    def _judged(self, host: HostName, one: _Wanted, answer: Any) -> Foreseen:
        fact, must = one.question.fact, as_predicate(one.question.must)
        if isinstance(answer, NotKnown):
            return _foreseen(host, one, "down", "")
        if self.again is not None and not _good(must, answer):
            with suppress(StepFailed):
                answer = self.again(host, fact, must.holds)
        if _good(must, answer):
            return _foreseen(host, one, "good", short(_line(fact, answer)))
        text = answer.message if isinstance(answer, StepFailed) else str(short(_line(fact, answer)))
        accepted = f"{one.question.name}@{host}" in accepted_of(self.plan)
        standing: Standing = "accepted" if accepted else "bad"
        if not accepted and (self.begun or not one.binding):
            standing = "told"
        return _foreseen(host, one, standing, text)


def accepted_of(plan: Plan) -> frozenset[str]:
    """The answers that the operator accepted by name."""
    said = str(plan.inputs.get(ACCEPT_ANSWERS, ""))
    return frozenset(word for word in (part.strip() for part in said.split(",")) if word)


def refusal(found: Sequence[Foreseen]) -> Refused | None:
    """The refusal of a run whose outage would wait in vain; None where nothing forbids it."""
    bad = [one for one in found if one.standing == "bad"]
    if not bad:
        return None
    told = "; ".join(f"{one.host}: {one.found}, must be {one.must}: {one.because}" for one in bad)
    hints = list(dict.fromkeys(one.hint for one in bad if one.hint))
    words = ",".join(one.word for one in bad)
    return Refused(
        f"nothing was stopped: {len(bad)} of the things that the outage would wait for are not as they "
        f"must be: {told}",
        hint="\n".join(
            [*hints, f"to go on nevertheless: -e {ACCEPT_ANSWERS}={words}, in a new run"]
        ),
    )


def sums(found: Sequence[Foreseen]) -> str:
    """How it stands, in a line."""
    count = {
        kind: sum(one.standing == kind for one in found)
        for kind in ("good", "bad", "accepted", "told", "down")
    }
    words = {
        "good": "as it must be",
        "bad": "wrong",
        "accepted": "wrong, and accepted",
        "told": "wrong, and not in the way",
        "down": "not asked: down",
    }
    return ", ".join(f"{number} {words[kind]}" for kind, number in count.items() if number)


def _each(reader: Reader, host: HostName, facts: Sequence[Fact[Any]]) -> list[Any]:
    """The answers, typed; a question that cannot be asked has its error as the answer."""
    if not facts:
        return []
    try:
        answers = reader(host, facts)
    except StepFailed as error:
        if len(facts) == 1:
            return [error]
        return [one for fact in facts for one in _each(reader, host, [fact])]
    if answers is None:
        return [NotKnown("asking the host (offline)") for _ in facts]
    return [
        fact.answers.validate_python(answer) for fact, answer in zip(facts, answers, strict=True)
    ]


def _good(must: Any, answer: Any) -> bool:
    return not isinstance(answer, NotKnown | StepFailed) and bool(must.holds(answer))


def _line(fact: Fact[Any], answer: Any) -> Json:
    if isinstance(answer, StepFailed):
        return answer.message
    plain: Json = fact.answers.dump_python(answer, mode="json")
    if isinstance(plain, Mapping) and plain.get("why"):
        return str(plain["why"])
    return plain


def _foreseen(host: HostName, one: _Wanted, standing: Standing, found: str) -> Foreseen:
    question = one.question
    return Foreseen(
        question.name,
        host,
        tuple(one.steps),
        standing,
        question.fact.key,
        found,
        as_predicate(question.must).text,
        question.because,
        question.hint,
    )


def _rendered(text: Json, names: Mapping[str, Any], origin: str) -> object:
    try:
        return render(text, names)
    except (DrrunError, NotKnownError):
        return NotKnown(origin)
