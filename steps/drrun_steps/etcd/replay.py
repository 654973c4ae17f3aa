"""Saving what a stopped member holds: a copy of its directory, log and all, is replayed.

The database alone lags its log (pitfall 9), and a copy of it has no seal: what is saved here is a
snapshot like any other, made by an etcd on loopback that nobody else can reach. The member's own
directory is read and never changed.
Source: kubernetes.io, "Operating etcd clusters": a snapshot may be taken by copying the `member/snap/db`
file of a data directory that no etcd uses; recovery.md 1.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from drrun.spi import (
    Effect,
    Group,
    GroupStep,
    Host,
    Outputs,
    Refused,
    Repeat,
    Whole,
    satisfies,
    sh,
)
from drrun_steps.etcd.access import ask_each, environment, overrides
from drrun_steps.etcd.live import EtcdStatus
from drrun_steps.etcd.ruling import config_fact, data_fact
from drrun_steps.etcd.save import SAVE
from drrun_steps.etcd.scratch import SCRATCH
from drrun_steps.etcd.snapshot import HostSnapshot

REPLAY = (
    "# replay a copy of this stopped member and save a snapshot of what it holds\n"
    + SCRATCH
    + r"""
real=$(readlink -f -- "$DATA")
ls -l /proc/[0-9]*/fd 2>/dev/null | grep -q -F -e "-> $real/" && {
  echo "drrun: a process has files in $real open" >&2; exit 6; }
rm -rf -- "$FOLDER"
mkdir -p -- "$FOLDER/data" "${FILE%/*}"
chmod 0700 -- "${FILE%/*}" "${FOLDER%/*}"
room "$(du -s -k -- "$DATA/member" | awk '{ print $1 * 1024 }')"
# A link that is copied as a link would have the copy's etcd write into the member's own files.
copy() { mkdir -m 0700 -- "$2"; cp -a -- "$1/." "$2/"; }
copy "$DATA/member" "$FOLDER/data/member"
for part in wal snap; do
  [ ! -L "$FOLDER/data/member/$part" ] || { rm -- "$FOLDER/data/member/$part"; copy "$DATA/member/$part" "$FOLDER/data/member/$part"; }
done
[ -z "$WAL" ] || { rm -rf -- "$FOLDER/data/member/wal"; copy "$WAL" "$FOLDER/data/member/wal"; }
find "$FOLDER/data" -type l | grep . >&2 && { echo 'drrun: the copy has links: it is not replayed' >&2; exit 7; }
boot --force-new-cluster
rm -f -- "$FILE" "$FILE.json"
ctl --endpoints="$at" snapshot save "$FILE"
cleared
rm -rf -- "$FOLDER"
status=$(offline snapshot status "$FILE" -w json)
printf '{"drrun": 1, "run": "%s", "host": "%s", "sha256": "%s", "size": %s, "taken": "%s", "status": %s}\n' \
  "$RUN" "$HOST" "$(sha256sum <"$FILE" | cut -c 1-64)" "$(stat -c %s -- "$FILE")" \
  "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$status" >"$FILE.json.new"
sync "$FILE" "$FILE.json.new"
mv -f -- "$FILE.json.new" "$FILE.json"
"""
)


class Replaying(GroupStep):
    """What steps share that save from a member whether it answers or not."""

    outputs = ("host", "path", "sha256", "revision", "total_keys", "size", "file")

    fetch_to: str
    """Where to copy the snapshot on the controller; its manifest goes to the same name + .json."""
    folder: str = "/var/backups/drrun"
    """Root-only folder on the host for the snapshot."""
    scratch: str = "/var/lib/drrun-scratch"
    """Root-only folder on the host for the copy that is replayed; needs the directory's size."""
    client_port: Whole = 22379
    """Port on loopback, for clients, of the etcd that replays."""
    peer_port: Whole = 22380
    """Port on loopback, for peers, of the etcd that replays."""
    timeout: str = "30m"
    """How long saving may take: about 12 s a gigabyte on a good disk, twice that for a copy."""
    service: str = "etcd"
    """etcd's unit."""

    def _saved(self, host: Host, label: str, *, live: bool) -> Outputs:
        """Save on the host, prove, fetch."""
        path = f"{self.folder}/{label}-{host.run}.db"
        fact = HostSnapshot(path)
        host.change(
            "save" if live else "replay",
            sh(SAVE if live else REPLAY, **self._environment(host, path, live=live)),
            sets={fact: satisfies("whole and sealed", lambda found: not found.problem)},
            touches=(f"@file:{self.fetch_to}",),
            repeat=Repeat.SAFE,
            timeout=self.timeout,
        )
        saved = host.read(fact)
        host.get("fetch", path, Path(self.fetch_to))
        host.get("fetch-manifest", f"{path}.json", Path(f"{self.fetch_to}.json"))
        return {
            "host": host.name,
            "path": path,
            "sha256": saved.sha256,
            "revision": saved.revision,
            "total_keys": saved.keys,
            "size": saved.size,
            "file": self.fetch_to,
        }

    def _environment(self, host: Host, path: str, *, live: bool) -> Mapping[str, object]:
        told = {**environment(host, self.service), "LIMIT": 3600}
        told |= {"FILE": path, "RUN": host.run, "HOST": host.name}
        if live:
            return told
        config = host.read(config_fact(host, self.service))
        return told | {
            "FOLDER": f"{self.scratch}/drrun-{host.run}",
            "DATA": config.data_dir,
            "WAL": config.wal_dir,
            "NAME": config.name,
            "CLIENT_PORT": self.client_port,
            "PEER_PORT": self.peer_port,
            "LIVES": 3600,
        }


class Replay(Replaying):
    """Save a snapshot of a stopped etcd, from the member that is furthest ahead.

    Its directory is copied, log included, and an etcd on loopback replays the copy
    (`--force-new-cluster`, on the copy only). Refused while any member answers: a snapshot of that
    one holds all that was acknowledged. Members whose data cannot be read are told by name.
    """

    uses = "etcd.snapshot.replay"
    effect = Effect.CHANGE
    repeat = Repeat.SAFE

    def run(self, group: Group) -> Outputs:
        """Ask everybody, choose, save, fetch."""
        hosts = group.hosts
        statuses = ask_each(group, hosts, lambda h: EtcdStatus(**overrides(h, self.service)))
        live = [name for name, status in statuses.items() if status.answers]
        if live:
            raise Refused(
                f"etcd answers on {', '.join(live)}: a snapshot of a live member holds more",
                hint="take it with etcd-backup",
            )
        data = ask_each(group, hosts, lambda h: data_fact(h, self.service))
        busy = [name for name, found in data.items() if found.state == "in-use"]
        if busy:
            raise Refused(
                f"{', '.join(busy)}: etcd runs but does not answer, and its data cannot be read so",
                hint="stop etcd there first, and find out why it does not answer",
            )
        held = {name: it.revision for name, it in data.items() if it.state == "readable"}
        if not held:
            raise Refused("no member has data that can be read", hint="use an older backup")
        lacking = [name for name in data if name not in held]
        if lacking or group.fenced:
            names = ", ".join([*lacking, *group.fenced])
            group.note(f"{names}: not read; what only they hold is not in the snapshot")
        best = max(held, key=lambda name: (held[name], name))
        group.note(f"{best} is furthest ahead, at revision {held[best]} or later by its log")
        return self._saved(group[best], "stopped", live=False)
