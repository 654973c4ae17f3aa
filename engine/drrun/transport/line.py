"""The `Line` port over any station that can start /bin/sh: what SSH and this machine share.

Rule 1: a constant argv, everything else over stdin: no length limit, no quoting, no log of it.
Rule 2: a script that did not arrive whole does not run.
Rule 3: errors of the station end here, as Unreachable with the host's name.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from drrun.errors import Fenced, Refused, StepFailed, Unreachable
from drrun.ports import Job, JobReport, JobState, Leftover, Tier
from drrun.transport import protocol
from drrun.transport.agent import AgentSetting, AgentShell
from drrun.transport.asker import Asker, AskerEnded
from drrun.transport.deadline import Deadline
from drrun.transport.lanes import Lanes
from drrun.transport.process import CHUNK, Sink, Station, exchange
from drrun.transport.protocol import BadAnswerError, Header, Request
from drrun.values import HostName, Reply

PATIENCE = 30.0
"""Seconds that a host may take for one act of the protocol."""

GOODBYE = 2.0
"""Seconds that closing a line may wait for a host to empty jobs."""

SWEEPING = 600.0
"""Seconds that a host may take to forget a run: some milliseconds for each of its changes."""

BATCH = 16
"""Jobs that are over and may be emptied by one request."""

COMPLAINT_LIMIT = 64 * 1024

# dd with nothing to read cuts the file at `seek`; a file that is shorter must not be padded.
_APPEND = """umask 077
[ -e "$1" ] || : >"$1" || exit
chmod 600 "$1" && size=$(wc -c <"$1") || exit
[ "$size" -ge "$2" ] || { echo "holds only $size bytes, not $2" >&2; exit 1; }
[ "$size" -eq "$2" ] || dd if=/dev/null of="$1" bs=1 seek="$2" 2>/dev/null || exit
exec cat >>"$1"
"""

_FETCH = 'exec tail -c "+$2" -- "$1"'


class ShellLine:
    """A `Line` on a station. Safe for many threads."""

    def __init__(
        self,
        host: HostName,
        station: Station,
        *,
        setting: AgentSetting | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self._host = host
        self._station = station
        self._setting = setting or AgentSetting()
        self._patience = patience
        self._lanes = Lanes()
        self._over: dict[tuple[str, str], None] = {}
        self._lock = threading.Lock()

    @property
    def host(self) -> HostName:
        """The host's name in the inventory."""
        return self._host

    def ask(self, script: bytes, *, timeout: float, limit: int = 4 << 20) -> Reply:
        """Run a read-only script to its end. Raises Unreachable, Refused on a NUL byte."""
        if b"\0" in script:
            raise Refused(
                f"{self._host}: a script holds a NUL byte, which no shell can carry",
                hint="put binary data into a file and upload it",
            )
        deadline = Deadline.after(timeout)
        with self._spoken():
            while True:
                try:
                    with self._asker(deadline) as asker:
                        return asker.ask(script, deadline, limit)
                except AskerEnded as ended:
                    if ended.first:
                        return ended.reply

    def keep(self, asker: Asker) -> None:
        """Ask the next question in this shell; it must be one that acts as the target asks."""
        self._lanes.keep(asker)

    def launch(self, job: Job) -> JobReport:
        """Claim the job on the host and start it; on a token already claimed, only report it."""
        request = protocol.launch(job, self._setting.cap)
        with self._agent(self._patience + job.wait) as (agent, deadline):
            why = agent.settle_in(deadline)
            if why:
                return JobReport(JobState.CANNOT_CLAIM, agent.boot_id, why=why)
            return _report(agent.request(request, deadline))

    def poll(
        self, run: str, token: str, *, out_from: int = 0, err_from: int = 0, wait: float = 0
    ) -> JobReport:
        """The state and at most 512 KiB a stream of new output.

        With `wait`, answers as soon as the job has ended, else when that time is over; output
        alone does not wake it, so that a chatty command costs no storm of polls.
        """
        request = protocol.poll(run, token, out_from=out_from, err_from=err_from, wait=wait)
        return self._job(request, wait)

    def abandon(self, run: str, token: str, epoch: int) -> JobReport:
        """Make sure that a job which has not begun never will, even if it was never claimed."""
        return self._job(protocol.abandon(run, token, epoch))

    def kill(self, run: str, token: str, *, grace: float = 5) -> JobReport:
        """End the job's process group, on an identity match only: TERM, then KILL."""
        return self._job(protocol.kill(run, token, grace), grace)

    def ack(self, run: str, token: str) -> None:
        """Empty the job's folder, keep the claim. Raises Refused while it may still run."""
        report = self._job(protocol.ack(run, token))
        if report.state in {JobState.CLAIMED, JobState.RUNNING, JobState.ORPHAN}:
            raise Refused(
                f"{self._host}: job {token} is {report.state}; its evidence is kept",
                hint="wait for its end, kill it, or abandon it first",
            )

    def forget(self, run: str, token: str) -> None:
        """Empty the job's folder later, with others: see `BATCH`, `release` and `close`."""
        with self._lock:
            self._over[run, token] = None
            due = len(self._over) >= BATCH
        if due:
            self._empty(self._job)

    def _empty(self, send: Callable[[Request], object]) -> None:
        with self._lock:
            over, self._over = self._over, {}
        for run in dict.fromkeys(run for run, _ in over):
            send(protocol.ack(run, *(token for of, token in over if of == run)))

    def fence(self, run: str, epoch: int, holder: str) -> Tier:
        """Raise the epoch and take the host's lock. Raises Fenced, Refused or StepFailed."""
        header = self._word(protocol.fence(run, epoch, holder))
        match header.state:
            case "held":
                return Tier.SCOPE if header.why == Tier.SCOPE else Tier.SESSION
            case "fenced":
                raise Fenced(
                    f"{self._host}: another controller took over run {run}: {header.why}",
                    hint="follow it with: drrun watch",
                )
            case "locked":
                other, holder = _lock(header.why)
                raise Refused(
                    f"{self._host} is held by another run: {other}{holder}",
                    hint=f"wait for that run to end, or take it over: drrun takeover {other}; "
                    f"if it is over, it left its lock behind: drrun gc {other}",
                )
            case _:
                raise StepFailed(
                    f"{self._host}: cannot take the host's lock: {header.why or header.state}",
                    hint="free space on that file system, or make it writable; nothing was begun "
                    f"there; then: drrun resume {run}",
                )

    def release(self, run: str, epoch: int) -> None:
        """Give the host's lock back; a lock of another run or a higher epoch stays."""
        self._word(protocol.release(run, epoch))
        with suppress(Unreachable):  # a job that is not emptied costs only space
            self._empty(self._job)

    def sweep(self, run: str, epoch: int, *, dry: bool) -> Leftover:
        """Forget a run that is over, by exact names; the host refuses what it may not forget."""
        with self._agent(SWEEPING) as (agent, deadline):
            return protocol.leftover(
                agent.request(protocol.sweep(run, epoch, dry=dry), deadline)[0]
            )

    def strays(self, *, dry: bool) -> tuple[str, ...]:
        """Remove, or name, agents of other versions. None while a run holds the host."""
        return tuple(self._word(protocol.strays(dry=dry)).why.split())

    def append(self, path: str, source: BinaryIO, *, offset: int, timeout: float) -> None:
        """Write the rest of `source` into `path` from `offset` on, cutting what was behind it.

        Raises StepFailed when the host cannot write it.
        """
        argv = (*self._setting.shell, "-c", _APPEND, "drrun", path, str(offset))
        pieces = iter(lambda: source.read(CHUNK), b"")
        reply = self._exchange(argv, pieces, timeout, COMPLAINT_LIMIT, None)
        self._check(reply, f"cannot write {path}")

    def fetch(self, path: str, sink: Sink, *, offset: int = 0, timeout: float) -> None:
        """Stream a file's bytes from `offset` into `sink`. Raises StepFailed if it cannot."""
        argv = (*self._setting.shell, "-c", _FETCH, "drrun", path, str(offset + 1))
        reply = self._exchange(argv, iter(()), timeout, COMPLAINT_LIMIT, sink)
        self._check(reply, f"cannot read {path}")

    def close(self) -> None:
        """Let go of the host. Jobs go on."""
        agent = self._lanes.spare(AgentShell) if self._over else None
        if agent is not None:
            deadline = Deadline.after(GOODBYE)
            with suppress(OSError, BadAnswerError):
                self._empty(lambda request: agent.request(request, deadline))
            agent.close()
        self._lanes.close()
        self._station.close()

    def _exchange(
        self,
        argv: tuple[str, ...],
        feed: Iterator[bytes],
        timeout: float,
        limit: int,
        sink: Callable[[bytes], None] | None,
    ) -> Reply:
        deadline = Deadline.after(timeout)
        with self._spoken(), self._lanes.lane(deadline):
            process = self._station.start(argv, deadline)
            return exchange(process, feed, deadline=deadline, limit=limit, sink=sink)

    def _job(self, request: Request, extra: float = 0) -> JobReport:
        with self._agent(self._patience + extra) as (agent, deadline):
            return _report(agent.request(request, deadline))

    def _word(self, request: Request) -> Header:
        with self._agent(self._patience) as (agent, deadline):
            return agent.request(request, deadline)[0]

    @contextmanager
    def _asker(self, deadline: Deadline) -> Iterator[Asker]:
        def begin() -> Asker:
            return Asker(self._station.start((*self._setting.shell, "-s"), deadline))

        with self._lanes.shell(Asker, deadline, begin) as asker:
            yield asker

    @contextmanager
    def _agent(self, seconds: float) -> Iterator[tuple[AgentShell, Deadline]]:
        deadline = Deadline.after(seconds)

        def begin() -> AgentShell:
            process = self._station.start((*self._setting.shell, "-s"), deadline)
            try:
                return AgentShell(process, self._setting, deadline)
            except BaseException:
                process.close()
                raise

        with self._spoken(), self._lanes.shell(AgentShell, deadline, begin) as agent:
            yield agent, deadline

    @contextmanager
    def _spoken(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError as exc:
            self._station.doubt()
            raise Unreachable(
                f"{self._host}: {str(exc) or 'no answer in time'}",
                hint="whether it acted is not known; drrun resume asks it again",
            ) from exc
        except (OSError, BadAnswerError) as exc:
            raise Unreachable(
                f"{self._host}: the line broke: {exc}",
                hint="whether it acted is not known; drrun resume asks it again",
            ) from exc

    def _check(self, reply: Reply, what: str) -> None:
        if reply.exit != 0:
            raise StepFailed(f"{self._host}: {what}: {reply.complaint or f'exit {reply.exit}'}")


def _lock(words: str) -> tuple[str, str]:
    """The run that a host's lock names, and who holds it since when: `run epoch holder utc`."""
    run, _, rest = words.partition(" ")
    holder, _, since = rest.partition(" ")[2].rpartition(" ")
    return run, f", by {holder} since {since}" if holder else ""


def _report(answer: tuple[Header, bytes, bytes]) -> JobReport:
    header, out, err = answer
    return header.report(out, err)
