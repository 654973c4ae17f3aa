"""Making one change for real: intent, launch or re-attachment, result, proof that it took.

The order is the promise: the intent is on disk before the first byte leaves, the result is on disk
before the host may forget it, and what cannot be known is decided by policy, check or person.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from drrun.errors import ConnectError, StepFailed, Unknown, Waiting
from drrun.execute.asking import ask_facts, short, until
from drrun.execute.follow import QUICK, Follower, Lost
from drrun.execute.judge import Judge
from drrun.execute.means import Means
from drrun.execute.past import Past, PastChange
from drrun.execute.printed import Printed
from drrun.execute.view import Change, as_predicate, decoded, encoded
from drrun.journal.events import (
    ChangeFinished,
    ChangeIntended,
    ChangeLost,
    PointOfNoReturn,
)
from drrun.journal.state import Status
from drrun.plan.plan import PlanStep, Unit
from drrun.ports import Job, JobReport, JobState
from drrun.spi import Fact, Predicate
from drrun.values import Digest, HostName, Json, Repeat, digest, span


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
    ends: float | None = None
    """When the step's `timeout` is over for this attempt, as the clock counts."""

    @property
    def left(self) -> float | None:
        """Seconds that are left of the step's `timeout`; None without one."""
        return None if self.ends is None else max(0.0, self.ends - self.means.clock.monotonic())

    def within(self, seconds: float) -> float:
        """`seconds`, or what is left of the step's `timeout` when that is less."""
        return seconds if self.left is None else min(seconds, self.left)

    @property
    def judge(self) -> Judge:
        """Who rules on what is lost."""
        return Judge(self.means, self.unit, self.step, self.undo)

    def perform(
        self, host: HostName, change: Change, ordinal: int, past: PastChange
    ) -> ChangeFinished:
        """Make the change, or take up the one that `past` holds, and follow it to its end.

        One whose result was lost is looked for on its host again before anybody rules: a line
        that was down, or a host that was slow, may have kept the evidence.
        """
        change.command.script()  # what cannot be sent is refused before anything is journaled
        intent, said = past.open, past.resolved
        if intent is not None and said is not None and said.verdict != "rerun":
            return self._ruled(intent, said.verdict)
        tries, told = len(past.intents), past.lost is not None
        while True:
            fresh = intent is None
            if intent is None:
                tries += 1
                intent = self._intend(host, change, ordinal, tries)
            try:
                return self._follow(host, change, intent, fresh=fresh, relaunch=said is None)
            except ConnectError as error:
                raise self._out_of_reach(host, intent, error.message, told=told) from error
            except Lost as lost:
                if not lost.reached:
                    raise self._out_of_reach(host, intent, lost.why, told=told) from lost
                if lost.begun and said is None:
                    if not told:
                        self._record_lost(host, intent, lost.why)
                    verdict = self.judge.verdict(host, change, intent, lost, tries=tries)
                    if verdict != "rerun":
                        return self._ruled(intent, verdict)
                intent, said, told = None, None, False

    def made_before(self, change: Change, asked: Digest) -> ChangeFinished | None:
        """The end of the very same change in an earlier attempt, where it may never be made twice.

        What ended well then is not made again because something after it failed.
        """
        if self.undo or self.judge.repeat(change) is not Repeat.NEVER:
            return None
        for attempt in range(1, self.attempt):
            entries = self.means.recorder.entries(self.unit.id, attempt, undo=False)
            tokens = {
                e.token for e in entries if isinstance(e, ChangeIntended) and e.asked == asked
            }
            for e in entries:
                if isinstance(e, ChangeFinished) and e.token in tokens and e.code in change.exits:
                    return e
        return None

    def _intend(self, host: HostName, change: Change, ordinal: int, tries: int) -> ChangeIntended:
        self._in_time(change.name)
        self.before_change()
        recorder, hosts = self.means.recorder, self.means.hosts
        if self.step.point_of_no_return and not self.undo and recorder.state.no_return is None:
            self._cross()
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

    def _cross(self) -> None:
        """The point of no return. Raises Waiting while anything is unknown: it could be undone."""
        recorder = self.means.recorder
        with recorder.lock:
            failures = recorder.state.failures
            unknown = [unit for unit, status in failures.items() if status is Status.UNKNOWN]
        if unknown:
            raise Waiting(
                f"{self.unit.id} does not cross the point of no return while nobody knows what "
                f"became of {unknown[0]}",
                hint=f"settle {unknown[0]}, then `drrun resume {self.means.hosts.plan.run}`",
            )
        recorder.record(PointOfNoReturn(unit=self.unit.id), durable=True)

    def _in_time(self, name: str) -> None:
        if self.left == 0.0:
            raise StepFailed(
                f"{self.unit.id}: its timeout of {span(self.step.timeout or 0)} was over before "
                f"'{name}' was sent",
                hint="give the step a longer `timeout`, or see what took so long",
            )

    def _follow(
        self, host: HostName, change: Change, intent: ChangeIntended, *, fresh: bool, relaunch: bool
    ) -> ChangeFinished:
        job = self._job(
            intent,
            script=change.command.script(),
            timeout=self.within(change.timeout) if change.timeout else self.left or 0.0,
            durable=self.judge.repeat(change) is not Repeat.SAFE,
        )

        def follow(follower: Follower) -> JobReport:
            if fresh:
                return follower.launch(job)
            return follower.attach(job, intent.boot_id, relaunch=relaunch)

        return self._collect(host, intent, job, follow)

    def earlier(self) -> dict[str, PastChange]:
        """Every change of an attempt before this one, by token, on hosts that are not fenced."""
        found: dict[str, PastChange] = {}
        recorder, gone = self.means.recorder, self.means.recorder.state.fenced
        for attempt in range(1, self.attempt):
            past = Past(self.unit.id, recorder.entries(self.unit.id, attempt, undo=False))
            for change in past.changes():
                if change.intents[-1].host not in gone:
                    found[change.intents[-1].token] = change
        return found

    def settle(self, past: PastChange, *, rule: bool = True) -> None:
        """Let what was begun come to its end, before an undo or another attempt; never begin it.

        Raises Unknown when its end cannot be known and, with `rule`, the step may not be repeated.
        """
        intent = past.open
        if intent is None or (past.resolved is not None and past.resolved.verdict != "rerun"):
            return
        host, told = intent.host, past.lost is not None
        job = self._job(intent, script=b"", timeout=0.0, durable=True)
        try:
            self._collect(
                host, intent, job, lambda f: f.attach(job, intent.boot_id, relaunch=False)
            )
        except ConnectError as error:
            raise self._out_of_reach(host, intent, error.message, told=told) from error
        except Lost as lost:
            if not lost.reached:
                raise self._out_of_reach(host, intent, lost.why, told=told) from lost
            if not lost.begun:
                return
            if not told:
                self._record_lost(host, intent, lost.why)
            if rule and self.step.repeat is Repeat.NEVER and past.resolved is None:
                self.judge.ask_person(host, intent.name, lost.why, undo=True)

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
            raise Lost(f"it was ended after its timeout of {span(job.timeout)}", killed=True)
        printed.settle()
        finished = self._finished(intent, report, printed, means.clock.monotonic() - began)
        if report.timed_out:
            why = f"it was ended after its timeout of {span(job.timeout)}; {finished.complaint}"
            finished = dataclasses.replace(finished, complaint=why)
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
            was = decoded(fact, before[fact.key]) if fact.key in before else None
            after[fact.key] = self._took(host, change, fact, as_predicate(value), was)
        return after

    def _took(
        self, host: HostName, change: Change, fact: Fact[Any], must: Predicate, was: object
    ) -> Json:
        within = self.within(change.within)
        seen = until(
            self.means.hosts.line(host),
            fact,
            lambda now: must.holds(now, was),
            within=within,
            clock=self.means.clock,
            stop=self.means.stop,
            hopeless=change.hopeless,
        )
        answer = encoded(fact, seen)
        if not must.holds(seen, was):
            raise StepFailed(
                f"{host}: after {change.name}, {short(fact.key)} is {short(answer)}, "
                f"must be {must.text} (waited {within:.0f} s): the change did not take",
                hint="see why on the host, then `drrun resume`",
            )
        return answer

    def _before(self, finished: ChangeFinished) -> Mapping[str, Json]:
        for entry in self.means.recorder.entries(
            self.unit.id, finished.attempt, undo=finished.undo
        ):
            if isinstance(entry, ChangeIntended) and entry.token == finished.token:
                return entry.before
        return {}

    # --- what cannot be known ----------------------------------------------------------------

    def _out_of_reach(
        self, host: HostName, intent: ChangeIntended, why: str, *, told: bool
    ) -> Unknown:
        if not told:
            self._record_lost(host, intent, why)
        return self.judge.out_of_reach(host, intent.name, why)

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

    def _ruled(self, intent: ChangeIntended, verdict: str) -> ChangeFinished:
        """The change's end, as somebody ruled."""
        finished = self._finished(
            intent,
            JobReport(state=JobState.EXITED, boot_id="", code=0 if verdict == "succeeded" else 1),
            Printed.of(self.means.recorder.journal, intent.token),
            0.0,
        )
        self.means.recorder.record(finished, durable=True)
        return finished
