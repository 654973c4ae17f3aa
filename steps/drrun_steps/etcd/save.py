"""The step that takes a snapshot from the best member and proves it where it lies."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from drrun.spi import (
    Demand,
    Effect,
    Flag,
    Group,
    GroupStep,
    Host,
    NotKnown,
    Outputs,
    Refused,
    Repeat,
    Rule,
    satisfies,
    sh,
    step_done,
)
from drrun_steps.etcd.access import CLIENT, ask_each, environment, overrides
from drrun_steps.etcd.live import EtcdAgreement, EtcdMembers, EtcdStatus, Status
from drrun_steps.etcd.snapshot import HostSnapshot
from drrun_steps.etcd.tools import OFFLINE
from drrun_steps.service.facts import ServiceState

_FEW = 100
"""Entries that a member under load may have in hand and still be a good source."""

SAVE = (
    "# save a snapshot of this member, prove it, write its manifest\n"
    + CLIENT
    + OFFLINE
    + r"""
set -eu
umask 077
mkdir -p -- "${FILE%/*}"
chmod 0700 -- "${FILE%/*}"
rm -f -- "$FILE.part" "$FILE"
ctl --endpoints="$own" snapshot save "$FILE"
size=$(stat -c %s -- "$FILE")
[ "$(head -c $((size - 32)) -- "$FILE" | sha256sum | cut -c 1-64)" = \
  "$(tail -c 32 -- "$FILE" | od -An -v -tx1 | tr -d ' \n')" ] || {
  echo 'drrun: the snapshot is not sealed by its sha256' >&2; exit 6; }
status=$(offline snapshot status "$FILE" -w json)
member=$(own endpoint status -w json) || member='[]'
# The first UID in the stored namespace is its own; no quorum is asked.
uid=$(own get --consistency=s --print-value-only "${PREFIX:-/registry}/namespaces/kube-system" | tr -c '0-9a-f-' '\n' |
  grep -oE '[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}' | head -n 1) || uid=
printf '{"drrun": 1, "run": "%s", "host": "%s", "sha256": "%s", "size": %s, "taken": "%s", "status": %s,' \
  "$RUN" "$HOST" "$(sha256sum <"$FILE" | cut -c 1-64)" "$size" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$status" \
  >"$FILE.json.new"
printf ' "member": %s, "cluster_uid": "%s", "keys": %s, "answers": %s}\n' "$member" "$uid" "${KEYS:-null}" "${ANSWERS:-null}" >>"$FILE.json.new"
sync "$FILE" "$FILE.json.new"
mv -f -- "$FILE.json.new" "$FILE.json"
"""
)


class Save(GroupStep):
    """Save a snapshot from the best member: the leader, else the one that is furthest ahead.

    Works without quorum. The file is made in a root-only folder of that host, its seal and
    structure are proved there, and a manifest (JSON) is written beside it: sum, size, time, what etcd
    says of the file and of the member (cluster id, version, revision), the UID of kube-system,
    the `fingerprints` and the `answers`. With `fetch_to` both are copied to the controller.
    """

    uses = "etcd.snapshot.save"
    effect = Effect.CHANGE
    repeat = Repeat.SAFE
    outputs = ("saved", "host", "path", "sha256", "revision", "total_keys", "size", "file")

    folder: str = "/var/backups/drrun"
    """Root-only folder on the host."""
    label: str = "etcd"
    """Begins the file's name: LABEL-RUN.db."""
    fetch_to: str = ""
    """Where to copy the snapshot on the controller; its manifest goes to the same name + .json."""
    fingerprints: Mapping[str, str] = {}
    """From kube.keys, for the manifest: a restore compares them with the hosts."""
    answers: Mapping[str, Mapping[str, str]] = {}
    """From kube.outlook, for the manifest: a restore compares them with what its hosts say."""
    prefix: str = "/registry"
    """The API servers' `--etcd-prefix`."""
    optional: Flag = False
    """A last chance, not a backup: no member that answers is noted, not a failure."""
    timeout: str = "15m"
    """How long saving may take: about 12 s a gigabyte on a good disk."""
    service: str = "etcd"
    """etcd's unit."""

    def rules(self) -> Sequence[Demand]:
        """Not after this runbook has stopped etcd: nobody would answer."""
        done = step_done("service.stop", service=self.service)
        because = "once etcd is stopped no member answers, and the newest data is not saved"
        return [Rule(done, "", value=False, because=because)]

    def run(self, group: Group) -> Outputs:
        """Choose, save, prove, fetch."""
        hosts = group.hosts
        statuses = ask_each(group, hosts, lambda h: EtcdStatus(**overrides(h, self.service)))
        source = best(self._told(group, statuses))
        if source is None:
            return self._nobody(group)
        host = group[source]
        if not self.optional:
            self._refuse_divided(host, group)
        path = f"{self.folder}/{self.label}-{host.run}.db"
        fact = HostSnapshot(path)
        host.change(
            "save",
            sh(
                SAVE,
                **environment(host, self.service),
                FILE=path,
                RUN=host.run,
                HOST=source,
                PREFIX=self.prefix,
                KEYS=json.dumps(dict(self.fingerprints), sort_keys=True),
                ANSWERS=json.dumps({h: dict(a) for h, a in self.answers.items()}, sort_keys=True),
                LIMIT=3600,
            ),
            sets={fact: satisfies("whole and sealed", lambda found: not found.problem)},
            touches=(f"@file:{self.fetch_to}",) if self.fetch_to else (),
            repeat=Repeat.SAFE,
            timeout=self.timeout,
        )
        saved = host.read(fact)
        if self.fetch_to:
            host.get("fetch", path, Path(self.fetch_to))
            host.get("fetch-manifest", f"{path}.json", Path(f"{self.fetch_to}.json"))
        group.note(f"a snapshot of {source} is in {source}:{path}")
        return {
            "saved": True,
            "host": source,
            "path": path,
            "sha256": saved.sha256,
            "revision": saved.revision,
            "total_keys": saved.keys,
            "size": saved.size,
            "file": self.fetch_to,
        }

    def _told(self, group: Group, statuses: Mapping[str, Any]) -> Mapping[str, Status]:
        """In a dry-run, a member that a step before this one laid ready stopped does not answer."""
        return {
            name: Status(answers=False, why="it is stopped")
            if self.optional and isinstance(one, NotKnown) and self._stopped(group[name])
            else one
            for name, one in statuses.items()
        }

    def _stopped(self, host: Host) -> bool:
        return host.read(ServiceState(self.service)) == "stopped"

    def _nobody(self, group: Group) -> Outputs:
        if not self.optional:
            raise Refused(
                "no member of etcd answers, so that no snapshot can be saved",
                hint="start etcd on one host; from a dead member's directory, start a single "
                "etcd on a copy of it and save there",
            )
        group.note("no member answers: the old data directories are the last copy, and are kept")
        return dict.fromkeys(self.outputs) | {"saved": False}

    def _refuse_divided(self, host: Host, group: Group) -> None:
        """A backup of a member that differs from the others is worth nothing."""
        listed = host.read(EtcdMembers(**overrides(host, self.service))).members
        endpoints = tuple(url for m in listed for url in m.client_urls[:1])
        said = host.read(EtcdAgreement(**overrides(host, self.service), endpoints=endpoints))
        if len(set(said.hashes)) > 1 or any("CORRUPT" in alarm for alarm in said.alarms):
            raise Refused(
                f"the members do not hold the same data (hashes {', '.join(said.hashes)}; alarms "
                f"{', '.join(said.alarms) or 'none'})",
                hint="find the bad member by majority (etcdctl endpoint hashkv) and replace it "
                "before anything is backed up",
            )
        if said.why:
            group.note(f"agreement of the members could not be proved: {said.why}")


def best(statuses: Mapping[str, Status]) -> str | None:
    """The member to save from: answering, no learner, the leader first, then the furthest."""
    fitting = {
        name: status
        for name, status in statuses.items()
        if status.answers and not status.learner and "CORRUPT" not in status.alarms
    }
    ready = {name: status for name, status in fitting.items() if status.lag <= _FEW} or fitting
    return max(
        ready, key=lambda name: (ready[name].leads, ready[name].revision, name), default=None
    )
