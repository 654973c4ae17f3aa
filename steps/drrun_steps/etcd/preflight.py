"""The step that looks for what would stand in the way of a recovery, while nothing burns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from drrun.spi import Effect, Group, GroupStep, Host, Outputs, Refused, Repeat, Whole, span
from drrun_steps.etcd.access import ask_each, overrides
from drrun_steps.etcd.config import Config
from drrun_steps.etcd.expiry import EtcdCertificates
from drrun_steps.etcd.identity import conflicts, strangers
from drrun_steps.etcd.live import EtcdAgreement, EtcdMembers, EtcdStatus, Status, disagreements
from drrun_steps.etcd.metrics import COMMIT, FSYNC, EtcdPace, Pace
from drrun_steps.etcd.ruling import config_fact
from drrun_steps.etcd.support import KNOWN_BAD, MATRIX, standing
from drrun_steps.etcd.tools import EtcdTools, Tools
from drrun_steps.fields import Listed
from drrun_steps.host import HostClock, HostDisk, HostMemory
from drrun_steps.service.certificates import ServiceStale

_GIB = 1024**3
_DEFAULT_QUOTA = 2 * _GIB


@dataclass(frozen=True, slots=True)
class Health:
    """What was found on one host."""

    config: Config
    tools: Tools
    status: Status
    ending: tuple[str, ...]
    stale: tuple[str, ...]
    """Why processes may work with other certificates than their files hold."""
    free: int
    memory: int
    offset: float
    """Its clock against the median of all, in seconds."""
    pace: Pace


class Preflight(GroupStep):
    """Look at everything that a recovery rests on; refuse with all findings at once.

    An odd number of members, one cluster that agrees with itself, versions, space on disk, in
    memory and under the quota, clocks, certificates, tools, leftovers of an earlier emergency. How
    often the leader changed and how slow the disk is are told, and refused where a limit is set.
    """

    uses = "etcd.preflight"
    effect = Effect.READ
    repeat = Repeat.SAFE
    outputs = ("findings",)

    certificate_hours: Whole = 24 * 30
    """How long certificates must at least be valid still."""
    clock_seconds: float = 1.0
    """How far the hosts' clocks may be apart; etcd warns above 1 s."""
    fsync_ms: float = 0.0
    """The slowest that a sync of the log may be, as 99th percentile; 0 is no limit. etcd asks for 10."""
    leader_changes_a_day: float = 0.0
    """How often the leader may change; 0 is no limit."""
    service: str = "etcd"
    """etcd's unit."""
    beside: Listed = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    """Services on the same hosts that are asked, too, whether they work with the certificates in
    their files; those that a host lacks are passed over."""

    def run(self, group: Group) -> Outputs:
        """Ask everything, then say everything."""
        health = self._ask(group)
        for line in MATRIX:
            group.note(line)
        for name, it in health.items():
            group.note(f"{name}: {_line(it)}")
            if it.status.version not in KNOWN_BAD and (told := standing(it.status.version)):
                group.note(f"{name}: {told}")
            group.note(f"{name}: {_paced(it.pace)}")
        found = [
            *self._cluster(group, health),
            *(f"{name}: {text}" for name, it in health.items() for text in self._host(it)),
        ]
        if found:
            raise Refused(
                f"{len(found)} things stand in the way: " + "; ".join(found),
                hint="put them right one by one, then run the preflight again",
            )
        return {"findings": []}

    def _ask(self, group: Group) -> Mapping[str, Health]:
        hosts = group.hosts
        configs = ask_each(group, hosts, lambda h: config_fact(h, self.service))
        statuses = ask_each(group, hosts, lambda h: EtcdStatus(**overrides(h, self.service)))
        paces = ask_each(group, hosts, lambda h: EtcdPace(**overrides(h, self.service)))
        tools = group.read(EtcdTools(), hosts)
        ending = group.read(EtcdCertificates(self.service, self.certificate_hours), hosts)
        stale = self._stale(group)
        disks = ask_each(group, hosts, lambda h: HostDisk(configs[h.name].data_dir or "/"))
        memory = group.read(HostMemory(), hosts)
        clocks = group.read(HostClock(), hosts)
        median = sorted(clocks.values())[len(clocks) // 2]
        return {
            h.name: Health(
                configs[h.name],
                tools[h.name],
                statuses[h.name],
                ending[h.name],
                stale[h.name],
                disks[h.name].free,
                memory[h.name],
                clocks[h.name] - median,
                paces[h.name],
            )
            for h in hosts
        }

    def _stale(self, group: Group) -> Mapping[str, tuple[str, ...]]:
        names = (self.service, *self.beside)
        found = {name: group.read(ServiceStale(name), group.hosts) for name in names}
        return {
            h.name: tuple(f"{name}: {why}" for name in names for why in found[name][h.name])
            for h in group.hosts
        }

    def _cluster(self, group: Group, health: Mapping[str, Health]) -> Iterator[str]:
        configs = {name: it.config for name, it in health.items()}
        if len(health) % 2 == 0:
            yield f"{len(health)} members: an even number bears no more losses than one less"
        yield from conflicts(configs)
        yield from (f"a member that the inventory does not know: {s}" for s in strangers(configs))
        live = [h for h in group.hosts if health[h.name].status.answers]
        if live:
            yield from self._agreement(live[0], len(health))

    def _agreement(self, host: Host, members: int) -> tuple[str, ...]:
        listed = host.read(EtcdMembers(**overrides(host, self.service))).members
        endpoints = tuple(url for m in listed for url in m.client_urls[:1])
        said = host.read(EtcdAgreement(**overrides(host, self.service), endpoints=endpoints))
        return disagreements(said, members, writers=True)

    def _host(self, it: Health) -> Iterator[str]:
        quota = it.config.quota or _DEFAULT_QUOTA
        if not it.status.answers:
            yield f"etcd does not answer ({it.status.why})"
        if it.status.version in KNOWN_BAD:
            yield standing(it.status.version)
        if it.status.size > 0.8 * quota:
            yield f"the database fills {100 * it.status.size // quota} % of its quota"
        if not it.tools.restore:
            yield "neither etcdutl nor etcdctl is there to restore with"
        if it.free < 3 * it.status.size + _GIB:
            yield f"{it.free >> 20} MiB are free beside the data; a restore keeps the old data too"
        if it.memory < it.status.size + _GIB // 4:
            yield f"{it.memory >> 20} MiB of memory are left"
        if abs(it.offset) > self.clock_seconds:
            yield f"its clock is {it.offset:+.1f} s off"
        yield from self._pace(it.pace)
        for text in it.ending:
            state = "has expired" if text.endswith("expired") else "ends soon"
            yield f"a certificate {state}: {text}"
        yield from it.stale
        yield from (f"{text} was left on after an emergency" for text in it.config.leftovers)

    def _pace(self, pace: Pace) -> Iterator[str]:
        if self.fsync_ms and pace.fsync > self.fsync_ms:
            yield f"a sync of the log takes {pace.fsync:.1f} ms (99th percentile)"
        days = pace.seconds / 86400
        if self.leader_changes_a_day and pace.leader_changes > self.leader_changes_a_day * max(
            days, 1
        ):
            yield f"the leader changed {pace.leader_changes} times in {days:.1f} days"


def _paced(pace: Pace) -> str:
    if pace.why:
        return f"how well it keeps up cannot be read ({pace.why})"
    slow = (
        ""
        if pace.fsync <= FSYNC and pace.commit <= COMMIT
        else (f"; slow: etcd asks for {FSYNC:g} and {COMMIT:g} ms")
    )
    return (
        f"in {span(pace.seconds)} the leader changed {pace.leader_changes} times, "
        f"{pace.heartbeats_failed} heartbeats failed; of 100 syncs of the log 99 took at most "
        f"{pace.fsync:.1f} ms, of commits {pace.commit:.1f} ms, of round trips {pace.round_trip:.1f} ms{slow}"
    )


def _line(it: Health) -> str:
    role = "leads" if it.status.leads else "follows"
    state = f"{role}, revision {it.status.revision}" if it.status.answers else "does not answer"
    bump = "raises revisions" if it.tools.bump else "cannot raise revisions"
    return (
        f"etcd {it.status.version or '?'} {state}, {it.status.size >> 10} KiB, "
        f"{it.free // _GIB} GiB free, {it.tools.restore or 'no tool'} {bump}"
    )
