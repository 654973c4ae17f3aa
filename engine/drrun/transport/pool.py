"""One line per host, opened when it is first needed and shared by every thread after that."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from drrun.model.inventory import Target
from drrun.ports import Line, Transport
from drrun.transport.agent import AgentSetting
from drrun.transport.line import PATIENCE
from drrun.values import CONTROLLER, HostName


@dataclass(slots=True)
class _Slot:
    """A host's place: its own lock, so that a slow host holds up nobody else's connection."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    line: Line | None = None


class Transports:
    """The `Transport` that knows where each host is: here, or behind sshd.

    `local` is how the agent runs on the controller, `remote` elsewhere; both for tests.
    """

    def __init__(
        self,
        *,
        local: AgentSetting | None = None,
        remote: AgentSetting | None = None,
        patience: float = PATIENCE,
    ) -> None:
        self._settings = local, remote
        self._patience = patience
        self._slots: dict[HostName, _Slot] = {}
        self._kinds: dict[bool, Transport] = {}
        self._lock = threading.Lock()

    def line(self, target: Target) -> Line:
        """The host's line; connects the first time. Raises ConnectError's kinds."""
        with self._lock:
            slot = self._slots.setdefault(target.name, _Slot())
        with slot.lock:
            if slot.line is None:
                slot.line = self.connect(target)
            return slot.line

    def connect(self, target: Target) -> Line:
        """A new line of the caller's own."""
        return self._for(target).connect(target)

    def fingerprint(self, target: Target) -> str:
        """The host key that a connection must show."""
        return self._for(target).fingerprint(target)

    def drop(self, name: HostName) -> None:
        """Close a host's line; the next call connects anew."""
        with self._lock:
            slot = self._slots.pop(name, None)
        if slot is not None and slot.line is not None:
            slot.line.close()

    def close(self) -> None:
        """Close every line. Jobs go on."""
        with self._lock:
            names = tuple(self._slots)
        for name in names:
            self.drop(name)
        for transport in self._kinds.values():
            transport.close()

    def _for(self, target: Target) -> Transport:
        here = target.name == CONTROLLER
        with self._lock:
            if here not in self._kinds:
                self._kinds[here] = self._local() if here else self._ssh()
            return self._kinds[here]

    def _local(self) -> Transport:
        from drrun.transport.local import LocalTransport

        return LocalTransport(self._settings[0], patience=self._patience)

    def _ssh(self) -> Transport:
        # paramiko takes a tenth of a second to import; `drrun --help` does not pay it.
        from drrun.transport.ssh import SshTransport

        return SshTransport(self._settings[1], patience=self._patience)
