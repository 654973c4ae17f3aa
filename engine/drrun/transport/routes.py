"""The transport that knows where each host is: here, or behind sshd."""

from __future__ import annotations

import threading

from drrun.model.inventory import Target
from drrun.ports import Line, Transport
from drrun.transport.agent import AgentSetting
from drrun.transport.line import PATIENCE
from drrun.values import CONTROLLER


class Transports:
    """`drrun.ports.Transport` for every host. Safe from many threads.

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
        self._kinds: dict[bool, Transport] = {}
        self._lock = threading.Lock()

    def connect(self, target: Target) -> Line:
        """A new line. Raises ConnectError's kinds."""
        return self._for(target).connect(target)

    def fingerprint(self, target: Target) -> str:
        """The host key that a connection must show."""
        return self._for(target).fingerprint(target)

    def sign_of_life(self, target: Target, *, timeout: float) -> str:
        """How anything answers at its address; empty when nothing does."""
        return self._for(target).sign_of_life(target, timeout=timeout)

    def close(self) -> None:
        """Nothing more is opened; lines are closed by who opened them."""
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
