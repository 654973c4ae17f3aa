"""Following one change on its host, from launch or re-attachment to its end.

The matrix of what a host may say, and what follows, is durability study §1b. Absence of evidence is
never success or failure: it raises Lost, and a policy, a check or a person decides.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from drrun.errors import ConnectError, DrrunError, Fenced, HostKeyError, StepFailed
from drrun.ports import Clock, Job, JobReport, JobState, Line
from drrun.values import HostName

T = TypeVar("T")

POLL = 5.0
"""Seconds that one poll may block on the host."""
GOING_ON = frozenset({JobState.RUNNING, JobState.ORPHAN})
"""States after which the host is asked again."""
QUICK = 0.5
"""Seconds that a launch waits for the end: most changes are over by then, and need no poll."""
UNREACHED = 180.0
"""Seconds that a host may stay out of reach before its job counts as lost."""


class Lost(Exception):
    """What became of the job cannot be known. `begun` is False when it surely never began.

    `reached` is False while its host does not answer: it may be running still. `killed`: the host
    ended it when its time was over.
    """

    def __init__(
        self, why: str, *, begun: bool = True, reached: bool = True, killed: bool = False
    ) -> None:
        super().__init__(why)
        self.why = why
        self.begun = begun
        self.reached = reached
        self.killed = killed


class Detached(BaseException):
    """The controller was asked to leave; jobs go on. Not an Exception: no step may catch it."""


@dataclass(slots=True)
class Follower:
    """Follows one job on one host; output goes to `save(stream, bytes)` as it comes."""

    host: HostName
    line: Callable[[], Line]
    clock: Clock
    stop: threading.Event
    save: Callable[[str, bytes], None]
    out: int = 0
    err: int = 0
    patience: float = UNREACHED

    def launch(self, job: Job) -> JobReport:
        """Launch and follow to the end. The token makes a second send harmless."""
        return self._to_end(job, self._patiently(lambda line: line.launch(job)))

    def attach(self, job: Job, boot_id: str, *, relaunch: bool = True) -> JobReport:
        """Find the job again and follow it; launch it only where it surely never arrived.

        Without `relaunch` (an undo settling what was begun) such a job is Lost, and never begun.
        """
        report = self._poll(job)
        unproved = report.state in {JobState.ABSENT, JobState.CLAIMED}
        if unproved and (not boot_id or report.boot_id != boot_id):
            # What was not forced to the disk may be gone with the boot that it was written in.
            raise Lost("the host was rebooted since, and holds no trace that it began")
        if report.state is JobState.ABSENT:
            if not relaunch:
                raise Lost("it never arrived", begun=False)
            return self.launch(job)
        return self._to_end(job, report)

    def _to_end(self, job: Job, report: JobReport) -> JobReport:
        while True:
            if report.state is JobState.CLAIMED:
                # Whoever claimed it died before it began: the host sees to it that it never does.
                report = self._patiently(lambda line: line.abandon(job.run, job.token, job.epoch))
            report = self._kept(report)
            if report.state is JobState.EXITED:
                if self._complete(report):
                    return report
            elif report.state not in GOING_ON:
                raise self._bad_end(report)
            if self.stop.is_set():
                raise Detached
            # What is there already is fetched at once; only for what is not there we wait.
            report = self._poll(job, POLL if self._complete(report) else 0.0)

    def _poll(self, job: Job, wait: float = 0.0) -> JobReport:
        """The job's state, and its output from where ours ends: of this controller or an earlier one."""
        return self._patiently(
            lambda line: line.poll(
                job.run, job.token, out_from=self.out, err_from=self.err, wait=wait
            )
        )

    def _bad_end(self, report: JobReport) -> Exception:
        match report.state:
            case JobState.FENCED:
                why = report.why or "another controller has taken this run over"
                return Fenced(f"{self.host}: {why}", hint="`drrun status` there shows who")
            case JobState.ABANDONED:
                return Lost(report.why or "it was abandoned before it began", begun=False)
            case JobState.CANNOT_CLAIM:
                return StepFailed(
                    f"{self.host}: the change was not begun: {report.why}",
                    hint="free space under drrun's folder on the host, then `drrun resume`",
                )
            case JobState.CLAIMED:
                return Lost("it is claimed, and the host cannot note that it must not begin")
            case JobState.LOST:
                return Lost(report.why or "it ended without leaving its exit")
            case _:
                return Lost("its folder is gone from the host")

    def _kept(self, report: JobReport) -> JobReport:
        """The report without its output, which is saved: many units follow a job at once."""
        for stream, block in (("out", report.out), ("err", report.err)):
            if block:
                self.save(stream, block)
        self.out += len(report.out)
        self.err += len(report.err)
        return replace(report, out=b"", err=b"")

    def _complete(self, report: JobReport) -> bool:
        return self.out >= report.out_size and self.err >= report.err_size

    def _patiently(self, ask: Callable[[Line], T]) -> T:
        """Ask, over a new line after each break, until patience ends."""
        began, delay = self.clock.monotonic(), 0.2
        while True:
            try:
                return ask(self.line())
            except HostKeyError:
                raise  # another machine answers under this name: never go on by itself
            except ConnectError as error:
                if self.stop.is_set():
                    raise Detached from error
                if self.clock.monotonic() - began > self.patience:
                    why = f"the host cannot be reached: {error.message}"
                    raise Lost(why, reached=False) from error
                self.clock.wait(delay)
                delay = min(delay * 2, 5.0)


def as_error(error: BaseException) -> DrrunError:
    """Any error as one of drrun's; a foreign one is a bug in a step type."""
    if isinstance(error, DrrunError):
        return error
    return DrrunError(
        f"a bug: {type(error).__name__}: {error}", hint="the traceback is in `drrun logs`"
    )
