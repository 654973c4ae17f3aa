"""A unit's session in a run: replay what the journal holds, then ask and act for real."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drrun.errors import Refused, StepFailed, Waiting
from drrun.execute.asking import ask_each, ask_facts, short, until
from drrun.execute.changing import Changer
from drrun.execute.copying import FileSum, Incoming, receive, send, sha256_of
from drrun.execute.means import Means
from drrun.execute.owed import missing, written
from drrun.execute.past import Past, PastChange
from drrun.execute.printed import reply_of
from drrun.execute.view import Change, Copy, Owed, decoded, encoded
from drrun.journal.events import Answered, Measured, Noted
from drrun.ports import Question
from drrun.spi import Fact, Predicate, argv
from drrun.values import Digest, HostName, Json, digest

LEFT_OPEN = "left-open"
"""The kind of the first answer of an attempt that takes up what an earlier one left open."""


@dataclass(slots=True)
class LiveSession:
    """`drrun.execute.view.Session` for real."""

    means: Means
    changer: Changer
    past: Past
    fenced: frozenset[HostName] = frozenset()
    """Hosts that were fenced since the plan was made: nobody asks them, nor waits for them."""
    changed: bool = False
    unproved: list[Mapping[str, Json]] = field(default_factory=list)
    """What an undo could not prove yet, as the journal holds it."""
    _left: dict[Digest, PastChange] = field(default_factory=dict)
    _ordinal: int = 0
    _names: set[tuple[HostName, str]] = field(default_factory=set)

    # --- asking ------------------------------------------------------------------------------

    def read(self, host: HostName, facts: Sequence[Fact[Any]]) -> list[Any]:
        """Ask the host, or replay its answers."""
        name = ", ".join(fact.key for fact in facts)
        answers = self._answer(
            "read",
            name,
            [host, *(fact.key for fact in facts)],
            lambda: {str(i): a for i, a in enumerate(self._ask(host, facts))},
        )
        return [decoded(fact, answers[str(i)]) for i, fact in enumerate(facts)]

    def read_all(self, hosts: Sequence[HostName], fact: Fact[Any]) -> Mapping[HostName, Any]:
        """Ask many hosts at once; the question stays the same when one of them is fenced."""
        present = [host for host in hosts if host not in self.fenced]
        answers = self._answer(
            "read",
            fact.key,
            [fact.key, *hosts],
            lambda: {str(h): a for h, a in ask_each(self.means.hosts, present, fact).items()},
        )
        return {host: decoded(fact, answers[host]) for host in present if host in answers}

    def pass_over(self) -> None:
        """A question to a fenced host: not asked, and those after it keep their ordinals."""
        self._ordinal += 1

    def require(
        self,
        host: HostName,
        fact: Fact[Any],
        must: Predicate,
        *,
        because: str,
        hint: str,
        within: float,
        hopeless: Fact[str] | None = None,
    ) -> Any:
        """Ask until it holds, or until `within` has passed."""

        def ask() -> dict[str, Json]:
            value = until(
                self.means.hosts.line(host),
                fact,
                must.holds,
                within=self.changer.within(within),
                clock=self.means.clock,
                stop=self.means.stop,
                hopeless=hopeless,
            )
            return {host: encoded(fact, value)}

        answer = self._answer("require", fact.key, [host, fact.key, must.text], ask)[host]
        value = decoded(fact, answer)
        if must.holds(value):
            return value
        kind = StepFailed if self.changed else Refused
        waited = f" (waited {within:.0f} s)" if within else ""
        raise kind(
            f"{host}: {short(fact.key)} is {short(answer)}, must be {must.text}{waited}: {because}",
            hint=hint,
        )

    def expect(self, host: HostName, owed: Owed, *, within: float) -> None:
        """Wait for it; what is not so yet is kept, and asked again when all is undone."""
        if not self.changer.undo:
            raise AssertionError(f"{self.changer.unit.id} expects {owed.fact.key} in no undo")

        def ask() -> dict[str, Json]:
            if not within:
                return {"found": f"{host}: {short(owed.fact.key)} is asked when all is back"}
            return {"found": missing(self.means, host, owed, within=self.changer.within(within))}

        asked = [host, owed.fact.key, encoded(owed.fact, owed.must)]
        found = self._answer("expect", owed.fact.key, asked, ask)["found"]
        if found:
            self.unproved.append(written(host, owed, str(found)))

    def choose(
        self,
        hosts: Sequence[HostName],
        name: str,
        fact: Fact[Any],
        fits: Predicate,
        prefer: Fact[Any] | None,
    ) -> HostName:
        """The first fitting host, preferred ones first; the choice is journaled."""

        def ask() -> dict[str, Json]:
            fitting = [h for h, v in self._ask_each(hosts, fact).items() if fits.holds(v)]
            if prefer is not None and fitting:
                liked = self._ask_each(fitting, prefer)
                fitting.sort(key=lambda host: not liked[host])
            return {"host": fitting[0] if fitting else None}

        chosen = self._answer("choose", name, [name, fact.key, fits.text, *hosts], ask)["host"]
        if chosen is None:
            raise Refused(f"no host fits {name}: {fact.key} must be {fits.text}")
        return HostName(str(chosen))

    def ask(self, host: HostName, question: str, expect: str) -> str:
        """Ask the operator; without one the run waits."""
        del host

        def ask() -> dict[str, Json]:
            prompt = self.means.prompt
            if not prompt.present:
                raise Waiting(
                    f"{self.changer.unit.id} asks: {question}",
                    hint="run `drrun resume` on a terminal to answer",
                )
            return {"said": prompt.ask(Question(question, expect=expect)), "by": prompt.who}

        return str(self._answer("ask", question, [question, expect], ask)["said"])

    def note(self, text: str) -> None:
        """Journal a line for people, once."""
        self._once("note", text, lambda: Noted(unit=self.changer.unit.id, text=text))

    def measure(self, name: str, value: float) -> None:
        """Journal a figure, once."""
        self._once(
            "measure", name, lambda: Measured(unit=self.changer.unit.id, name=name, value=value)
        )

    def _once(self, kind: str, name: str, event: Callable[[], Noted | Measured]) -> None:
        def record() -> dict[str, Json]:
            self.means.recorder.record(event())
            return {}

        self._answer(kind, name, [name], record)

    def _answer(
        self, kind: str, name: str, question: Json, ask: Callable[[], dict[str, Json]]
    ) -> Mapping[str, Json]:
        """One ordinal: replayed when the journal holds it, asked and journaled otherwise."""
        self._ordinal += 1
        asked = digest([kind, question])
        past = self.past.answers(self._ordinal, kind, name, asked)
        if past is not None:
            return past
        answers = ask()
        self._record_answer(kind, name, asked, answers)
        return answers

    def _record_answer(
        self, kind: str, name: str, asked: Digest, answers: Mapping[str, Json]
    ) -> None:
        self.means.recorder.record(
            Answered(
                unit=self.changer.unit.id,
                attempt=self.changer.attempt,
                ordinal=self._ordinal,
                kind=kind,
                name=name,
                asked=asked,
                answers=answers,
                undo=self.changer.undo,
            )
        )

    def _ask(self, host: HostName, facts: Sequence[Fact[Any]]) -> list[Json]:
        return ask_facts(self.means.hosts.line(host), facts)

    def _ask_each(self, hosts: Sequence[HostName], fact: Fact[Any]) -> dict[HostName, Any]:
        answers = ask_each(self.means.hosts, hosts, fact)
        return {host: decoded(fact, answer) for host, answer in answers.items()}

    def unchecked(self, what: str) -> None:
        """A run checks everything: nothing is left open."""
        raise AssertionError(what)

    # --- changing ----------------------------------------------------------------------------

    def change(self, host: HostName, change: Change) -> Any:
        """Make a change, or take up the one that the journal holds."""
        if change.only_if is not None and not self._wanted(host, change):
            return None
        if (host, change.name) in self._names:
            raise AssertionError(f"{self.changer.unit.id} makes the change {change.name!r} twice")
        self._names.add((host, change.name))
        asked = change.asked(host)
        made = self.changer.made_before(change, asked)
        if made is not None:
            self.note(f"{change.name} on {host} was made in attempt {made.attempt}: not made again")
        self._ordinal += 1
        past = self.past.change(self._ordinal, change.name, asked)
        if not past.intents:
            past = dataclasses.replace(self._left.pop(asked, past), verified=past.verified)
        finished = made or past.finished or self.changer.perform(host, change, self._ordinal, past)
        self.changed = True
        if finished.code not in change.exits:
            raise StepFailed(
                f"{host}: {change.name} ended with {_ended(finished.code)}"
                + (f": {finished.complaint}" if finished.complaint else ""),
                hint=f"`drrun logs {self.means.hosts.plan.run} --step {self.changer.step.id}` shows all of it",
            )
        if change.sets and not past.verified:
            after = self.changer.verify(host, change, finished)
            self._record_answer("verify", change.name, asked, after)
        if change.returns is None:
            return None
        return change.returns(reply_of(self.means.recorder.journal.outputs, finished))

    def take_up(self) -> None:
        """What an attempt before this one left open comes to its end first; its end is used here.

        An attempt leaves something open when a host was fenced and its group began anew, or when
        what became of it could not be read. Raises Unknown while its host cannot be reached.
        """
        known = self.past.kind(1) == LEFT_OPEN
        found = self.changer.earlier()
        tokens = [token for token, past in found.items() if past.open is not None]
        if not tokens and not known:
            return
        told = self._answer(LEFT_OPEN, "earlier attempts", [], lambda: {"tokens": tokens})
        for token in told["tokens"]:  # type: ignore[union-attr]
            self.changer.settle(found[str(token)], rule=False)
            past = self.changer.earlier()[str(token)]
            self._left[past.intents[-1].asked] = past

    def leave(self) -> None:
        """What was taken up and not asked for again is settled all the same."""
        for past in self._left.values():
            self.changer.settle(past)

    def _wanted(self, host: HostName, change: Change) -> bool:
        assert change.only_if is not None
        fact, predicate = change.only_if
        return predicate.holds(self.read(host, [fact])[0])

    # --- copies ------------------------------------------------------------------------------

    def put(self, host: HostName, copy: Copy) -> str:
        """Copy a file to the host, unless it is there already."""
        sha256 = sha256_of(copy.source)
        if self.read(host, [FileSum(copy.dest)])[0] == sha256:
            return sha256
        incoming = Incoming(copy, sha256)
        change = incoming.change()
        done = self.past.change(self._ordinal + 1, copy.name, change.asked(host)).finished
        if done is None:
            self.changer.before_change()
            self.means.hosts.patiently(host, lambda line: send(line, incoming))
        self.change(host, change)
        return sha256

    def get(self, host: HostName, name: str, source: str, dest: Path) -> str:
        """Copy a file of the host to the controller, unless it is there already."""
        sha256 = str(self.read(host, [FileSum(source)])[0])
        if not sha256:
            raise StepFailed(f"{host}: there is no {source} to fetch")

        def fetch() -> dict[str, Json]:
            if not (dest.exists() and sha256_of(dest) == sha256):
                self.means.hosts.patiently(host, lambda line: receive(line, source, dest, sha256))
            return {"sha256": sha256}

        self._answer("get", name, [host, source, str(dest), argv().digest], fetch)
        self.changed = True
        return sha256


def _ended(code: int) -> str:
    """An exit code, with the signal that it tells of: nobody knows 143 by heart."""
    try:
        return f"{code} ({signal.Signals(code - 128).name})"
    except ValueError:
        return str(code)
