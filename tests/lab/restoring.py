"""A real restore to do harm to: begun, watched up to a change, followed to its end, and proved.

What the tests of killed controllers and of faults share.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Happened, Operator
from drrun_lab.waiting import until

RUNBOOK = "restore-cluster.yaml"
LOSS = "accept_loss=100"
"""What a live cluster will lose may be named off by a thousand revisions."""
HOLDS = "-d /etc/systemd/system/*.d/00-drrun-hold.conf"
"""What holds a service stopped on a host: nothing is left of it when a restore is over."""


def words(snapshot: Path | str, loss: str = LOSS) -> tuple[str, ...]:
    """The command line of a restore that nobody is asked about."""
    return (RUNBOOK, "-e", f"snapshot={snapshot}", "-e", loss, "--yes", "--no-input")


# -- a drrun that runs --------------------------------------------------------------------------


@dataclass
class Screen:
    """A drrun that runs, and all that it has printed: what an operator without a terminal reads."""

    process: subprocess.Popen[str]
    began: float = field(default_factory=time.monotonic)
    lines: list[str] = field(default_factory=list)
    _read: int = 0
    _more: threading.Condition = field(default_factory=threading.Condition)
    _over: bool = False

    @classmethod
    def of(cls, operator: Operator, *arguments: str, cwd: Path | None = None) -> Self:
        """Start drrun; return at once."""
        process = subprocess.Popen(
            operator.command(*arguments),
            env=operator.environment,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        screen = cls(process)
        threading.Thread(target=screen._listen, daemon=True).start()
        return screen

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as printed:
            for line in printed:
                with self._more:
                    self.lines.append(line.rstrip("\n"))
                    self._more.notify_all()
        with self._more:
            self._over = True
            self._more.notify_all()

    @property
    def told(self) -> str:
        """All of it so far."""
        with self._more:
            return "\n".join(self.lines)

    def until(self, *parts: str, timeout: float = 120) -> str:
        """The next line that holds all these parts. Fails when drrun ends, or time does, before."""
        end = time.monotonic() + timeout
        with self._more:
            while True:
                while self._read < len(self.lines):
                    line = self.lines[self._read]
                    self._read += 1
                    if all(part in line for part in parts):
                        return line
                left = end - time.monotonic()
                assert not self._over, f"drrun ended before {parts}:\n" + "\n".join(self.lines)
                assert left > 0, f"no {parts} in {timeout:g} s:\n" + "\n".join(self.lines)
                self._more.wait(left)

    def until_sent(self, step: str, change: str, host: str = "") -> str:
        """The line that says that a change is about to be sent."""
        where = (f" host={host} ",) if host else ()
        return self.until(" change.sent ", f" step={step} ", f" change={change} ", *where)

    def end(self, timeout: float = 600) -> int:
        """Wait for its end; the exit code."""
        code = self.process.wait(timeout)
        with self._more:
            assert self._more.wait_for(lambda: self._over, 30)
        return code

    def kill(self) -> None:
        """SIGKILL, if it still runs: nothing is said, nothing saved."""
        self.process.kill()
        self.end()


def run_of(line: str) -> str:
    """The run that a printed line is about."""
    return line.split(" run=", 1)[1].split(" ", 1)[0]


# -- a job on its host --------------------------------------------------------------------------


def job(lab: Lab, host: str, run: str, token: str) -> Path:
    """A job's folder on its host, seen from this machine."""
    return lab.machine(host).state / "drrun" / run / token


def runs(lab: Lab, host: str, run: str, token: str) -> bool:
    """Whether the job's command has begun and has not ended."""
    folder = job(lab, host, run, token)
    child = folder / "child"
    return child.exists() and bool(child.read_bytes()) and not ended(folder)


def ended(folder: Path) -> bool:
    """Whether a job's exit was recorded; its file is there, blank, from the claim on."""
    path = folder / "exit"
    return path.exists() and bool(path.read_text().partition("\n")[0].strip())


def in_the_midst(lab: Lab, operator: Operator, screen: Screen, where: Sequence[str]) -> str:
    """Return the run as soon as its change STEP, CHANGE on HOST is running there."""
    step, change, host = where
    run = run_of(screen.until_sent(step, change, host))
    unit = f"{step}@{host}"
    tokens = [
        event.body["token"]
        for event in operator.journal(run)
        if event.type == "change.intended"
        and (event.body["unit"], event.body["name"]) == (unit, change)
    ]
    until(
        lambda: runs(lab, host, run, tokens[-1]),
        timeout=20,
        every=0.01,
        awaiting=f"{change} to run on {host}",
    )
    return run


# -- proofs -------------------------------------------------------------------------------------


def restored(lab: Lab, run: str, objects: Mapping[str, str]) -> None:
    """The snapshot's objects and no others, one cluster, old data kept, all up and nothing held."""
    hosts = [host.name for host in lab.layout.members]
    assert rehearsal.read_objects(lab) == objects
    assert rehearsal.disagreement(rehearsal.members(lab)) == ""
    assert [kept.host for kept in rehearsal.kept(lab, run)] == hosts
    script = f"systemctl is-active {' '.join(rehearsal.SERVICES)}; ls {HOLDS} 2>/dev/null || :"
    for host, told in rehearsal.each(lab, script, hosts).items():
        assert told.split() == ["active"] * len(rehearsal.SERVICES), f"{host}: {told}"


def cycled(lab: Lab, since: str) -> None:
    """The journal of systemd itself: each service was stopped once and started once on every host.

    One that lost its lease meanwhile ends by itself, and systemd starts it again: it says so.
    """
    for service in rehearsal.SERVICES:
        script = f"journalctl -q --no-pager -o cat _PID=1 -u {service} --since=@{since}"
        for host, told in rehearsal.each(lab, script, ["cp1", "cp2", "cp3"]).items():
            by_itself = told.count("Scheduled restart job")
            stopped = told.count(f"Stopping {service}")
            started = told.count(f"Starting {service}") or told.count(f"Started {service}")
            assert started - by_itself == 1, f"{host} {service}:\n{told}"
            assert stopped == 1 or (by_itself and not stopped), f"{host} {service}:\n{told}"


@dataclass(frozen=True, slots=True)
class Effects:
    """What the hosts hold of a run's changes, beside what its journal says."""

    changes: int
    """Changes by unit, host and name."""
    tokens: int
    """Tokens that were announced for them."""
    lost: int
    """Those whose result was lost, and which were made again because that does no harm."""
    failed: int
    """Those that ended badly: a resume tried again what was still to be done."""


def once(lab: Lab, run: str, journal: Sequence[Happened]) -> Effects:
    """Each change ended well on its host, once; begun again only after it was lost, or had failed.

    Counted in the folders of the hosts: `start` there is the commit point of a command.
    """
    ends = Counter(e.body["unit"] for e in journal if e.type == "unit.finished" and _good(e))
    assert set(ends.values()) == {1}, ends
    tokens: dict[tuple[str, str, str], list[str]] = {}
    for event in journal:
        if event.type == "change.intended":
            key = (event.body["unit"], event.body["host"], event.body["name"])
            tokens.setdefault(key, []).append(event.body["token"])
    lost = {e.body["token"] for e in journal if e.type == "change.lost"}
    failed = {e.body["token"] for e in journal if e.type == "change.finished" and e.body["code"]}
    told = {t for found in tokens.values() for t in found}
    for key, found in tokens.items():
        began = [token for token in found if _began(job(lab, key[1], run, token))]
        good = set(began) - lost - failed
        # After a bad end, the next attempt may find that nothing is left to do.
        wanted = {0, 1} if failed & set(found) else {1}
        assert len(good) in wanted, f"{key} began {began} of {found}; {lost=}, {failed=}"
        over = [token for token in good if ended(job(lab, key[1], run, token))]
        assert len(over) == len(good), f"{key} left no exit: {found}"
    for host in lab.layout.members:
        folders = job(lab, host.name, run, "x").parent.glob("c-*")
        assert {folder.name for folder in folders} <= told, host.name
    return Effects(len(tokens), len(told), len(lost), len(failed))


def _good(event: Happened) -> bool:
    return event.body["outcome"] in {"changed", "already", "skipped"}


def _began(folder: Path) -> bool:
    start = folder / "start"
    return start.exists() and not start.read_text().startswith("abandoned")
