"""The steps that restore: stage beside the live data, then swap. The order is in the runbook.

The why of the order is docs/explanation/restore.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from drrun.spi import (
    Alike,
    Demand,
    Done,
    Effect,
    Group,
    GroupStep,
    Host,
    HostStep,
    Json,
    Outputs,
    Question,
    Refused,
    Repeat,
    Rule,
    Where,
    Whole,
    satisfies,
    sh,
    step_done,
)
from drrun_steps.etcd.measure import MemberPlan
from drrun_steps.etcd.opened import opened
from drrun_steps.etcd.order import UNDER_ETCD, Cluster
from drrun_steps.etcd.place import (
    INSTALL,
    RESTORE,
    SWAP_BACK,
    UNSTAGE,
    Place,
    Staged,
    staged,
)
from drrun_steps.fields import Listed
from drrun_steps.service.facts import ServiceState

_ONE_SNAPSHOT = (
    "members that are restored from different snapshots, or with another token or bump, form a "
    "cluster that is healthy and answers differently on every host"
)


def one_snapshot(stage_dir: str, digest: str, token: str, bump: int) -> Alike:
    """All steps that share a staging folder are of one restore."""
    value: list[Json] = [digest, token, bump]
    return Alike(f"snapshot, token and bump ({stage_dir})", value, _ONE_SNAPSHOT)


def member_plan(host: Host, members: Mapping[str, MemberPlan]) -> MemberPlan:
    """This host's part of the measured plan. Raises Refused where it was not measured."""
    if host.name not in members:
        raise Refused(f"{host.name} was not measured", hint="measure and stage the same hosts")
    return members[host.name]


def member_place(host: Host, members: Mapping[str, MemberPlan], stage_dir: str) -> Place:
    """Where this host's live, staged and set-aside directories are."""
    plan = member_plan(host, members)
    stage = f"{stage_dir}/{host.run}"
    return Place(
        plan.data_dir,
        plan.wal_dir,
        bool(plan.mount),
        host.run,
        stage,
        bool(plan.wal_mount),
        plan.inside,
    )


class _Member(HostStep):
    """What staging and installing share: this host's part of the measured plan."""

    members: Mapping[str, MemberPlan]
    """Per host, from etcd.restore.measure."""
    digest: str
    """The snapshot's sha256, from etcd.snapshot.verify."""
    token: str
    """The new cluster's token, from etcd.restore.measure."""
    bump: Whole
    """How far revisions are raised, from etcd.restore.measure."""
    stage_dir: str = "/var/lib/drrun-stage"
    """Root-only folder on the host for the snapshot's copy and the seal."""

    def rules(self) -> Sequence[Demand]:
        """Measured on this host, and of the same restore as every other host."""
        because = "names and URLs that were not measured on the host itself are guesses"
        return [
            Rule(step_done("etcd.restore.measure"), "", value=True, because=because),
            one_snapshot(self.stage_dir, self.digest, self.token, self.bump),
        ]

    def _plan(self, host: Host) -> MemberPlan:
        return member_plan(host, self.members)

    def _place(self, host: Host) -> Place:
        return member_place(host, self.members, self.stage_dir)

    def _sealed(self, state: str) -> Staged:
        return Staged(state, self.digest, self.token, self.bump)  # type: ignore[arg-type]


class Prepare(_Member):
    """Restore the snapshot into a directory beside the live one. Changes nothing that runs.

    The copy on the host must have the snapshot's sha256; etcd's own hash check is on; owner and
    mode are set; a seal beside it says from which snapshot, token and bump it was made. Undo
    removes the staged directory and the copy, both made by this run.
    """

    uses = "etcd.restore.prepare"
    effect = Effect.CHANGE
    repeat = Repeat.SAFE
    outputs = ("digest", "directory")

    snapshot: str
    """The snapshot file on the controller."""
    initial_cluster: str
    """All members, from etcd.restore.measure."""
    timeout: str = "30m"
    """How long copying or restoring may take: about 10 s a gigabyte on a good disk."""

    def run(self, host: Host) -> Outputs:
        """Copy and restore, unless exactly this was staged before."""
        plan, place = self._plan(host), self._place(host)
        fact = staged(place)
        found = host.read(fact)
        outputs = {"digest": self.digest, "directory": place.restore_to}
        if found in {self._sealed("staged"), self._sealed("installed")}:
            return outputs
        if found.state in {"installed", "half"}:
            raise Refused(
                f"{host.name}: another restore of this run is {found.state} already",
                hint="undo the run, then start a new one",
            )
        host.change(
            "make-folder",
            sh('umask 077; mkdir -p -- "$STAGE" && chmod 0700 -- "$STAGE"', STAGE=place.stage),
            touches=("etcd-stage",),
            repeat=Repeat.SAFE,
        )
        host.put("copy-snapshot", Path(self.snapshot), f"{place.stage}/snapshot.db", mode="0600")
        host.change(
            "restore",
            sh(
                RESTORE,
                **place.environment(),
                RUN=host.run,
                SHA256=self.digest,
                NAME=plan.name,
                CLUSTER=self.initial_cluster,
                TOKEN=self.token,
                PEER=plan.peer_urls,
                BUMP=self.bump,
                OWNER=plan.owner,
                TOOL=plan.tool,
            ),
            sets={fact: self._sealed("staged")},
            repeat=Repeat.SAFE,
            timeout=self.timeout,
        )
        return outputs

    def undo(self, host: Host, done: Done) -> None:
        """Remove what this run staged; nothing else is ever removed."""
        if done.did("make-folder", host.name):
            place = self._place(host)
            host.change(
                "unstage",
                sh(UNSTAGE, **place.environment(), RUN=host.run),
                sets={staged(place): Staged("none")},
                repeat=Repeat.SAFE,
                timeout="5m",
            )


class Same(GroupStep):
    """Prove that every host staged the same: one snapshot, one token, one bump.

    Members restored from different snapshots form a cluster that is healthy and diverged (measured;
    pitfall 3). Read before the first stop, so that such a restore costs no outage.
    """

    uses = "etcd.restore.same"
    effect = Effect.READ
    repeat = Repeat.SAFE

    members: Mapping[str, MemberPlan]
    """Per host, from etcd.restore.measure."""
    digest: str
    """The snapshot's sha256, from etcd.snapshot.verify."""
    token: str
    """The new cluster's token, from etcd.restore.measure."""
    bump: Whole
    """How far revisions are raised, from etcd.restore.measure."""
    stage_dir: str = "/var/lib/drrun-stage"
    """Where the seals are."""

    def rules(self) -> Sequence[Demand]:
        """There is something to compare, and it is of one restore."""
        because = "what was not staged on every host cannot be compared"
        return [
            Rule(step_done("etcd.restore.prepare"), "", value=True, because=because),
            one_snapshot(self.stage_dir, self.digest, self.token, self.bump),
        ]

    def run(self, group: Group) -> None:
        """Every host's seal must be the one that is meant."""
        meant = Staged("staged", self.digest, self.token, self.bump)
        for host in group.hosts:
            host.require(
                staged(member_place(host, self.members, self.stage_dir)),
                meant,
                because="every member must be restored from the same snapshot",
                hint="undo this run (it removes what it staged), then start again",
            )


class Install(_Member):
    """Put the staged directory in place of the live one, which is kept aside.

    All or nothing on each host, and safe to repeat: it is two renames, each made once. The old
    directory stays as `<data-dir>.old-<run>`. Undo swaps back and keeps the restored one staged.
    """

    uses = "etcd.restore.install"
    effect = Effect.DESTROY
    repeat = Repeat.CHECK
    outputs = ("kept",)

    service: str = "etcd"
    """etcd's unit."""
    api_server: str = "kube-apiserver"
    """The API server's unit; `none` where this etcd serves no Kubernetes."""
    etcd_hosts: str = "etcd"
    """The role of all members."""
    api_hosts: str = "control_plane"
    """The role of all API servers."""
    controllers: Listed = ("kube-controller-manager", "kube-scheduler")
    """The units that act on what the API says, started again after the API servers."""
    kubelet: str = "kubelet"
    """The kubelet's unit."""

    def rules(self) -> Sequence[Demand]:
        """The order of a restore: what must be down, saved and proved before; what must follow."""
        cluster = Cluster(
            self.service,
            self.etcd_hosts,
            "" if self.api_server == "none" else self.api_server,
            self.api_hosts,
            self.controllers,
            self.kubelet,
        )
        return [*cluster.rules(), *super().rules()]

    def checkable(self) -> bool:
        """The seal beside the data says whether it was swapped."""
        return True

    def questions(self, at: Where) -> Sequence[Question]:
        """The directory that will be replaced is the one that etcd has open, where it runs."""
        return [opened(at, self.service)]

    def run(self, host: Host) -> Outputs:
        """Swap, once this host's staged restore is proved to be the one that is meant."""
        plan, place = self._plan(host), self._place(host)
        fact = staged(place)
        host.require(ServiceState(self.service), "stopped", because=UNDER_ETCD)
        host.require(
            fact,
            satisfies("staged from this snapshot, with this token and bump", self._meant),
            because="every member must be restored from the same snapshot: with another they run "
            "side by side, healthy and different",
            hint="run the staging step again on this host",
        )
        if host.read(fact).state != "installed":
            host.change(
                "install",
                sh(INSTALL, **place.environment(), OWNER=plan.owner),
                sets={fact: self._sealed("installed")},
                touches=("etcd-data", f"@{self.service}", f"@seats:{self.service}"),
                repeat=Repeat.CHECK,
                timeout="5m",
            )
        host.note(f"{host.name}: the data of before is kept in {place.old}")
        return {"kept": place.old}

    def undo(self, host: Host, done: Done) -> None:
        """Swap back. Refused by the rules while an etcd or an API server runs."""
        if done.did("install", host.name):
            place = self._place(host)
            host.change(
                "swap-back",
                sh(SWAP_BACK, **place.environment()),
                sets={staged(place): self._sealed("staged")},
                touches=("etcd-data", f"@{self.service}", f"@seats:{self.service}"),
                repeat=Repeat.CHECK,
                timeout="5m",
            )

    def _meant(self, found: Any) -> bool:
        return (
            isinstance(found, Staged)
            and found.state != "none"
            and found == Staged(found.state, self.digest, self.token, self.bump)
        )
