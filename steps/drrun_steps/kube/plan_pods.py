"""The step that plans a control plane of static pods on new machines, and refuses what would not do.

Manifests of before are taken for new hosts, with their names and addresses: what the cluster's own
people changed in them (extra flags, images, volumes) is kept, and no kubeadm is needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address

from pydantic import BaseModel, ConfigDict

from drrun.spi import Effect, Flag, Group, GroupStep, Host, Outputs, Refused, Repeat, Whole
from drrun_steps.etcd.config import Config
from drrun_steps.etcd.image import EtcdImage
from drrun_steps.etcd.measure import room
from drrun_steps.etcd.program import EtcdProgram
from drrun_steps.etcd.tools import EtcdTools, Tools
from drrun_steps.file import FileState
from drrun_steps.host import HostAddresses, HostDisk
from drrun_steps.kube.archived import OWN, PODS, Archived, ArchivedPods, swapped
from drrun_steps.kube.machine import KubeMachine, Machine
from drrun_steps.service.facts import ServiceState

_KUBELET = "/etc/kubernetes/kubelet.conf"
_KEYS = re.compile(r"/etc/kubernetes/(pki(/|$)|[^/]*\.conf$)")
"""What kube.keys.install brings."""


class PodPlan(BaseModel):
    """The static pods of one new host: an entry of `pods`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    node: str
    """What kubelet calls the host, and etcd its member."""
    address: str
    """Its own address."""
    old: tuple[str, ...]
    """Addresses of the host whose manifests they were."""
    old_node: str
    """What that host was called."""
    image: str
    """etcd's image."""
    settings: Mapping[str, Mapping[str, str]]
    """Pod -> flags that it has there, of those that are read."""
    data_dir: str
    """Of etcd."""
    mount: Flag
    """Whether it is a mount point."""
    tool: str = ""
    """The tool that is taken from the image to restore with; empty where the host has its own."""
    bump: Flag = False
    """Whether that one can raise revisions."""
    version: str = ""
    """Of that tool."""

    @property
    def config(self) -> Config:
        """The member's settings, as they will be read from the manifest."""
        flags = self.settings["etcd"]
        return Config(
            found=True,
            name=flags["name"],
            data_dir=self.data_dir,
            wal_dir=flags.get("wal-dir", "").rstrip("/"),
            peer_urls=flags["initial-advertise-peer-urls"],
            client_url=flags["advertise-client-urls"].partition(",")[0],
            initial_cluster=flags["initial-cluster"],
            owner="root:root",
            quota=int(flags.get("quota-backend-bytes", 0)),
            mount=bool(self.mount),
        )


class PlanPods(GroupStep):
    """Plan the static pods of new machines after the manifests in an archive of keys. It only reads.

    Where hosts have units or manifests of their own, there is nothing to plan. Refused, before anything is
    changed: a machine that is not new, or lacks kubelet, a container runtime, an image, a file that a manifest
    names, room for the restore, or the tools of etcd, which are taken from its image.
    """

    uses = "kube.static_pods.plan"
    effect = Effect.READ
    repeat = Repeat.SAFE
    outputs = ("pods", "data_dirs")

    archive: str
    """The archive on the controller, proved by kube.keys.verify."""
    size: Whole = 0
    """The snapshot's size in bytes, from etcd.snapshot.verify."""
    etcd_hosts: str = "etcd"
    """The hosts that become members of etcd: with static pods, the same ones."""

    def run(self, group: Group) -> Outputs:
        """What the archive has, then each machine once."""
        bare = self._bare(group)
        if not bare:
            self._refuse_half_laid(group)
        there = group.hosts[0].read(ArchivedPods(self.archive)) if bare else Archived()
        if not there.pods:
            return {"pods": {}, "data_dirs": {}}
        self._refuse_unplannable(group, bare, there)
        data = there.pods["etcd"].flags["data-dir"].rstrip("/")
        dirs = {h.name: str(h.vars.get("etcd_data_dir", "")) or data for h in bare}
        found = {h.name: h.read(self._machine(there, dirs[h.name])) for h in bare}
        tools = {h.name: self._tools(h, found[h.name], there) for h in bare}
        wrong = [
            f"{h.name} {text}"
            for h in bare
            for text in (
                *_unfit(found[h.name], there),
                *self._unready(h, dirs[h.name], tools[h.name]),
            )
        ]
        names = [machine.node for machine in found.values()]
        wrong += [
            f"{name} is the name of several" for name in {n for n in names if names.count(n) > 1}
        ]
        if wrong:
            raise Refused(
                f"not ready for static pods: {'; '.join(wrong)}",
                hint="new machines with containerd, kubelet, kubectl, curl, openssl and the images in the "
                "versions of before, and nothing of a cluster (`kubeadm reset`): docs/how-to/keep-the-keys.md",
            )
        for flag in there.astray:
            group.note(f"{flag} names an old host ({', '.join(there.addresses)}): left as it is")
        return {
            "pods": {
                n: p.model_dump() for n, p in self._plans(bare, there, found, tools, dirs).items()
            },
            "data_dirs": dirs,
        }

    def _bare(self, group: Group) -> Sequence[Host]:
        """The hosts that have neither a unit nor a manifest: all of them, or none."""
        missing = {
            name: state == "missing"
            for service in PODS[:2]
            for name, state in group.read(ServiceState(service)).items()
        }
        bare = [host for host in group.hosts if missing[host.name]]
        if bare and len(bare) < len(group.hosts):
            raise Refused(
                f"{', '.join(h.name for h in bare)} has neither a unit nor a manifest of an API server, "
                "and other hosts have",
                hint="let all of them have units, or none: then static pods are made of the archive's",
            )
        return bare

    def _refuse_half_laid(self, group: Group) -> None:
        """Manifests that are there, and no kubelet that is a node: another run has begun with them."""
        pods = [h for h in group.hosts if h.read(EtcdProgram()).by == "pod"]
        half = [h.name for h in pods if not h.read(FileState(_KUBELET)).exists]
        if half:
            raise Refused(
                f"{', '.join(half)} has manifests of static pods and no {_KUBELET}: another run laid them, "
                "or somebody by hand",
                hint="take them back with `drrun abort RUN --undo`, or go on with that run: `drrun resume RUN`; "
                "by hand, move them out of /var/lib/drrun/stopped",
            )

    def _refuse_unplannable(self, group: Group, bare: Sequence[Host], there: Archived) -> None:
        lost = [pod for pod in PODS if pod not in there.pods]
        flags = there.pods["etcd"].flags if "etcd" in there.pods else {}
        lost += [
            f"etcd's --{f}" for f in (*OWN["etcd"][:4], "data-dir") if flags and f not in flags
        ]
        if lost:
            raise Refused(
                f"{self.archive} has static pods, but not {', '.join(lost)}",
                hint="put manifests for each host's own address into /var/lib/drrun/stopped there, by hand",
            )
        if flags.get("force-new-cluster", "false") != "false":
            raise Refused(
                f"{self.archive}: etcd was started with --force-new-cluster: each member would stand alone",
                hint="name an archive that was saved before that emergency",
            )
        members = {host.name for host in group.role(self.etcd_hosts)}
        if members != {host.name for host in bare}:
            raise Refused(
                "static pods of etcd are on the hosts of the API servers",
                hint="give the same hosts with -e role.etcd=… and -e role.control_plane=…",
            )

    def _machine(self, there: Archived, data_dir: str) -> KubeMachine:
        images = tuple(dict.fromkeys(pod.image for pod in there.pods.values()))
        encryption = there.pods["kube-apiserver"].flags.get("encryption-provider-config", "")
        brought = {*there.files, encryption, data_dir}
        files = {f for pod in there.pods.values() for f in pod.files if not _KEYS.match(f)}
        return KubeMachine(images, tuple(sorted(files - brought)), data_dir)

    def _tools(self, host: Host, machine: Machine, there: Archived) -> Tools | None:
        """What the image gives; None where the host has tools of its own."""
        own = host.read(EtcdTools())
        if own.restore and "etcdctl" not in machine.lacks:
            return None
        return host.read(EtcdImage(there.pods["etcd"].image))

    def _unready(self, host: Host, data_dir: str, tools: Tools | None) -> Iterator[str]:
        if tools is not None and not tools.restore:
            yield (
                "has neither etcdctl and etcdutl nor an image of etcd that `ctr` can show: put them into "
                "/usr/local/bin there"
            )
        free = host.read(HostDisk(f"{data_dir}.drrun")).free
        if free < room(self.size):
            yield f"has {free >> 20} MiB free beside {data_dir}, {room(self.size) >> 20} MiB are needed"
        address = _address(host)
        if not _is_address(address):
            yield f"is known as {address}: say its address in the inventory, or as var node_address"
        elif address not in host.read(HostAddresses()):
            yield f"does not have the address {address}: say its own as var node_address"

    def _plans(
        self,
        hosts: Sequence[Host],
        there: Archived,
        found: Mapping[str, Machine],
        tools: Mapping[str, Tools | None],
        dirs: Mapping[str, str],
    ) -> Mapping[str, PodPlan]:
        settings = {h.name: _settings(there, _address(h), found[h.name].node) for h in hosts}
        members = [settings[h.name]["etcd"] for h in hosts]
        cluster = ",".join(
            f"{one['name']}={url}"
            for one in members
            for url in one["initial-advertise-peer-urls"].split(",")
        )
        plans = {}
        for host in hosts:
            settings[host.name]["etcd"]["initial-cluster"] = cluster
            taken = tools[host.name] or Tools()
            plans[host.name] = PodPlan(
                node=found[host.name].node,
                address=_address(host),
                old=there.addresses,
                old_node=there.pods["etcd"].flags["name"],
                image=there.pods["etcd"].image,
                settings=settings[host.name],
                data_dir=dirs[host.name],
                mount=found[host.name].mount,
                tool=taken.restore,
                bump=taken.bump,
                version=taken.version,
            )
        return plans


def _unfit(found: Machine, there: Archived) -> Iterator[str]:
    """Why a machine is not new, or not ready, in words that follow its name."""
    if found.of_cluster:
        yield f"is no new machine: {', '.join(found.of_cluster)} is there"
    if found.running:
        yield f"is no new machine: {found.running} containers run"
    if lacks := [one for one in found.lacks if one != "etcdctl"]:
        yield f"has no {', no '.join(lacks)}"
    if found.images:
        yield f"has no image {', '.join(found.images)}"
    if found.without:
        yield f"has no {', '.join(found.without)}, which manifests name and the archive lacks"
    if not found.settings and "config.yaml" not in there.kubelet:
        yield "has no /var/lib/kubelet/config.yaml, and the archive has none: a worker's is the same"
    server = there.pods["kube-apiserver"].image.rpartition(":")[2].removeprefix("v")
    if _minor(found.kubelet) > _minor(server) > (0, 0):
        yield f"has kubelet {found.kubelet}, newer than the API server, {server}"


def _settings(there: Archived, address: str, node: str) -> dict[str, dict[str, str]]:
    """Pod -> its flags, with a new host's name and address in those that say whose they are."""
    new = bracketed(address)
    made: dict[str, dict[str, str]] = {}
    for pod, one in there.pods.items():
        made[pod] = dict(one.flags)
        for flag in OWN[pod]:
            for old in there.addresses if flag in one.flags else ():
                value = swapped(made[pod][flag], bracketed(old), new)
                plain = flag in {"advertise-address", "bind-address"}
                made[pod][flag] = swapped(value, old, address) if plain else value
    made["etcd"]["name"] = node
    return made


def bracketed(address: str) -> str:
    """An address or a name as a URL has it."""
    return f"[{address}]" if ":" in address else address


def _address(host: Host) -> str:
    return str(host.vars.get("node_address", "")) or host.address


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _minor(version: str) -> tuple[int, int]:
    """`1.31.2` as (1, 31); (0, 0) for what is no version."""
    first, _, rest = version.partition(".")
    second = rest.partition(".")[0]
    return (int(first), int(second)) if first.isdigit() and second.isdigit() else (0, 0)
