"""The step that saves what the last member holds, when the quorum is lost for good.

Rule 1: a quorum that may come back is not rescued: it is started. A rescue is for members whose
data is gone, or whose hosts a person has fenced by name.
Rule 2: a member that answers is asked for a snapshot, which works without quorum (recovery.md 0.7,
measured). One that is stopped is copied, log and all, and the copy is replayed: its database alone
lags its log (pitfall 9).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drrun.spi import (
    Demand,
    Effect,
    Group,
    GroupStep,
    Host,
    Outputs,
    Refused,
    Repeat,
    Rule,
    Whole,
    satisfies,
    sh,
    step_done,
)
from drrun_steps.etcd.access import ask_each, environment, overrides
from drrun_steps.etcd.live import EtcdMembers, EtcdStatus
from drrun_steps.etcd.ruling import FENCED, config_fact, data_fact
from drrun_steps.etcd.save import SAVE
from drrun_steps.etcd.scratch import SCRATCH
from drrun_steps.etcd.snapshot import HostSnapshot
from drrun_steps.etcd.verdict import Seen

_REPLAY = (
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
cp -a -- "$DATA/member" "$FOLDER/data/member"
[ -z "$WAL" ] || { rm -rf -- "$FOLDER/data/member/wal"; cp -a -- "$WAL" "$FOLDER/data/member/wal"; }
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


@dataclass(frozen=True, slots=True)
class Choice:
    """Whom to save from, and how; or why nobody is rescued, with the next move."""

    host: str = ""
    live: bool = False
    why: str = ""
    hint: str = ""


def choose(seen: Mapping[str, Seen], *, quorum: bool) -> Choice:
    """The member with the greatest revision, once the quorum is lost for good. Pure."""
    held = {host: revision for host, it in seen.items() if (revision := _held(it))}
    if quorum:
        return Choice(
            why="a quorum of etcd answers: nothing is lost that a rescue could bring back",
            hint="replace dead members one at a time with etcd-member-replace",
        )
    busy = [h for h, it in seen.items() if not it.status.answers and it.data.state == "in-use"]
    if busy:
        return Choice(
            why=f"{', '.join(busy)}: etcd runs but does not answer, so that its revision is not known",
            hint="`systemctl stop etcd` there and start again: its directory is read then",
        )
    if 2 * len(held) > len(seen):
        return Choice(
            why=f"{len(held)} of {len(seen)} members have their data ({', '.join(held)}): the quorum "
            "is not lost for good",
            hint="start etcd on these hosts: they elect a leader and go on by themselves",
        )
    if not held:
        return Choice(
            why="no member that can be asked has any data left",
            hint="restore the newest backup with restore-cluster",
        )
    best = max(held, key=lambda host: (held[host], seen[host].status.answers, host))
    return Choice(best, live=seen[best].status.answers)


def _held(it: Seen) -> int:
    if it.status.answers:
        return it.status.revision
    return it.data.revision if it.data.state == "readable" else 0


class SurvivorSave(GroupStep):
    """Save what the last member holds, once the quorum is proved to be lost for good.

    Refused while a quorum answers, or while so many members still have their data that starting
    them is all that is needed. Of those that are left the one with the greatest revision is
    taken: live, by a snapshot; stopped, by a copy of its directory, log included, that an etcd on
    loopback replays (`--force-new-cluster`, on the copy only). The member itself is not changed.
    """

    uses = "etcd.survivor.save"
    effect = Effect.CHANGE
    repeat = Repeat.SAFE
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

    def rules(self) -> Sequence[Demand]:
        """Before this runbook stops etcd: a survivor that answers is better than its disk."""
        done = step_done("service.stop", service=self.service)
        because = "a survivor that answers gives all that it holds; it is stopped afterwards"
        return [Rule(done, "", value=False, because=because)]

    def run(self, group: Group) -> Outputs:
        """Ask everybody, choose once, save, fetch."""
        hosts = group.hosts
        statuses = ask_each(group, hosts, lambda h: EtcdStatus(**overrides(h, self.service)))
        data = ask_each(group, hosts, lambda h: data_fact(h, self.service))
        seen = {h.name: Seen(statuses[h.name], data[h.name]) for h in hosts}
        seen |= dict.fromkeys(group.fenced, FENCED)
        live = [h for h in hosts if statuses[h.name].answers]
        told = [h.read(EtcdMembers(**overrides(h, self.service))) for h in live]
        choice = choose(seen, quorum=any(t.answers and t.quorum for t in told))
        if choice.why:
            raise Refused(choice.why, hint=choice.hint)
        host, path = group[choice.host], f"{self.folder}/survivor-{hosts[0].run}.db"
        how = "answers" if choice.live else "is stopped: a copy of its directory is replayed"
        group.note(f"the survivor is {choice.host}, which {how}")
        fact = HostSnapshot(path)
        self._save(host, path, fact, live=choice.live)
        saved = host.read(fact)
        host.get("fetch", path, Path(self.fetch_to))
        host.get("fetch-manifest", f"{path}.json", Path(f"{self.fetch_to}.json"))
        return {
            "host": choice.host,
            "path": path,
            "sha256": saved.sha256,
            "revision": saved.revision,
            "total_keys": saved.keys,
            "size": saved.size,
            "file": self.fetch_to,
        }

    def _save(self, host: Host, path: str, fact: HostSnapshot, *, live: bool) -> None:
        config = host.read(config_fact(host, self.service))
        env = {**environment(host, self.service), "FILE": path, "RUN": host.run, "HOST": host.name}
        replay = {
            "FOLDER": f"{self.scratch}/drrun-{host.run}",
            "DATA": config.data_dir,
            "WAL": config.wal_dir,
            "NAME": config.name,
            "CLIENT_PORT": self.client_port,
            "PEER_PORT": self.peer_port,
            "LIVES": 3600,
        }
        host.change(
            "save" if live else "replay",
            sh(SAVE, **env, LIMIT=3600) if live else sh(_REPLAY, **env, **replay, LIMIT=3600),
            sets={fact: satisfies("whole and sealed", lambda found: not found.problem)},
            touches=(f"@file:{self.fetch_to}",),
            repeat=Repeat.SAFE,
            timeout=self.timeout,
        )
