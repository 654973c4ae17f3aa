"""The steps that measure what a restore needs, and measure again when all is down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from drrun.spi import (
    Demand,
    Effect,
    Flag,
    Group,
    GroupStep,
    Host,
    Outputs,
    Refused,
    Repeat,
    Rule,
    Whole,
    satisfies,
    step_done,
)
from drrun_steps.etcd.access import ask_each, overrides
from drrun_steps.etcd.config import Config
from drrun_steps.etcd.directories import Directories, EtcdDirectories
from drrun_steps.etcd.disk import DataDir
from drrun_steps.etcd.identity import bump, cluster_id, conflicts, initial_cluster, strangers
from drrun_steps.etcd.live import EtcdStatus
from drrun_steps.etcd.ruling import config_fact, data_fact
from drrun_steps.etcd.tools import EtcdTools, Tools
from drrun_steps.etcd.verdict import most
from drrun_steps.fields import Listed
from drrun_steps.host import HostDisk
from drrun_steps.service.facts import ServiceState

_SPARE = 512 * 1024 * 1024
_LOG = 192 * 1024 * 1024
"""Bytes for a new log: etcd allocates 64 MiB a file, and the next file ahead."""


class MemberPlan(BaseModel):
    """What one host needs to know to restore its member: an entry of `members`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """The member's name."""
    peer_urls: str
    """Its initial-advertise-peer-urls."""
    client_url: str
    """Where clients reach it."""
    data_dir: str
    """Its data directory."""
    wal_dir: str
    """Its own directory for the write-ahead log, if it has one."""
    owner: str
    """user:group that etcd runs as."""
    mount: Flag
    """Whether the data directory is a mount point."""
    tool: str
    """etcdutl or etcdctl."""
    wal_mount: Flag = False
    """Whether the directory for the write-ahead log is a mount point."""
    inside: str = ""
    """Where the write-ahead log is below the data directory, if neither apart nor in member/wal."""


class Measure(GroupStep):
    """Read how every member is set up and compute, once for all, how the restore names them.

    Refuses on members whose settings contradict each other, on members that the inventory does
    not know, on a host without a tool to restore with, and on a disk that is too small.
    """

    uses = "etcd.restore.measure"
    effect = Effect.READ
    repeat = Repeat.SAFE
    outputs = ("members", "initial_cluster", "token", "bump", "cluster_id", "endpoints")

    revision: Whole
    """The snapshot's revision."""
    size: Whole
    """The snapshot's size in bytes."""
    max_revision: Whole
    """The greatest revision that etcd.verdict found."""
    complete: Flag = True
    """Whether etcd.verdict could measure every host."""
    accept_unlisted: Listed = ()
    """Names in an initial-cluster that no host has, and are known to be gone."""
    version: str = ""
    """The cluster version that the snapshot was taken from, from etcd.snapshot.verify; it may not be known."""
    seed: str = ""
    """The hosts that are restored, as an expression over roles, where the others join them
    afterwards; all of them when it is left out."""
    service: str = "etcd"
    """etcd's unit."""

    def run(self, group: Group) -> Outputs:
        """Ask every host once."""
        every = ask_each(group, group.hosts, lambda h: config_fact(h, self.service))
        self._refuse_conflicts(every)
        seeds = {host.name for host in group.role(self.seed)} if self.seed else set(every)
        hosts = [host for host in group.hosts if host.name in seeds]
        configs = {name: config for name, config in every.items() if name in seeds}
        tools = group.read(EtcdTools(), hosts)
        self._refuse_toolless(tools)
        self._refuse_older(tools)
        places = ask_each(
            group,
            hosts,
            lambda h: EtcdDirectories(configs[h.name].data_dir, configs[h.name].wal_dir),
        )
        self._refuse_shapes(places)
        for host in hosts:
            self._refuse_full(host, places[host.name])
        token = f"drrun-{hosts[0].run}"
        capable = all(tool.bump for tool in tools.values())
        raised = bump(self.max_revision, self.revision, complete=self.complete, capable=capable)
        if not capable:
            group.note(
                "the restore tool of these hosts cannot raise revisions: after the restore every "
                "client that watches (kubelets, controllers, operators) must be restarted"
            )
        urls = [config.peer_urls for config in configs.values()]
        return {
            "members": {
                name: _plan(config, places[name], tools[name]).model_dump()
                for name, config in configs.items()
            },
            "initial_cluster": initial_cluster(configs),
            "token": token,
            "bump": raised,
            "cluster_id": cluster_id(urls, token),
            "endpoints": [config.client_url for config in configs.values()],
        }

    def _refuse_conflicts(self, configs: Mapping[str, Config]) -> None:
        if wrong := conflicts(configs):
            raise Refused(
                f"the members' settings contradict each other: {'; '.join(wrong)}",
                hint="correct the units or their environment files, then start again",
            )
        unknown = [s for s in strangers(configs) if s.split(" ")[0] not in self.accept_unlisted]
        if unknown:
            raise Refused(
                f"members that the inventory does not know: {', '.join(unknown)}",
                hint="add their hosts to the group etcd; for members that are gone for good say "
                f"-e accept_unlisted={','.join(u.split(' ')[0] for u in unknown)}",
            )

    def _refuse_toolless(self, tools: Mapping[str, Tools]) -> None:
        without = [name for name, tool in tools.items() if not tool.restore]
        if without:
            raise Refused(
                f"neither etcdutl nor etcdctl can restore a snapshot on {', '.join(without)}",
                hint="put an etcdutl of the running etcd's version into /usr/local/bin there. Since 3.6 etcdctl "
                "restores nothing; images of etcd from 3.6.5 on hold an etcdutl, and of a member that runs it is taken",
            )

    def _refuse_older(self, tools: Mapping[str, Tools]) -> None:
        """A tool of an older minor release leaves members of before in the data of a newer one (etcd.io, 2025-12-17)."""
        wanted = line_of(self.version) or max(
            (line_of(t.version) for t in tools.values()), default=()
        )
        old = [
            f"{name}: {tool.restore} {tool.tool}"
            for name, tool in tools.items()
            if tool.tool and wanted and line_of(tool.tool) < wanted
        ]
        if old:
            raise Refused(
                f"the tool to restore with is older than the data, of etcd {'.'.join(map(str, wanted))}: {'; '.join(old)}",
                hint="put an etcdutl of that release into /usr/local/bin there: an older one leaves the members of "
                "before in the restored data, and no quorum comes together",
            )

    def _refuse_shapes(self, places: Mapping[str, Directories]) -> None:
        wrong = [f"{name}: {at}" for name, place in places.items() for at in place.wrong]
        if wrong:
            raise Refused(
                f"these directories cannot be swapped: {'; '.join(wrong)}",
                hint="what is mounted or linked below the data directory would be carried off with it: "
                "mount the disk at the data directory itself, or name the other place with --wal-dir, "
                "restart that member, then start again",
            )

    def _refuse_full(self, host: Host, place: Directories) -> None:
        rooms = [(place.data, place.mount, room(self.size))]
        if place.wal:
            rooms.append((place.wal, place.wal_mount, _LOG))
        for directory, mount, needed in rooms:
            free = host.read(HostDisk(f"{directory}{'/' if mount else '.'}drrun")).free
            if free < needed:
                raise Refused(
                    f"{host.name}: {free >> 20} MiB are free beside {directory}, {needed >> 20} MiB "
                    "are needed: the old directory is kept",
                    hint="free space on that file system; do not remove the old data directory",
                )


def line_of(version: str) -> tuple[int, ...]:
    """`3.5.16` as (3, 5); empty for what is no version."""
    parts = version.split(".")[:2]
    return tuple(map(int, parts)) if len(parts) == 2 and all(map(str.isdecimal, parts)) else ()


def room(size: int) -> int:
    """Bytes that a restore of a snapshot of this size needs beside the data that is kept."""
    return 2 * size + _SPARE


def _plan(config: Config, place: Directories, tool: Tools) -> MemberPlan:
    return MemberPlan(
        name=config.name,
        peer_urls=config.peer_urls,
        client_url=config.client_url,
        data_dir=place.data,
        wal_dir=place.wal,
        owner=place.owner or config.owner,
        mount=place.mount,
        tool=tool.restore,
        wal_mount=place.wal_mount,
        inside=place.inside,
    )


class _Accepted(GroupStep):
    """What was accepted to be lost, and how far above it the staged revisions are."""

    revision: Whole
    """The snapshot's revision."""
    bump: Whole
    """How far the staged revisions were raised."""
    limit: Whole
    """The greatest revision that etcd.verdict accepted to lose."""
    service: str = "etcd"
    """etcd's unit."""

    @property
    def _highest(self) -> int:
        """The greatest revision that may be thrown away: accepted, and below the staged ones."""
        return min(self.limit, self.revision + self.bump - 1) if self.bump else self.limit


class Unmoved(_Accepted):
    """Prove, once the restore is staged, that members that answer have not moved beyond what was accepted.

    To stage a large snapshot takes minutes, and a run may rest for days before it goes on: what was written
    since the verdict is found here, while everything runs, and not by etcd.restore.remeasure in the outage.
    """

    uses = "etcd.restore.unmoved"
    effect = Effect.READ
    repeat = Repeat.SAFE

    def run(self, group: Group) -> None:
        """One status a member."""
        said = ask_each(group, group.hosts, lambda h: EtcdStatus(**overrides(h, self.service)))
        newest = max((s.revision for s in said.values() if s.answers), default=0)
        if newest > self._highest:
            gap = newest - self.revision
            named = min(2 * gap, most(gap, moving=True))
            raise Refused(
                f"etcd has revision {newest} by now, {gap} above the snapshot's: since the verdict, more was "
                "written than was accepted to be lost",
                hint=f"nothing was stopped. Start again with -e accept_loss={named}, to cover what is written while "
                "it is staged; or keep clients away first",
            )


class Remeasure(_Accepted):
    """Measure the revisions once more, now that nothing can write any more (hazard H10).

    Fails if more was written since the verdict than was accepted, or more than the staged
    revisions were raised by.
    """

    uses = "etcd.restore.remeasure"
    effect = Effect.READ
    repeat = Repeat.SAFE

    accept_unreadable: Listed = ()
    """Hosts whose data cannot be read and may be ignored."""

    def rules(self) -> Sequence[Demand]:
        """After etcd was stopped and proved to be down: what can still be written is not measured."""
        because = "a revision that is measured while etcd runs is not the last one"
        state, down = ServiceState(self.service).ref, step_done("etcd.prove_down")
        stopped = Rule(state, "", "stopped", because, live=False)
        return [stopped, Rule(down, "", value=True, because=because, live=False)]

    def run(self, group: Group) -> None:
        """One read a host; in a dry-run noted as checked at run where etcd still runs."""
        highest = self._highest
        for host in group.hosts:
            host.require(
                data_fact(host, self.service),
                satisfies(
                    f"stopped, and not above revision {highest}",
                    lambda found, name=host.name: self._fits(found, name, highest),  # type: ignore[misc]
                ),
                because="writes since the verdict would be lost without anybody having said so",
                hint="undo this run (it starts the cluster as it was), then start again: the "
                "verdict will name the new loss",
            )

    def _fits(self, found: DataDir, host: str, highest: int) -> bool:
        if found.state == "unreadable":
            return host in self.accept_unreadable
        return found.state != "in-use" and found.revision <= highest
