"""Making one change for real: intent, launch or re-attachment, result, proof that it took.

The order is the promise: the intent is on disk before the first byte leaves, the result is on disk
before the host may forget it, and what cannot be known is decided by policy, check or person.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from drrun.errors import ConnectError, StepFailed, Unknown
from drrun.execute.asking import ask_facts, short, until
from drrun.execute.follow import QUICK, Follower, Lost
from drrun.execute.hosts import Hosts
from drrun.execute.past import PastChange
from drrun.execute.printed import Printed
from drrun.execute.recorder import Recorder
from drrun.execute.view import Change, decoded, encoded
from drrun.journal.events import (
    ChangeFinished,
    ChangeIntended,
    ChangeLost,
    PointOfNoReturn,
    Resolved,
)
from drrun.plan.plan import PlanStep, Unit
from drrun.ports import Clock, Job, JobReport, JobState, Prompt, Question
from drrun.spi import Predicate
from drrun.values import HostName, Json, Repeat, digest


@dataclass(slots=True)
class Means:
    """What every live session acts through."""

    hosts: Hosts
    recorder: Recorder
    clock: Clock
    prompt: Prompt
    stop: threading.Event


@dataclass(slots=True)
class Changer:
    """Makes the changes of one attempt of one unit."""

    means: Means
    unit: Unit
    step: PlanStep
    attempt: int
    undo: bool = False
    before_change: Callable[[], None] = lambda: None
    """Reads the unit's guards again; raises Refused."""

    def perform(
        self, host: HostName, change: Change, ordinal: int, past: PastChange
    ) -> ChangeFinished:
        """Make the change, or take up the one that `past` holds, and follow it to its end."""
        change.command.script()  # what cannot be sent is refused before anything is journaled
        intent = past.open
        if intent is not None and past.lost is not None:
            finished = self._resolve(host, change, intent, past.lost.why, past.resolved)
            if finished is not None:
                return finished
            intent = None
        tries = len(past.intents)
        while True:
            fresh = intent is None
            if intent is None:
                tries += 1
                intent = self._intend(host, change, ordinal, tries)
            try:
                return self._follow(host, change, intent, fresh=fresh)
            except Lost as lost:
                if lost.begun:
                    finished = self._lost(host, change, intent, lost.why)
                    if finished is not None:
                        return finished
                intent = None

    def _intend(self, host: HostName, change: Change, ordinal: int, tries: int) -> ChangeIntended:
        self.before_change()
        recorder, hosts = self.means.recorder, self.means.hosts
        if self.step.point_of_no_return and not self.undo and recorder.state.no_return is None:
            recorder.record(PointOfNoReturn(unit=self.unit.id), durable=True)
        facts = list(change.sets)
        before = dict(zip((f.key for f in facts), ask_facts(hosts.line(host), facts), strict=True))
        seed = [hosts.plan.run, self.unit.id, change.name, host, self.attempt, self.undo, tries]
        intent = ChangeIntended(
            unit=self.unit.id,
            attempt=self.attempt,
            ordinal=ordinal,
            name=change.name,
            host=host,
            asked=change.asked(host),
            token=f"c-{digest(seed)[:20]}",
            epoch=recorder.state.epoch,
            boot_id=hosts.boot_id(host),
            preview=change.command.preview,
            before=before,
            undo=self.undo,
        )
        recorder.record(intent, durable=True)
        return intent

    def _follow(
        self, host: HostName, change: Change, intent: ChangeIntended, *, fresh: bool
    ) -> ChangeFinished:
        job = self._job(
            intent,
            script=change.command.script(),
            timeout=change.timeout or self.step.timeout or 0.0,
            durable=self._repeat(change) is not Repeat.SAFE,
        )

        def follow(follower: Follower) -> JobReport:
            return follower.launch(job) if fresh else follower.attach(job, intent.boot_id)

        return self._collect(host, intent, job, follow)

    def settle(self, host: HostName, intent: ChangeIntended) -> None:
        """Before an undo: let what was begun come to its end; never begin it.

        Raises Unknown when its end cannot be known and the step may not be repeated.
        """
        job = self._job(intent, script=b"", timeout=0.0, durable=True)
        try:
            self._collect(
                host, intent, job, lambda f: f.attach(job, intent.boot_id, relaunch=False)
            )
        except Lost as lost:
            if not lost.begun:
                return
            self._record_lost(host, intent, lost.why)
            if self.step.repeat is Repeat.NEVER:
                raise self._unknown(host, intent.name, lost.why) from lost

    def _job(self, intent: ChangeIntended, *, script: bytes, timeout: float, durable: bool) -> Job:
        recorder = self.means.recorder
        return Job(
            run=self.means.hosts.plan.run,
            token=intent.token,
            epoch=recorder.state.epoch,
            script=script,
            witness=recorder.journal.head,
            timeout=timeout,
            durable=durable,
            wait=QUICK,
        )

    def _collect(
        self,
        host: HostName,
        intent: ChangeIntended,
        job: Job,
        follow: Callable[[Follower], JobReport],
    ) -> ChangeFinished:
        """Follow a job, keep its output and its result; only then may the host forget it."""
        means, began = self.means, self.means.clock.monotonic()
        printed = Printed.of(means.recorder.journal, intent.token)
        follower = Follower(
            host, lambda: means.hosts.line(host), means.clock, means.stop, printed.save
        )
        follower.out, follower.err = printed.sizes["out"], printed.sizes["err"]
        report = follow(follower)
        if report.timed_out and job.durable:
            raise Lost(f"it was ended after its timeout of {job.timeout:.0f} s")
        printed.settle()
        finished = self._finished(intent, report, printed, means.clock.monotonic() - began)
        means.recorder.record(finished, durable=True)
        with contextlib.suppress(ConnectError):  # a job that is not emptied costs only space
            means.hosts.line(host).forget(job.run, job.token)
        return finished

    def _finished(
        self, intent: ChangeIntended, report: JobReport, printed: Printed, took: float
    ) -> ChangeFinished:
        return ChangeFinished(
            unit=intent.unit,
            attempt=intent.attempt,
            ordinal=intent.ordinal,
            name=intent.name,
            host=intent.host,
            token=intent.token,
            code=report.code if report.code is not None else -1,
            stdout=printed.digest("out"),
            stderr=printed.digest("err"),
            out_size=printed.sizes["out"],
            err_size=printed.sizes["err"],
            complaint=printed.complaint,
            seconds=round(took, 3),
            undo=intent.undo,
            out_cut=report.out_cut,
            err_cut=report.err_cut,
        )

    def verify(self, host: HostName, change: Change, finished: ChangeFinished) -> dict[str, Json]:
        """Read again every fact that the change sets: one that did not take is a failure."""
        after: dict[str, Json] = {}
        before = self._before(finished)
        for fact, value in change.sets.items():
            must = value if isinstance(value, Predicate) else None
            was = decoded(fact, before[fact.key]) if fact.key in before else None

            def good(
                v: object, must: Predicate | None = must, want: object = value, was: object = was
            ) -> bool:
                return must.holds(v, was) if must is not None else v == want

            seen = until(
                self.means.hosts.line(host),
                fact,
                good,
                within=change.within,
                clock=self.means.clock,
                stop=self.means.stop,
            )
            after[fact.key] = encoded(fact, seen)
            if not good(seen):
                wanted = must.text if must is not None else repr(value)
                raise StepFailed(
                    f"{host}: after {change.name}, {short(fact.key)} is {short(after[fact.key])}, "
                    f"must be {wanted} (waited {change.within:.0f} s): the change did not take",
                    hint="see why on the host, then `drrun resume`",
                )
        return after

    def _before(self, finished: ChangeFinished) -> Mapping[str, Json]:
        for entry in self.means.recorder.entries(
            self.unit.id, finished.attempt, undo=finished.undo
        ):
            if isinstance(entry, ChangeIntended) and entry.token == finished.token:
                return entry.before
        return {}

    def _repeat(self, change: Change) -> Repeat:
        return change.repeat or self.step.repeat

    # --- what cannot be known ----------------------------------------------------------------

    def _lost(
        self, host: HostName, change: Change, intent: ChangeIntended, why: str
    ) -> ChangeFinished | None:
        self._record_lost(host, intent, why)
        return self._resolve(host, change, intent, why, None)

    def _record_lost(self, host: HostName, intent: ChangeIntended, why: str) -> None:
        self.means.recorder.record(
            ChangeLost(
                unit=intent.unit,
                attempt=intent.attempt,
                ordinal=intent.ordinal,
                name=intent.name,
                host=host,
                token=intent.token,
                why=why,
                undo=intent.undo,
            ),
            durable=True,
        )

    def _resolve(
        self,
        host: HostName,
        change: Change,
        intent: ChangeIntended,
        why: str,
        resolved: Resolved | None,
    ) -> ChangeFinished | None:
        """The change's end by policy, check or person; None means: make it again."""
        verdict = resolved.verdict if resolved is not None else self._verdict(host, change, why)
        if verdict == "rerun":
            return None
        finished = self._finished(
            intent,
            JobReport(state=JobState.EXITED, boot_id="", code=0 if verdict == "succeeded" else 1),
            Printed.of(self.means.recorder.journal, intent.token),
            0.0,
        )
        self.means.recorder.record(finished, durable=True)
        return finished

    def _verdict(self, host: HostName, change: Change, why: str) -> str:
        repeat, policy = self._repeat(change), self.step.on_unknown
        if policy is None:
            policy = {Repeat.SAFE: "rerun", Repeat.CHECK: "check", Repeat.NEVER: "ask"}[repeat]  # type: ignore[assignment]
        if policy == "rerun" and repeat is Repeat.SAFE:
            return self._rule(host, "rerun", "policy", f"safe to repeat; {why}")
        if policy == "check" and change.sets:
            holds = all(
                not isinstance(want, Predicate)
                and decoded(fact, ask_facts(self.means.hosts.line(host), [fact])[0]) == want
                for fact, want in change.sets.items()
            )
            if holds:
                return self._rule(host, "succeeded", "check", "all that it sets holds")
            if repeat is not Repeat.NEVER:
                return self._rule(host, "rerun", "check", "what it sets does not hold")
        return self._ask_person(host, change, why)

    def _ask_person(self, host: HostName, change: Change, why: str) -> str:
        prompt = self.means.prompt
        text = (
            f"{self.unit.id}: what became of '{change.name}' on {host} is not known: {why}. "
            f"Look at the host. Did it succeed, did it fail, or is it to be run again?"
        )
        if not prompt.present:
            raise self._unknown(host, change.name, why)
        said = prompt.ask(Question(text, choices=("succeeded", "failed", "rerun")))
        return self._rule(host, said, prompt.who, why)

    def _unknown(self, host: HostName, name: str, why: str) -> Unknown:
        run = self.means.hosts.plan.run
        return Unknown(
            f"{self.unit.id}: what became of '{name}' on {host} is not known: {why}",
            hint=f"look at the host, then: drrun resolve {run} {self.step.id} {host} "
            "--succeeded | --failed | --rerun, --reason …",
        )

    def _rule(self, host: HostName, verdict: str, by: str, why: str) -> str:
        event = Resolved(unit=self.unit.id, host=host, verdict=verdict, by=by, why=why)
        self.means.recorder.record(event, durable=True)
        return verdict
