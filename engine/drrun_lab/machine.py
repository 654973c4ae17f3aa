"""One host as a machine: its disk, its boot under systemd-nspawn, its end.

A host's folder holds `upper` and `work` (its layer of the overlay), `root` (where the overlay is
mounted), `state` (its /var/lib, a bind), `supervisor.pid` and `console.log`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from drrun.errors import LabError
from drrun_lab import images
from drrun_lab.cgroups import HostCgroup
from drrun_lab.commands import attempt, run
from drrun_lab.waiting import until

_SUPERVISOR = r"""
folder=$1 port=$2; shift 2
echo $$ > "$folder/supervisor.pid.new" && mv "$folder/supervisor.pid.new" "$folder/supervisor.pid"
trap '[ -z "$child" ] || kill -TERM "$child"; ending=1' TERM
while :; do
    # The port of the boot before may linger, and would stop this one.
    ip link delete "$port" 2>/dev/null
    sh -c '
        while [ "$1" != -- ]; do
            # Version 2 admits nobody to a cgroup that hands controllers down, as the boot before
            # left it: start from an empty one.
            if [ -e "$1/cgroup.controllers" ]; then
                find "$1" -depth -type d -exec rmdir {} \; 2>/dev/null
                mkdir -p "$1"
            fi
            echo $$ > "$1/cgroup.procs"; shift
        done
        shift; exec "$@"' host "$@" &
    child=$!
    wait "$child"; code=$?
    while kill -0 "$child" 2>/dev/null; do wait "$child"; code=$?; done
    # 133 is how nspawn says that the host asked for a reboot.
    [ "$code" -eq 133 ] && [ -z "$ending" ] || exit "$code"
done
"""

_NSPAWN = Path("/run/systemd/nspawn")
_ENVIRONMENT = {
    # A kernel without seccomp would stop nspawn at its filter.
    "SYSTEMD_SECCOMP": "0",
    # Hosts own their network stack: firewall rules and network sysctls are theirs to set.
    "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
}


@dataclass(frozen=True, slots=True)
class Machine:
    """A host's disk and processes on this machine.

    `name` is unique among all machines here, `layers` are the read-only folders below its own
    layer, uppermost first. `images`, if given, is what its containerd begins with.
    """

    name: str
    hostname: str
    folder: Path
    bridge: str
    layers: tuple[Path, ...]
    images: Path | None = None

    @property
    def root(self) -> Path:
        """Where the host's / is mounted."""
        return self.folder / "root"

    @property
    def state(self) -> Path:
        """The host's /var/lib."""
        return self.folder / "state"

    @property
    def containerd(self) -> Path:
        """The host's /var/lib/containerd, where it has one of its own."""
        return self.folder / "containerd"

    @property
    def cgroup(self) -> HostCgroup:
        """The cgroup that holds all of the host's processes."""
        return HostCgroup(self.name)

    def mount(self) -> None:
        """Mount the host's disk. Idempotent."""
        if self.root.is_mount():
            return
        upper, work = self.folder / "upper", self.folder / "work"
        # Overlayfs leaves a folder in `work` that it insists on finding empty.
        shutil.rmtree(work, ignore_errors=True)
        for folder in (upper, work, self.root):
            folder.mkdir(parents=True, exist_ok=True)
        lower = ":".join(str(layer) for layer in self.layers)
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        run(["mount", "-t", "overlay", "-o", options, f"drrun-{self.name}", str(self.root)])

    def unmount(self) -> None:
        """Unmount the host's disk. Idempotent; the host must be off."""
        if self.root.is_mount():
            run(["umount", str(self.root)])

    def running(self) -> bool:
        """Whether any process of the host is alive."""
        return bool(self.cgroup.members())

    def boot(self) -> None:
        """Power the host on; return at once. A host that is on is left alone."""
        if self.running():
            return
        self._end_supervisor(signal.SIGKILL)
        self.mount()
        self.cgroup.remove()
        self.cgroup.create()
        nspawn = [
            *("systemd-nspawn", "--quiet", f"--directory={self.root}", f"--machine={self.name}"),
            *(f"--hostname={self.hostname}", "--register=no", "--keep-unit", "--boot"),
            *(f"--network-bridge={self.bridge}", "--capability=all"),
            *("--resolv-conf=off", "--timezone=off", "--link-journal=no"),
            *("--bind=/dev/null:/dev/kmsg", f"--bind={self.state}:/var/lib"),
        ]
        if self.images:
            nspawn.append(f"--bind={self.containerd}:/var/lib/containerd")
        cgroups = [str(folder) for folder in self.cgroup.folders]
        self._supervise([*cgroups, "--", *nspawn])

    def power_cut(self) -> None:
        """End all the host's processes at once, without a shutdown. Idempotent."""
        self._end_supervisor(signal.SIGKILL)
        self.cgroup.kill()
        self._sweep()

    def reboot(self) -> None:
        """Reboot the host as `systemctl reboot --force` does: no unit is stopped first.

        Returns at once. Raises LabError when the host is off.
        """
        init = self.cgroup.init()
        if init is None:
            raise LabError(f"{self.name} is off, and cannot reboot")
        os.kill(init, signal.SIGRTMIN + 15)

    def power_off(self, *, timeout: float = 30) -> None:
        """Shut the host down cleanly; cut its power if it does not end in time."""
        self._end_supervisor(signal.SIGTERM)
        with suppress(LabError):
            until(lambda: not self.running(), timeout=timeout, awaiting=f"{self.name} to halt")
        self.power_cut()

    def remove(self) -> None:
        """Cut the power and remove every trace: processes, cgroups, mount and disk."""
        self.power_cut()

        def removed() -> bool:
            self.cgroup.remove()
            return not self.cgroup.left()

        until(removed, timeout=10, awaiting=f"the kernel to let go of {self.name}'s cgroups")
        self.unmount()
        shutil.rmtree(self.folder, ignore_errors=True)

    def save(self, to: Path) -> None:
        """Copy the host's disk, images apart. Whoever calls holds the host still, or off."""
        shutil.rmtree(to, ignore_errors=True)
        to.mkdir(parents=True)
        _copy([self.folder / "upper", self.state], to)

    def restore(self, saved: Path) -> None:
        """Put a saved disk in the place of the host's own. The host must be off."""
        self.unmount()
        for name in ("upper", "state"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        _copy([saved / "upper", saved / "state"], self.folder)
        self.furnish()

    def furnish(self) -> None:
        """Give the host its images, and a containerd that knows of no container. It must be off."""
        if self.images:
            images.furnish(self.images, self.containerd)

    @property
    def _port(self) -> str:
        return f"vb-{self.name}"

    def _supervise(self, arguments: Sequence[str]) -> None:
        with (self.folder / "console.log").open("ab") as console:
            subprocess.Popen(
                [
                    "setsid",
                    "--fork",
                    "sh",
                    "-c",
                    _SUPERVISOR,
                    "drrun-lab",
                    self.folder,
                    self._port,
                    *arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env={**os.environ, **_ENVIRONMENT},
                cwd="/",
            ).wait(timeout=10)
        until(self.running, timeout=10, awaiting=f"{self.name} to start", every=0.01)

    def _sweep(self) -> None:
        """Remove what a killed nspawn leaves: its port (which would stop the next one), locks."""
        attempt(["ip", "link", "delete", self._port])
        with suppress(OSError):
            (_NSPAWN / "propagate" / self.name).rmdir()
        with suppress(OSError):
            disk = self.root.stat()
            (_NSPAWN / "locks" / f"inode-{disk.st_dev}:{disk.st_ino}").unlink()

    def _end_supervisor(self, how: signal.Signals) -> None:
        """Signal the supervisor if its recorded process id is still that of a supervisor."""
        with suppress(FileNotFoundError, ProcessLookupError, ValueError):
            pid = int((self.folder / "supervisor.pid").read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if str(self.folder).encode() in command:
                os.kill(pid, how)


def _copy(sources: Sequence[Path], to: Path) -> None:
    """Copy folders with everything overlayfs and etcd care about; holes stay holes."""
    words = [str(source) for source in sources]
    run(["cp", "--archive", "--sparse=always", "--reflink=auto", *words, str(to)], timeout=120)
