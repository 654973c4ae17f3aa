"""The step that asks all members and rules on the restore: the first gate of every recovery."""

from __future__ import annotations

from collections.abc import Mapping

from drrun.spi import Effect, Group, GroupStep, Host, Outputs, Refused, Repeat, Whole
from drrun_steps.etcd.access import ask_each, overrides
from drrun_steps.etcd.config import EtcdConfig
from drrun_steps.etcd.disk import DataDir, EtcdDataDir
from drrun_steps.etcd.expiry import EtcdCertificates
from drrun_steps.etcd.live import EtcdMembers, EtcdStatus, Members, Status
from drrun_steps.etcd.verdict import Accepted, Seen, decide, not_let_in
from drrun_steps.fields import Listed, MaybeWhole

FENCED = Seen(
    Status(answers=False, why="the host is fenced"),
    DataDir("unreadable", why="the host is fenced: nobody can look"),
)
"""What is known of a host that the operator has fenced: it may hold anything."""


def config_fact(host: Host, service: str) -> EtcdConfig:
    """The member's settings, with the inventory's word on the data directory."""
    return EtcdConfig(service, str(host.vars.get("etcd_data_dir", "")))


def data_fact(host: Host, service: str, data_dir: str = "") -> EtcdDataDir:
    """What is on the member's disk, with the inventory's word on where; else `data_dir`, or its own."""
    return EtcdDataDir(service, str(host.vars.get("etcd_data_dir", "")) or data_dir)


class VerdictStep(GroupStep):
    """Rule on a restore before anything is touched: refuse what would lose writes or is needless.

    Reads every member: live status, quorum, the revision of the data directory of those that are
    stopped, alarms, expired certificates, and members that the inventory does not know. Refuses,
    with the right next move, unless nothing newer than the snapshot can exist or the operator
    has named the measured loss.
    """

    uses = "etcd.verdict"
    effect = Effect.READ
    repeat = Repeat.SAFE
    outputs = ("verdict", "max_revision", "gap", "complete", "limit", "quorum")

    revision: Whole
    """The snapshot's revision, from etcd.snapshot.verify."""
    accept_loss: MaybeWhole = None
    """The measured number of revisions that will be lost, said in so many words."""
    accept_unreadable: Listed = ()
    """Hosts whose data cannot be read and may be ignored. Their directories are kept."""
    accept_unlisted: Listed = ()
    """Names in etcd's member list that no host of the inventory has, and are known to be gone."""
    data_dirs: Mapping[str, str] = {}
    """Host -> where data would lie on one that has no etcd yet, from kube.static_pods.plan."""
    service: str = "etcd"
    """etcd's unit."""

    def run(self, group: Group) -> Outputs:
        """Ask everybody, decide once."""
        hosts = group.hosts
        statuses = ask_each(group, hosts, lambda h: EtcdStatus(**overrides(h, self.service)))
        data = ask_each(group, hosts, self._data)
        expired = group.read(EtcdCertificates(self.service), hosts)
        seen = {h.name: Seen(statuses[h.name], data[h.name], expired[h.name]) for h in hosts}
        seen |= dict.fromkeys(group.fenced, FENCED)
        told = self._members(group, [h for h in hosts if statuses[h.name].answers])
        verdict = decide(
            self.revision,
            seen,
            Accepted(self.accept_loss, self.accept_unreadable),
            quorum=told.quorum,
        )
        for host, it in seen.items():
            group.note(f"{host}: {_line(it)}")
        if verdict.ruling == "refuse":
            raise Refused(verdict.text, hint=verdict.hint)
        group.note(verdict.text)
        return {
            "verdict": verdict.text,
            "max_revision": verdict.newest,
            "gap": verdict.gap,
            "complete": verdict.complete,
            "limit": verdict.limit,
            "quorum": told.quorum,
        }

    def _data(self, host: Host) -> EtcdDataDir:
        return data_fact(host, self.service, self.data_dirs.get(host.name, ""))

    def _members(self, group: Group, live: list[Host]) -> Members:
        """What the first live member says; refuses on a member that nobody accounts for (H3)."""
        answers = [h.read(EtcdMembers(**overrides(h, self.service))) for h in live]
        told = next((a for a in answers if a.answers and a.quorum), None)
        if told is None:
            for host, one in zip(live, answers, strict=True):
                if one.barred:
                    text, hint = not_let_in(host.name, one.barred)
                    raise Refused(text, hint=hint)
        told = told or next((a for a in answers if a.answers), Members(answers=False))
        configs = ask_each(group, group.hosts, lambda h: config_fact(h, self.service))
        ours = {url for c in configs.values() for url in c.peer_urls.split(",")}
        unlisted = [
            m.name or m.id
            for m in told.members
            if not ours & set(m.peer_urls) and not {m.name, m.id} & set(self.accept_unlisted)
        ]
        if unlisted:
            raise Refused(
                f"etcd has members that the inventory does not know: {', '.join(unlisted)}; "
                "a member that lives on would mix with the restored cluster",
                hint="add their hosts to the group etcd, or, if they are known to be destroyed, "
                f"say -e accept_unlisted={','.join(unlisted)}",
            )
        return told


def _line(it: Seen) -> str:
    if it.status.answers:
        leads = ", leads" if it.status.leads else ""
        return f"answers, revision {it.status.revision}{leads}"
    if it.data.state == "readable":
        return f"stopped, data of revision {it.data.revision}"
    return f"does not answer ({it.status.why}), data {it.data.state}"
