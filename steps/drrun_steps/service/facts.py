"""What a service is doing, read in a way that cannot mistake a restart loop for a stop.

Rule 1: `stopped` means that nothing runs: a unit that failed but left a process is `running`.
Rule 2: a static pod says the same in the same words (see `pods`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from drrun.spi import Command, Fact, Reply, sh
from drrun_steps.service import pods
from drrun_steps.service.units import HELD, SHOW, STEADY, hold_file, properties

Running = Literal["running", "stopped", "missing"]


@dataclass(frozen=True, slots=True)
class ServiceState(Fact[Running]):
    """`running` (also while it starts, stops or waits for its next try), `stopped` or `missing`."""

    name: ClassVar[str] = "service.state"
    when_fenced: ClassVar[str] = "stopped"
    service: str

    def about(self) -> tuple[str, ...]:
        """The service on this host."""
        return (f"service:{self.service}",)

    def ask(self) -> Command:
        """The unit's properties and the processes in its control group."""
        return sh(SHOW, **pods.named(self.service))

    def parse(self, reply: Reply) -> Running:
        """Raises ValueError when systemd does not answer."""
        seen = properties(reply)
        busy = seen.get("MainPID", "0") != "0" or "process" in seen
        if busy or seen.get("ActiveState") not in {"inactive", "failed"}:
            return "running"
        return "missing" if seen.get("LoadState") == "not-found" else "stopped"


@dataclass(frozen=True, slots=True)
class ServiceReady(Fact[bool]):
    """Whether the service has come up: `active`, which a service of Type=notify says of itself."""

    name: ClassVar[str] = "service.ready"
    service: str

    def about(self) -> tuple[str, ...]:
        """The service on this host, and what may bring up one that waits for its peers."""
        return (f"service:{self.service}", f"@up:{self.service}")

    def ask(self) -> Command:
        """The unit's properties."""
        return sh(SHOW, **pods.named(self.service))

    def parse(self, reply: Reply) -> bool:
        """Raises ValueError when systemd does not answer."""
        return properties(reply).get("ActiveState") == "active"


@dataclass(frozen=True, slots=True)
class ServiceSteady(Fact[bool]):
    """Whether the service has come up, and stays up: what an undo proves of what it started.

    systemd calls a unit `active` that says nothing of itself (Type=simple) as soon as it was started: one that
    dies at once and is started again and again is `active` for moments. Such a one must live on for some seconds.
    Source: systemd.service(5), Type=.
    """

    name: ClassVar[str] = "service.steady"
    service: str

    def about(self) -> tuple[str, ...]:
        """The service on this host, and what may bring up one that waits for its peers."""
        return (f"service:{self.service}", f"@up:{self.service}")

    def ask(self) -> Command:
        """The unit's properties, twice where systemd alone says that it is up."""
        return sh(STEADY, **pods.named(self.service))

    def parse(self, reply: Reply) -> bool:
        """Raises ValueError when systemd does not answer."""
        seen = properties(reply)
        return seen.get("ActiveState") == "active" and seen.get("life") != "another"


@dataclass(frozen=True, slots=True)
class ServiceHeld(Fact[bool]):
    """Whether drrun holds the service stopped: any start fails, also after a reboot (H4)."""

    name: ClassVar[str] = "service.held"
    service: str

    def about(self) -> tuple[str, ...]:
        """The drop-in of this service."""
        return (f"hold:{self.service}",)

    def ask(self) -> Command:
        """The file, and whether systemd has read it."""
        return sh(HELD, **pods.named(self.service), FILE=hold_file(self.service))

    def parse(self, reply: Reply) -> bool:
        """Raises ValueError when systemd does not answer."""
        seen = properties(reply)
        return seen.get("file") == "yes" and hold_file(self.service) in seen.get("DropInPaths", "")


@dataclass(frozen=True, slots=True)
class ServiceInstance(Fact[str]):
    """The id of the service's present life (InvocationID); empty when it never ran."""

    name: ClassVar[str] = "service.instance"
    service: str

    def about(self) -> tuple[str, ...]:
        """The service on this host."""
        return (f"service:{self.service}",)

    def ask(self) -> Command:
        """The unit's properties."""
        return sh(SHOW, **pods.named(self.service))

    def parse(self, reply: Reply) -> str:
        """Raises ValueError when systemd does not answer."""
        return properties(reply).get("InvocationID", "")
