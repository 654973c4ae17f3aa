"""The hosts of a run: their lines, boot ids, locks and epochs."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from drrun.errors import ConnectError, DrrunError, StepFailed
from drrun.plan.plan import Plan
from drrun.ports import Line, Transport
from drrun.spi import sh
from drrun.values import HostName


@dataclass(slots=True)
class Hosts:
    """Lines by host name, opened once. Safe from many threads."""

    plan: Plan
    transport: Transport
    _lines: dict[HostName, Line] = field(default_factory=dict)
    _boots: dict[HostName, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def line(self, host: HostName) -> Line:
        """The line to a host. Raises ConnectError's kinds."""
        with self._lock:
            found = self._lines.get(host)
        if found is None:
            found = self.transport.connect(self.plan.targets[host])
            with self._lock:
                found = self._lines.setdefault(host, found)
        return found

    def boot_id(self, host: HostName) -> str:
        """The host's boot id as this controller first saw it: evidence when a job is missing."""
        with self._lock:
            known = self._boots.get(host)
        if known is None:
            script = sh("cat /proc/sys/kernel/random/boot_id 2>/dev/null || :").script()
            known = self.line(host).ask(script, timeout=30).text.strip()
            with self._lock:
                self._boots[host] = known
        return known

    def connect_all(self, hosts: Iterable[HostName]) -> None:
        """Open every line at once. Raises the first error, naming every host that failed."""
        names = list(hosts)
        with ThreadPoolExecutor(max_workers=min(len(names), 8) or 1) as pool:
            errors = [error for error in pool.map(self._try, names) if error is not None]
        if errors:
            _raise_all(errors)

    def _try(self, host: HostName) -> DrrunError | None:
        try:
            self.line(host)
        except ConnectError as error:
            return error
        return None

    def fence(self, epoch: int, holder: str) -> None:
        """Take the lock and raise the epoch on every host that may be changed."""
        taken: list[HostName] = []
        try:
            for host in self.plan.changed_hosts:
                self.line(host).fence(self.plan.run, epoch, holder)
                taken.append(host)
        except DrrunError:
            for host in taken:
                self.line(host).release(self.plan.run, epoch)
            raise

    def release(self, epoch: int) -> None:
        """Give every lock back; a host that cannot be reached keeps it, and says whose it is."""
        for host in self.plan.changed_hosts:
            try:
                self.line(host).release(self.plan.run, epoch)
            except (ConnectError, StepFailed):
                continue

    def close(self) -> None:
        """Close every line."""
        with self._lock:
            lines, self._lines = self._lines, {}
        for line in lines.values():
            line.close()


def _raise_all(errors: list[DrrunError]) -> None:
    first = errors[0]
    if len(errors) == 1:
        raise first
    message = "\n".join(error.message for error in errors)
    hint = "\n".join(dict.fromkeys(error.hint for error in errors if error.hint))
    raise type(first)(message, hint=hint)
