"""The hosts of a run: their lines, boot ids, locks and epochs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from drrun.errors import ConnectError, DrrunError, Refused, StepFailed, Unreachable
from drrun.execute.patience import Patience, PatientLine
from drrun.plan.plan import Plan
from drrun.plan.tolerance import spare, too_many
from drrun.ports import Line, Tier, Transport
from drrun.spi import sh
from drrun.values import HostName

SILENCE = 3.0
"""Seconds without any answer after which a fenced host counts as silent."""

T = TypeVar("T")


@dataclass(slots=True)
class _Slot:
    """A host's place: its own lock, so that a slow host holds up nobody else's connection."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    line: Line | None = None
    boot_id: str | None = None


class Hosts:
    """Lines by host name, opened once. Safe from many threads."""

    def __init__(self, plan: Plan, transport: Transport) -> None:
        self.plan = plan
        self._transport = transport
        self._slots = {host: _Slot() for host in plan.targets}
        self.tiers: dict[HostName, Tier] = {}
        """The hosts that were fenced, and how each keeps its jobs apart."""
        self.patience: Patience | None = None
        """With what hosts are asked that fall silent; a dry-run has none."""
        self._fenced: frozenset[HostName] = frozenset()
        self.unreached: frozenset[HostName] = frozenset()
        """Hosts that could not be reached when this controller began, and that the plan tolerates."""

    def leave_out(self, fenced: Iterable[HostName]) -> None:
        """From here on nobody speaks to these hosts."""
        self._fenced = frozenset(fenced)

    @property
    def present(self) -> tuple[HostName, ...]:
        """Every host of the plan that it speaks to, and that is neither fenced nor left out."""
        gone = self._fenced | self.unreached | {*self.plan.unasked}
        return tuple(host for host in self.plan.targets if host not in gone)

    @property
    def _changed(self) -> tuple[HostName, ...]:
        gone = self._fenced | self.unreached
        return tuple(host for host in self.plan.changed_hosts if host not in gone)

    def prove_fenced(self) -> None:
        """Raise Refused when a fenced host shows any sign of life (hazard H8)."""
        names = sorted(self._fenced)
        if not names:
            return
        with ThreadPoolExecutor(max_workers=min(len(names), 8)) as pool:
            signs = list(pool.map(self._sign_of_life, names))
        alive = [f"{host} ({sign})" for host, sign in zip(names, signs, strict=True) if sign]
        if alive:
            raise Refused(
                f"named fenced, and alive: {', '.join(alive)}: it may still act on the cluster",
                hint="make sure that it cannot act (power it off), then go on; a host that is "
                "well again is no part of this run: start a new one with it",
            )

    def _sign_of_life(self, host: HostName) -> str:
        return self._transport.sign_of_life(self.plan.targets[host], timeout=SILENCE)

    def line(self, host: HostName) -> Line:
        """The line to a host. Raises ConnectError's kinds, and Refused for a fenced one."""
        if host in self._fenced:
            raise Refused(
                f"{host} is fenced: nobody can ask it anything",
                hint="leave it out of the step, or go on when it was readmitted",
            )
        if host in self.unreached:
            raise Unreachable(
                f"{host} could not be reached when this began: it is left out, and not locked",
                hint="bring it back, then `drrun resume`",
            )
        if host in self.plan.unasked:
            raise Refused(
                f"{host} is not connected to: no step that acts on it runs",
                hint="leave it out of the step, or let one of the steps run that are skipped",
            )
        slot = self._slots[host]
        with slot.lock:
            if slot.line is None:
                slot.line = self._transport.connect(self.plan.targets[host])
            return slot.line if self.patience is None else PatientLine(slot.line, self.patience)

    def patiently(self, host: HostName, act: Callable[[Line], T]) -> T:
        """Do on a line what may be done twice, again when it breaks. Raises ConnectError's kinds."""
        line = self.line(host)
        return act(line) if self.patience is None else self.patience.ask(host, lambda: act(line))

    def boot_id(self, host: HostName) -> str:
        """The host's boot id as this controller first saw it: evidence when a job is missing."""
        line, slot = self.line(host), self._slots[host]
        with slot.lock:
            if slot.boot_id is None:
                script = sh("cat /proc/sys/kernel/random/boot_id 2>/dev/null || :").script()
                slot.boot_id = line.ask(script, timeout=30).text.strip()
            return slot.boot_id

    def connect_all(self, hosts: Iterable[HostName]) -> None:
        """Open every line at once; a host that the plan can do without may be left out, and is kept.

        Raises the first error, naming every host that failed; Unreachable where too many did.
        """
        names = list(hosts)
        with ThreadPoolExecutor(max_workers=min(len(names), 8) or 1) as pool:
            tried = zip(names, pool.map(self._try, names), strict=True)
            failed = {host: error for host, error in tried if error is not None}
        left = failed.keys() & spare(self.plan)
        if errors := [error for host, error in failed.items() if host not in left]:
            _raise_all(errors)
        if step := too_many(self.plan, left):
            gone = [host for host in step.hosts if host in left]
            raise Unreachable(
                f"{step.id}: {len(gone)} of {len(step.hosts)} hosts cannot be reached, {step.tolerate} "
                f"may be left out: {', '.join(gone)}",
                hint="bring them back, or tolerate more; nothing was changed",
            )
        self.unreached = frozenset(left)

    def _try(self, host: HostName) -> DrrunError | None:
        try:
            self.line(host)
        except ConnectError as error:
            return error
        return None

    def fence(self, epoch: int, holder: str) -> None:
        """Take the lock and raise the epoch on every host that may be changed."""
        self.tiers.clear()
        try:
            for host in self._changed:
                self.tiers[host] = self.line(host).fence(self.plan.run, epoch, holder)
        except DrrunError:
            for host in self.tiers:
                self.line(host).release(self.plan.run, epoch)
            raise

    def release(self, epoch: int) -> None:
        """Give every lock back; a host that cannot be reached keeps it, and says whose it is."""
        for host in self._changed:
            try:
                self.line(host).release(self.plan.run, epoch)
            except (ConnectError, StepFailed):
                continue

    def close(self) -> None:
        """Close every line."""
        for slot in self._slots.values():
            with slot.lock:
                line, slot.line = slot.line, None
            if line is not None:
                line.close()


def _raise_all(errors: list[DrrunError]) -> None:
    first = errors[0]
    if len(errors) == 1:
        raise first
    message = "\n".join(error.message for error in errors)
    hint = "\n".join(dict.fromkeys(error.hint for error in errors if error.hint))
    raise type(first)(message, hint=hint)
