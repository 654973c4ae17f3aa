"""A lab: bring it up, look at it, break it, reset it, take it down.

Rule 1: `up` and `down` hold the lab's lock; each is idempotent and can follow a killed one.
Rule 2: nothing of a lab outlives `down`: no process, cgroup, mount, interface, firewall table, file.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path

from drrun.errors import LabError
from drrun_lab import brought, kubeadm, network, provision, saved
from drrun_lab.access import Access
from drrun_lab.cache import Cache, locked
from drrun_lab.control_plane import LEADERS, ControlPlane
from drrun_lab.inventory import inventory_text
from drrun_lab.keys import SshKey
from drrun_lab.layout import LabHost, LabSpec, Layout, checked_name
from drrun_lab.limits import make_room
from drrun_lab.machine import Machine
from drrun_lab.packages import require_root
from drrun_lab.places import SUBNETS, cache_folder, state_folder
from drrun_lab.preparation import prepare
from drrun_lab.progress import Progress
from drrun_lab.readiness import Readiness
from drrun_lab.record import LabRecord, records
from drrun_lab.waiting import until

_BOOT, _READY = 60, 180
"""Seconds until sshd must answer, and until the control plane must. Ten times what is usual."""


class Lab:
    """A rehearsal cluster on this machine. Get one from `Lab.up` or `Lab.find`."""

    def __init__(self, record: LabRecord, folder: Path, progress: Progress) -> None:
        self.record = record
        self.folder = folder
        self._progress = progress
        self._access = Access(folder)
        self._control_plane = ControlPlane(folder / "admin.conf", record.layers)

    # -- coming and going ---------------------------------------------------------------------

    @classmethod
    def up(
        cls, name: str = "lab", spec: LabSpec | None = None, *, progress: Progress | None = None
    ) -> Lab:
        """Return the named lab, running and ready; build, resume or boot whatever that takes.

        A lab that exists keeps its disks. Raises LabError without root, when the lab exists with
        another spec, or when something did not come up (with the last lines of the journal).
        """
        progress = progress or Progress()
        require_root("drrun lab up")
        spec = brought.told(spec or LabSpec())
        folder = state_folder() / checked_name(name)
        with _lab_lock(name, progress):
            record = LabRecord.read(folder)
            if record and record.stage == "making":
                progress.say(f"lab {name} was never finished: starting over")
                cls(record, folder, progress)._demolish()  # noqa: SLF001 - our own, under our lock
                record = None
            if record is None:
                return cls._create(name, spec, folder, progress)
            if record.layout.spec != spec:
                raise LabError(
                    f"lab {name} is there with another shape: {record.layout.spec.described}",
                    hint=f"`drrun lab down --name {name}` first, or choose another --name",
                )
            lab = cls(record, folder, progress)
            lab.start()
            lab.wait_ready()
            return lab

    @classmethod
    def find(cls, name: str = "lab", *, progress: Progress | None = None) -> Lab:
        """The named lab as it is. Raises LabError when there is none."""
        folder = state_folder() / checked_name(name)
        record = LabRecord.read(folder)
        if record is None:
            raise LabError(
                f"there is no lab {name}", hint=f"`drrun lab up --name {name}` makes one"
            )
        return cls(record, folder, progress or Progress())

    @staticmethod
    def names() -> tuple[str, ...]:
        """The labs of this machine."""
        return tuple(records(state_folder()))

    def down(self) -> None:
        """Remove the lab with everything that belongs to it. Idempotent."""
        require_root("drrun lab down")
        with _lab_lock(self.layout.name, self._progress):
            self._demolish()
            _lock_file(self.layout.name).unlink(missing_ok=True)

    # -- what it is ---------------------------------------------------------------------------

    @property
    def layout(self) -> Layout:
        """Names, addresses and shape."""
        return self.record.layout

    @property
    def inventory(self) -> Path:
        """The inventory that drrun reads."""
        return self.folder / "inventory.yaml"

    @property
    def hosts(self) -> tuple[LabHost, ...]:
        """All hosts, the load balancer last."""
        return self.layout.hosts

    @property
    def haproxy_address(self) -> str:
        """Where the API servers are reached together, on port 6443."""
        return self.layout.haproxy_address

    def running(self, host: str) -> bool:
        """Whether the host is powered on."""
        return self.machine(host).running()

    def machine(self, host: str) -> Machine:
        """The host as a machine of systemd-nspawn."""
        return self._machine(self.layout.host(host))

    # -- reaching into it ---------------------------------------------------------------------

    def ssh(
        self, host: str, script: str, *, user: str = "root", stdin: str = "", timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell script on a host by plain OpenSSH; not checked, so look at `returncode`."""
        address = self.layout.host(host).address
        return self._access.ssh(address, script, user=user, stdin=stdin, timeout=timeout)

    def ssh_argv(self, host: str, user: str = "root") -> list[str]:
        """OpenSSH's command line for a host, to add a remote command to."""
        return self._access.ssh_argv(self.layout.host(host).address, user)

    def kubectl(
        self, *args: str, stdin: str = "", timeout: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl here, as cluster administrator, through the load balancer; not checked."""
        return self._control_plane.kubectl(*args, stdin=stdin, timeout=timeout)

    def wait_ready(self, *, timeout: float = _READY, controllers: bool = True) -> None:
        """Return when sshd answers on every host and the control plane serves and works.

        Serving is /readyz on each API server and through the load balancer; working, unless
        `controllers` is off, is a controller manager and a scheduler that renew their leases
        (after a power cut the old holder's must run out: fifteen seconds). Raises LabError on
        time-out, with the last lines of the journals.
        """
        waits = self._readiness
        waits.sshd(self._consoles)
        if not self.layout.spec.kube:
            waits.etcd(timeout)
            return
        waits.api(timeout)
        if controllers:
            waits.controllers(timeout)

    # -- breaking and mending it --------------------------------------------------------------

    def start(self) -> None:
        """Power on every host that is off. Returns at once; see `wait_ready`."""
        for layer in self.record.layers:
            if not layer.is_dir():
                raise LabError(
                    f"{layer} is gone, and lab {self.layout.name} is mounted on it",
                    hint=f"`drrun lab down --name {self.layout.name}`, then up again",
                )
        make_room(self._progress)
        network.raise_bridge(self.layout)
        self._each(lambda machine: machine.boot())

    def reboot(self, host: str, *, timeout: float = _BOOT) -> None:
        """Reboot a host cleanly and return when its sshd answers under another boot id."""
        before = self.ssh(host, "cat /proc/sys/kernel/random/boot_id").stdout
        self.ssh(host, "systemctl reboot")

        def back() -> bool:
            told = self.ssh(host, "cat /proc/sys/kernel/random/boot_id").stdout
            return bool(told) and told != before

        until(back, timeout=timeout, awaiting=f"{host} to come back from its reboot")

    def power_cut(self, host: str) -> None:
        """End everything on a host at once. `start` powers it on again."""
        self.machine(host).power_cut()

    def power_on(self, host: str) -> None:
        """Boot a host that is off. Returns at once."""
        self.machine(host).boot()

    def cut(self, host: str) -> None:
        """Drop all traffic from and to a host, silently. It goes on running."""
        network.cut(self.layout, [self.layout.port(self.layout.host(host))])

    def mend(self, host: str) -> None:
        """End `cut`. A host that was not cut is fine."""
        network.mend(self.layout, self.layout.port(self.layout.host(host)))

    def reset(self, *, wait: bool = True) -> None:
        """Bring the cluster back to what it was right after `up`: disks, network and all.

        Cuts the power, puts the pristine copies of all disks back and boots. The cluster uid
        stays; every host has a new boot id.
        """
        require_root("resetting a lab")
        with _lab_lock(self.layout.name, self._progress):
            if self.record.stage != "ready":
                raise LabError(f"lab {self.layout.name} was never finished", hint="drrun lab up")
            self._each(lambda machine: machine.power_cut())
            network.raise_bridge(self.layout)
            network.mend_all(self.layout)
            self._each(lambda machine: machine.restore(self._pristine(machine)))
            self._progress.say("pristine disks are back, booting")
            self.start()
        if wait:
            self.wait_ready()

    # -- inside -------------------------------------------------------------------------------

    @classmethod
    def _create(cls, name: str, spec: LabSpec, folder: Path, progress: Progress) -> Lab:
        ingredients = prepare(spec, progress)
        folder.mkdir(parents=True, exist_ok=True)
        with locked(SUBNETS, progress, "the choice of a subnet"):
            others = [record.layout.subnet for record in records(state_folder()).values()]
            # A saved cluster belongs to its addresses: labs that can share one begin alike.
            seed = "kubeadm" if spec.layout == "kubeadm" else name
            layout = Layout(name, spec, network.free_subnet(seed, others))
            record = LabRecord(layout, ingredients.layers, ingredients.versions, ingredients.images)
            record.write(folder)
            network.raise_bridge(layout)
        progress.say(f"lab {name} on {layout.subnet}, bridge {layout.bridge}")
        lab = cls(record, folder, progress)
        if spec.layout == "kubeadm":
            lab._make_by_kubeadm()
            return lab
        lab._provision()
        lab.start()
        lab.wait_ready()
        lab._keep_pristine()
        return lab

    def _make_by_kubeadm(self) -> None:
        """Boot a copy of a saved cluster; without one, have kubeadm make it, and save it."""
        cache = Cache(cache_folder(), self._progress)
        ingredients = repr((self.record.layers, self.record.images))
        if kept := saved.find(cache, self.layout, ingredients):
            self._progress.say(f"a saved cluster is there: {kept.folder.name}")
            self.record = self.record.ready(saved.unpack(kept, self.folder))
            self._each(lambda machine: machine.restore(self._pristine(machine)))
            self.start()
            self.wait_ready()
            self._write_inventory()
            self.record.write(self.folder)
            return
        self._provision()
        self.start()
        self._readiness.sshd(self._consoles)
        kubeadm.bring_up(self.layout, self._timed_ssh, self._progress)
        first = self.layout.members[0].name
        for place, name in (("pki/ca.crt", "ca.crt"), ("admin.conf", "admin.conf")):
            told = self.ssh(first, f"cat /etc/kubernetes/{place}").stdout
            self._write(name, told.encode(), 0o600 if name == "admin.conf" else 0o644)
        self.wait_ready()
        self._keep_pristine()
        saved.keep(cache, self.layout, ingredients, self.folder, self.record.cluster_uid)

    def _timed_ssh(
        self, host: str, script: str, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        return self.ssh(host, script, timeout=timeout)

    @property
    def _readiness(self) -> Readiness:
        return Readiness(self.layout, self._access, self._control_plane, self._progress)

    @property
    def _consoles(self) -> dict[str, Path]:
        return {host.name: self._machine(host).folder / "console.log" for host in self.hosts}

    def _provision(self) -> None:
        credentials = provision.Credentials.new()
        identities = {host.name: SshKey.new() for host in self.hosts}
        known = (f"{h.address} {identities[h.name].public}\n" for h in self.hosts)
        self._write("known_hosts", "".join(known).encode())
        self._write("id_ed25519", credentials.login.private, 0o600)
        self._write("id_ed25519.pub", f"{credentials.login.public}\n".encode())
        self._write("ca.crt", credentials.authorities.cluster.crt)
        config = provision.admin_config(self.layout, credentials.authorities)
        self._write("admin.conf", config, 0o600)
        for host in self.hosts:
            machine = self._machine(host)
            machine.mount()
            machine.furnish()
            units = self.layout.spec.layout == "systemd"
            provision.write_state(machine.root, machine.state, etcd=units)
            files = provision.host_files(self.layout, host, credentials, identities[host.name])
            provision.write_files(machine.root, files)
        self._write_inventory()
        self._progress.say(f"provisioned {len(self.hosts)} hosts, booting")

    def _keep_pristine(self) -> None:
        """Keep copies of all disks, taken while every host is held still: no shutdown needed."""
        kube = self.layout.spec.kube
        uid = self._control_plane.uid() if kube else ""
        with ExitStack() as still:
            if kube:
                # A leader that ran on would take its lease again before the disks are copied.
                for host in self.layout.members:
                    still.enter_context(self._machine(host).cgroup.stopped(*LEADERS))
                still.enter_context(self._control_plane.leaderless())
            for host in self.hosts:
                still.enter_context(self._machine(host).cgroup.frozen())
            self._each(lambda machine: machine.save(self._pristine(machine)))
        self.record = self.record.ready(uid)
        self._write_inventory()
        self.record.write(self.folder)
        self._progress.say("kept a pristine copy of all disks for resets")

    def _demolish(self) -> None:
        self._each(lambda machine: machine.remove())
        network.remove_bridge(self.layout.bridge)
        with suppress(FileNotFoundError):
            shutil.rmtree(self.folder)
        self._progress.say(f"lab {self.layout.name} is gone")

    def _each(self, act: Callable[[Machine], None]) -> None:
        """Do one thing to all machines at the same time."""
        with ThreadPoolExecutor(len(self.hosts)) as pool:
            list(pool.map(lambda host: act(self._machine(host)), self.hosts))

    def _machine(self, host: LabHost) -> Machine:
        return Machine(
            name=self.layout.machine(host),
            hostname=host.name,
            folder=self.folder / "hosts" / host.name,
            bridge=self.layout.bridge,
            layers=self.record.layers,
            images=None if host.role == "load_balancer" else self.record.images,
        )

    def _pristine(self, machine: Machine) -> Path:
        return self.folder / "pristine" / machine.hostname

    def _write_inventory(self) -> None:
        text = inventory_text(self.layout, self.folder, self.record.cluster_uid)
        self._write("inventory.yaml", text.encode())

    def _write(self, name: str, content: bytes, mode: int = 0o644) -> None:
        draft = self.folder / f".{name}"
        draft.write_bytes(content)
        draft.chmod(mode)
        draft.replace(self.folder / name)


def _lab_lock(name: str, progress: Progress) -> AbstractContextManager[None]:
    return locked(_lock_file(name), progress, f"lab {name}")


def _lock_file(name: str) -> Path:
    return state_folder() / f".{checked_name(name)}.lock"
