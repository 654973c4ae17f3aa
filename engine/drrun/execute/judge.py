"""What became of a change whose result was lost: a policy, a check or a person decides.

Rule 1: nobody guesses. A check that the facts passed before the change already proves nothing of
a change that may never be made twice.
Rule 2: every verdict is journaled, with who gave it and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drrun.errors import ConnectError, Unknown
from drrun.execute.asking import until
from drrun.execute.follow import Lost
from drrun.execute.means import Means
from drrun.execute.view import Change, as_predicate, decoded
from drrun.journal.events import ChangeIntended, Resolved
from drrun.model.runbook import OnUnknown
from drrun.plan.plan import PlanStep, Unit
from drrun.ports import Question
from drrun.spi import Fact
from drrun.values import HostName, Repeat

MOST = 3
"""How often a change whose result is lost each time is sent before a person is asked."""


_DEFAULT: Mapping[Repeat, OnUnknown] = {
    Repeat.SAFE: "rerun",
    Repeat.CHECK: "check",
    Repeat.NEVER: "ask",
}


@dataclass(slots=True)
class Judge:
    """Rules on the lost changes of one unit."""

    means: Means
    unit: Unit
    step: PlanStep
    undo: bool = False

    def repeat(self, change: Change) -> Repeat:
        """Whether the change may be sent again; the runbook's own word is never loosened."""
        if change.repeat is None:
            return self.step.repeat
        return change.repeat.stricter(self.step.repeat) if self.step.repeat_said else change.repeat

    def verdict(
        self, host: HostName, change: Change, intent: ChangeIntended, lost: Lost, *, tries: int
    ) -> str:
        """`succeeded`, `failed` or `rerun`. Raises Unknown when nobody can tell.

        Nothing is made again by itself more than MOST times, and never what ran out of time.
        """
        repeat, policy = self.repeat(change), self.step.on_unknown
        if policy is None:  # what may never be repeated says `check` in its plan, if facts can tell
            policy = _DEFAULT[repeat]
        simply = policy == "rerun" or (policy == "check" and not change.sets)
        if simply and repeat is Repeat.SAFE and tries < MOST:
            return self.rule(host, "rerun", "policy", f"safe to repeat; {lost.why}")
        if policy != "ask" and change.sets:
            try:
                holds, before = self._check(host, change, intent)
            except ConnectError as error:
                raise self.unknown(host, change.name, f"{lost.why}; {error.message}") from error
            if holds and not (before and repeat is Repeat.NEVER):
                return self.rule(host, "succeeded", "check", "all that it sets holds")
            if not holds and lost.killed:
                return self.rule(host, "failed", "check", f"what it sets does not hold; {lost.why}")
            if not holds and repeat is not Repeat.NEVER and tries < MOST:
                return self.rule(host, "rerun", "check", "what it sets does not hold")
        return self.ask_person(host, change.name, lost.why)

    def _check(self, host: HostName, change: Change, intent: ChangeIntended) -> tuple[bool, bool]:
        """(whether all that it sets holds, whether it did before the change).

        Waited for as after any change: a command that was lost may still be taking effect.
        """
        line, clock = self.means.hosts.line(host), self.means.clock
        end = clock.monotonic() + change.within
        before = True
        for fact, value in change.sets.items():
            must = as_predicate(value)
            was = decoded(fact, intent.before[fact.key]) if fact.key in intent.before else None

            def good(now: Any, fact: Fact[Any] = fact, was: Any = was) -> bool:
                return as_predicate(change.sets[fact]).holds(now, was)

            before = before and must.holds(was, was)
            left = max(0.0, end - clock.monotonic())
            if not good(until(line, fact, good, within=left, clock=clock, stop=self.means.stop)):
                return False, before
        return True, before

    def ask_person(self, host: HostName, name: str, why: str, *, undo: bool = False) -> str:
        """A person's verdict. Raises Unknown when nobody is there to give one."""
        if not self.means.prompt.present:
            raise self.unknown(host, name, why)
        text = f"{self.unit.id}: what became of '{name}' on {host} is not known: {why}. Look at the host. "
        if undo:
            question = Question(f"{text}Did it succeed or fail?", choices=("succeeded", "failed"))
        else:
            question = Question(
                f"{text}Did it succeed, did it fail, or is it to be run again?",
                choices=("succeeded", "failed", "rerun"),
            )
        return self.rule(host, self.means.prompt.ask(question), self.means.prompt.who, why)

    def unknown(self, host: HostName, name: str, why: str) -> Unknown:
        """The error of a change of which nobody can tell, with the next move."""
        run = self.means.hosts.plan.run
        return Unknown(
            f"{self.unit.id}: what became of '{name}' on {host} is not known: {why}",
            hint=f"look at the host, then: drrun resolve {run} {self.step.id} {host} "
            "--succeeded | --failed | --rerun, --reason …",
        )

    def out_of_reach(self, host: HostName, name: str, why: str) -> Unknown:
        """The error of a change that may be running still, on a host that does not answer."""
        run = self.means.hosts.plan.run
        return Unknown(
            f"{self.unit.id}: what becomes of '{name}' on {host} is not known: {why}",
            hint=f"it may be running still: bring the line back, then `drrun resume {run}` goes on "
            f"with it. A host that is gone for good: drrun resolve {run} {self.step.id} {host} …",
        )

    def rule(self, host: HostName, verdict: str, by: str, why: str) -> str:
        """Journal a verdict."""
        event = Resolved(
            unit=self.unit.id, host=host, verdict=verdict, by=by, why=why, undo=self.undo
        )
        self.means.recorder.record(event, durable=True)
        return verdict
