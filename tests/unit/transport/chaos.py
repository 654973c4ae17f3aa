"""Jobs killed at random, then taken up as a resuming controller does it; every effect is counted.

A *trial* is one change that must never be repeated: launched, one of its processes killed by SIGKILL
at a random moment of its life, followed to a verdict, and launched once more under every token used.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from drrun.errors import DrrunError
from drrun.execute.follow import Follower, Lost
from drrun.machine import SystemClock
from drrun.ports import Job, JobReport, JobState
from drrun.transport.agent import AgentSetting
from drrun.transport.deadline import Deadline
from drrun.transport.line import ShellLine
from drrun.transport.local import LocalProcess, LocalStation
from drrun.values import Digest, HostName

HOST = HostName("here")
RUN, HOLDER = "run-1", "chaos"
TARGETS = ("launcher", "supervisor", "command", "group", "other", "all")
WORKERS = 3


class Station(LocalStation):
    """This machine, which remembers the agents that it started."""

    def __init__(self) -> None:
        self.agents: list[int] = []

    def start(self, argv: tuple[str, ...], deadline: Deadline) -> LocalProcess:
        """Start `argv`."""
        process = super().start(argv, deadline)
        self.agents.append(process._child.pid)
        return process


def processes(base: Path, token: str) -> list[int]:
    """Whoever works on a job, or may yet.

    Its command's shell has the job's folder in its words. Supervisors do not say what they do: one
    that outlives its agent may have this job, or the order for it; one of a living agent is idle, or
    has a command.
    """
    orphans = [pid for pid in supervisors(base) if _parent(_parent(pid)) != os.getpid()]
    return [*_with_words(str(base / RUN / token)), *orphans]


def supervisors(base: Path) -> list[int]:
    """Every supervisor, idle ones as well; their forks have the same words."""
    return _with_words(f"{base}/hire.")


def _with_words(text: str) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if text.encode() in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def _parent(pid: int) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def ended(base: Path, token: str) -> bool:
    """Wait until nobody works on a job. False when somebody still does after half a minute."""
    until = Deadline.after(30)
    while until.left:
        alive = processes(base, token)
        if not alive:
            return True
        with contextlib.suppress(ProcessLookupError):
            handle = os.pidfd_open(alive[0])
            select.select([handle], [], [], until.left)
            os.close(handle)
    return False


@dataclass
class Trial:
    """One change, and what became of it."""

    base: Path
    shell: tuple[str, ...]
    number: int
    dice: random.Random
    pace: float
    """Seconds that an unharmed launch takes here, now."""
    tokens: list[str] = field(default_factory=list)
    killed: list[int] = field(default_factory=list)
    target: str = ""
    seen: str = ""
    end: str = ""
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.effect = self.base / f"effect-{self.number}"
        self.length = self.pace * self.dice.choice((0.0, 0.5, 2.0))
        self.timeout = self.dice.choice((0, 0, 0, 600))
        self.durable = self.dice.random() < 0.7
        self.padding = b"#" * self.dice.choice((0, 0, 3000))  # a long script travels another way

    def job(self) -> Job:
        """The next attempt."""
        token = f"c-{self.number:010x}{len(self.tokens):010x}"
        self.tokens.append(token)
        return self.again(token)

    def again(self, token: str) -> Job:
        """An attempt by its token. What it does is told by two lines, each with the token."""
        script = f"echo s {token} >>{self.effect}; sleep {self.length:.3f}; echo e {token} >>{self.effect}\n"
        wait = 0.5 if self.number % 2 else 0.0
        return Job(
            RUN,
            token,
            1,
            script.encode() + self.padding,
            Digest("ab" * 32),
            self.timeout,
            self.durable,
            wait,
        )

    def lines(self) -> list[str]:
        """What the attempts did so far."""
        return self.effect.read_text().splitlines() if self.effect.exists() else []

    def line(self, station: LocalStation) -> ShellLine:
        """A controller's line to this machine."""
        setting = AgentSetting(base=str(self.base), shell=self.shell)
        return ShellLine(HOST, station, setting=setting, patience=20)

    def follower(self, line: ShellLine) -> Follower:
        """Follows as the executor does."""
        stop = threading.Event()
        clock = SystemClock(stop)
        return Follower(HOST, lambda: line, clock, stop, lambda _stream, _block: None)

    # -- killing ------------------------------------------------------------------------------

    def victims(self, token: str, station: Station) -> list[int]:
        """The processes that this trial is out for, as far as they are there yet."""
        working = [*_with_words(str(self.base / RUN / token)), *supervisors(self.base)]
        named = {name: self._pid(token, name) for name in ("start", "child")}
        leaders = [pid for pid in working if _session(pid) == pid]
        match self.target:
            case "launcher":
                return station.agents[:1]
            case "supervisor":
                return [named["start"]] if named["start"] else leaders[:1]
            case "command":
                return [named["child"]] if named["child"] else []
            case "group":
                return [-named["child"]] if named["child"] and _session(named["child"]) else []
            case "other":
                others = [pid for pid in working if pid not in named.values()]
                return [self.dice.choice(others)] if others else []
            case _:
                return [*station.agents[:1], *working]

    def _pid(self, token: str, name: str) -> int:
        with contextlib.suppress(OSError, IndexError, ValueError):
            return int((self.base / RUN / token / name).read_text().split()[1])
        return 0

    def strike(self, token: str, station: Station) -> None:
        """Kill at a random moment: of the launch, or of the life of whoever this trial is out for."""
        pause = threading.Event().wait
        pause(self.dice.choice((0.5, 2.0)) * self.pace * self.dice.random())
        until = Deadline.after(2)
        while not self.victims(token, station) and not self._over(token) and until.left:
            pause(self.pace / 50)
        pause(self.length * self.dice.random())
        for pid in self.victims(token, station):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.killed.append(pid)

    def _over(self, token: str) -> bool:
        exit_file = self.base / RUN / token / "exit"  # blank from the claim on
        return exit_file.exists() and bool(exit_file.read_text().partition("\n")[0])

    # -- the trial ----------------------------------------------------------------------------

    def run(self) -> None:
        """Launch, kill, find out, and try to make it happen twice."""
        self.target = self.dice.choice(TARGETS)
        station = Station()
        line = self.line(station)
        boot = line.poll(RUN, "c-0").boot_id  # its agent is up, and used for the launch
        job = self.job()
        follower = self.follower(line)
        same = self.dice.random() < 0.5  # the same controller goes on, or another one resumes
        said: list[JobReport | Lost] = []

        def launch() -> None:
            try:
                said.append(follower.launch(job) if same else line.launch(job))
            except Lost as lost:
                said.append(lost)
            except DrrunError:
                pass

        thread = threading.Thread(target=launch)
        thread.start()
        self.strike(job.token, station)
        thread.join()
        line.close()
        fresh = self.line(LocalStation())
        self.seen = str(fresh.poll(RUN, job.token).state)
        self._conclude(fresh, job, boot, said[0] if same and said else None)
        self._again(fresh)
        fresh.close()

    def _conclude(
        self, line: ShellLine, job: Job, boot: str, said: JobReport | Lost | None
    ) -> None:
        """To a verdict, as the executor comes to one: done, unknown, or surely not begun: again."""
        while True:
            try:
                if isinstance(said, Lost):
                    raise said
                report = said or self.follower(line).attach(job, boot)
            except Lost as lost:
                if lost.begun:
                    self.end = "unknown"
                    return
                if not ended(self.base, job.token) or any(
                    job.token in line for line in self.lines()
                ):
                    self.wrong.append("it began, and was said not to")
                said, job = None, self.job()
                continue
            self.end = "done" if report.code == 0 else f"failed {report.code}"
            if report.code == 0 and self.lines() != [f"s {job.token}", f"e {job.token}"]:
                self.wrong.append("FALSE SUCCESS")
            return

    def _again(self, line: ShellLine) -> None:
        for token in self.tokens:
            if line.launch(self.again(token)).state in {JobState.ABSENT, JobState.FENCED}:
                self.wrong.append("its token was forgotten")
            if not ended(self.base, token):
                self.wrong.append(
                    f"somebody stayed: {list(map(_words, processes(self.base, token)))}"
                )
        if sum(line.startswith("s") for line in self.lines()) > 1:
            self.wrong.append("DOUBLE EFFECT")

    def __str__(self) -> str:
        return f"#{self.number} {self.target}: {self.seen}, {self.end}: {', '.join(self.wrong)}"


def _words(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    return ""


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0


@dataclass
class Tally:
    """What many trials in one shell came to."""

    shell: str
    kills: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    targets: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def add(self, trial: Trial) -> None:
        """Count a trial; one that came too late to kill anybody is judged, but is no kill."""
        if trial.killed:
            self.kills += 1
            self.targets[trial.target] += 1
            self.seen[trial.seen] += 1
            self.ends[trial.end.split()[0]] += 1
        if trial.wrong:
            self.wrong.append(str(trial))

    def __str__(self) -> str:
        doubles = sum("DOUBLE" in line for line in self.wrong)
        lies = sum("FALSE" in line for line in self.wrong)
        judged = f"{doubles} double effects, {lies} false successes"
        told = [
            f"agent chaos: {self.shell} {self.kills} kills, {judged}, states seen: {_counts(self.seen)}",
            f"  killed: {_counts(self.targets)}; ends: {_counts(self.ends)}",
        ]
        return "\n".join([*told, *(f"  {line}" for line in self.wrong)])


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in counter.most_common())


def chaos(base: Path, name: str, shell: tuple[str, ...], kills: int, seed: int) -> Tally:
    """At least so many kills in one shell, from one seed; at most four trials for each."""
    tally, dice = Tally(name), random.Random(seed)
    base.mkdir()
    pace = _pace(Trial(base, shell, 0, dice, 0))
    trials = (
        Trial(base, shell, n, random.Random(dice.random()), pace) for n in range(1, kills * 4)
    )
    with ThreadPoolExecutor(WORKERS) as pool:
        for batch in _batches(trials):
            for trial in pool.map(_run, batch):
                tally.add(trial)
            if tally.kills >= kills:
                break
    return tally


def _pace(trial: Trial) -> float:
    line = trial.line(LocalStation())
    line.fence(RUN, 1, HOLDER)
    line.launch(trial.job())
    began = time.monotonic()
    line.launch(trial.job())
    took = time.monotonic() - began
    line.close()
    return took


def _run(trial: Trial) -> Trial:
    trial.run()
    return trial


def _batches(trials: Iterator[Trial]) -> Iterator[list[Trial]]:
    while batch := [trial for _, trial in zip(range(WORKERS), trials, strict=False)]:
        yield batch
