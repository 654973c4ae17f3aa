"""A cgroup of its own for each host, in every hierarchy of this machine.

systemd in a host kills a unit by its cgroup. Hosts that share a cgroup tree share units: stopping
etcd on one would reach the others. So the host's cgroup exists before systemd-nspawn unshares the
cgroup namespace, and the host sees it as the root.

The cgroup is also the truth about what belongs to a host: who is in it, is ended with it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from drrun_lab.waiting import until

_PREFIX = "drrun-lab."
_COMM_BYTES = 15


class HostCgroup:
    """The cgroup `drrun-lab.MACHINE` in every mounted hierarchy, version 1, 2 or both."""

    def __init__(self, machine: str) -> None:
        self._machine = machine
        self.folders = tuple(root / f"{_PREFIX}{machine}" for root in _hierarchies())

    def create(self) -> None:
        """Make the cgroup. Idempotent."""
        for folder in self.folders:
            folder.mkdir(exist_ok=True)
            if (folder / "cpuset.cpus").exists() and not (folder / "cgroup.controllers").exists():
                # Version 1: a new cpuset is empty and admits nobody until told otherwise.
                for name in ("cpuset.cpus", "cpuset.mems"):
                    (folder / name).write_text((folder.parent / name).read_text())
                (folder / "cgroup.clone_children").write_text("1")

    def members(self) -> set[int]:
        """Process ids of everything in the cgroup and below it."""
        found: set[int] = set()
        for folder in self.folders:
            for below in _with_all_below(folder):
                with suppress(OSError):
                    found |= {int(pid) for pid in (below / "cgroup.procs").read_text().split()}
        return found - {0}

    def kill(self, *, timeout: float = 10) -> None:
        """End every member at once, as a power cut does. Raises LabError if one survives."""
        self._freeze(frozen=False)

        def gone() -> bool:
            members = self.members()
            for pid in members:
                _signal(pid, signal.SIGKILL)
            return not members

        until(gone, timeout=timeout, awaiting=f"the end of {self._machine}'s processes", every=0.03)

    def remove(self) -> None:
        """Remove the empty cgroup with all below it. Idempotent."""
        for folder in self.folders:
            for below in reversed(_with_all_below(folder)):
                with suppress(OSError):
                    below.rmdir()

    def left(self) -> bool:
        """Whether any folder of the cgroup is still there."""
        return any(folder.exists() for folder in self.folders)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Hold every member still, so that its disk can be copied as at one instant."""
        self._freeze(frozen=True)
        try:
            yield
        finally:
            self._freeze(frozen=False)

    def running(self, *commands: str) -> list[int]:
        """Process ids of the members that run these commands."""
        names = {command[:_COMM_BYTES] for command in commands}
        return sorted(pid for pid in self.members() if _comm(pid) in names)

    def signal(self, how: signal.Signals, *commands: str) -> int:
        """Signal the members that run these commands; how many there were."""
        found = self.running(*commands)
        for pid in found:
            _signal(pid, how)
        return len(found)

    def init(self) -> int | None:
        """The process that is number 1 to the host; None when it is off."""
        return next((pid for pid in sorted(self.members()) if _number_inside(pid) == 1), None)

    @contextmanager
    def stopped(self, *commands: str) -> Iterator[None]:
        """Hold the members that run these commands, and nobody else, for the length of a block."""
        held = self.running(*commands)
        for pid in held:
            _signal(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in held:
                _signal(pid, signal.SIGCONT)

    def _freeze(self, *, frozen: bool) -> None:
        """Freeze or thaw in version 1's freezer if that is mounted, else in version 2."""
        for folder in self.folders:
            if (state := folder / "freezer.state").exists():
                _set(state, "FROZEN" if frozen else "THAWED")
                return
        for folder in self.folders:
            if (switch := folder / "cgroup.freeze").exists():
                _switch(switch, folder / "cgroup.events", f"{int(frozen)}")
                return


def _with_all_below(folder: Path) -> list[Path]:
    """A folder and all folders below it, parents first; those that vanish meanwhile are left out.

    A host that boots or reboots makes and removes cgroups while this looks.
    """
    return [Path(path) for path, _, _ in os.walk(folder)]


def _comm(pid: int) -> str:
    """The name of a process, cut at fifteen bytes by the kernel; empty if it is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().rstrip("\n")
    return ""


def _number_inside(pid: int) -> int:
    """A process's id in the innermost namespace that it is in; 0 if it is gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("NSpid:"):
                return int(line.split()[-1])
    return 0


def _signal(pid: int, how: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, how)


def _set(state: Path, wanted: str) -> None:
    """Write version 1's freezer state until it holds: freezing can take more than one try."""

    def holds() -> bool:
        state.write_text(wanted)
        return state.read_text().strip() == wanted

    until(holds, timeout=10, awaiting=f"{state} to become {wanted}", every=0.01)


def _switch(switch: Path, events: Path, wanted: str) -> None:
    """Write version 2's freezer switch and wait until everything below has obeyed."""
    switch.write_text(wanted)
    told = f"frozen {wanted}"
    until(
        lambda: told in events.read_text(),
        timeout=10,
        awaiting=f"{told} in {events}",
        every=0.01,
    )


def _hierarchies() -> tuple[Path, ...]:
    """Where each cgroup hierarchy of this machine is mounted."""
    mounts = (line.split() for line in Path("/proc/self/mounts").read_text().splitlines())
    return tuple(Path(fields[1]) for fields in mounts if fields[2] in {"cgroup", "cgroup2"})
