"""The step that proves a backup by using it: restored, booted and counted beside what runs.

A seal says that a file is what was saved; that it makes a cluster only a restore says. Nobody
publishes how long theirs takes (recovery.md 4): a drill prints it, phase by phase.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from drrun.spi import (
    Command,
    Done,
    Effect,
    Fact,
    Host,
    HostStep,
    Outputs,
    Repeat,
    Reply,
    Whole,
    satisfies,
    sh,
)
from drrun_steps.etcd.access import environment
from drrun_steps.etcd.scratch import SCRATCH
from drrun_steps.service.facts import ServiceInstance

_DRILL = (
    "# restore the snapshot into a scratch folder, boot it on loopback, count what it holds\n"
    + SCRATCH
    + r"""
now() { date +%s%N; }
[ "$(sha256sum <"$FOLDER/snapshot.db" | cut -c 1-64)" = "$SHA256" ] || {
  echo "drrun: the snapshot's copy on this host has another sha256" >&2; exit 6; }
rm -rf -- "$FOLDER/data"
room "$(stat -c %s -- "$FOLDER/snapshot.db")"
low=
command -v ionice >/dev/null && ionice -c 2 -n 7 true 2>/dev/null && low='ionice -c 2 -n 7'
command -v nice >/dev/null && low="nice -n 10 $low"
for tool in etcdutl etcdctl; do command -v "$tool" >/dev/null && break; done
began=$(now)
env -i PATH="$PATH" ETCDCTL_API=3 $low "$tool" snapshot restore "$FOLDER/snapshot.db" --data-dir "$FOLDER/data" \
  --name "$NAME" --initial-cluster "$NAME=$peer" --initial-cluster-token "drrun-$RUN" \
  --initial-advertise-peer-urls "$peer" >"$FOLDER/restore.log" 2>&1 || { tail -n 3 "$FOLDER/restore.log" >&2; exit 10; }
restored=$(now)
boot
booted=$(now)
counts=$(ctl --endpoints="$at" --command-timeout=300s get "$PREFIX/" --prefix --keys-only | awk -F/ '
  NF > 2 { name = index($3, ".") && NF > 4 ? $3 "/" $4 : $3; count[name]++ }
  END { for (name in count) printf "%s\"%s\": %d", (n++ ? ", " : ""), name, count[name] }')
hash=$(ctl --endpoints="$at" --command-timeout=120s endpoint hashkv -w json)
status=$(ctl --endpoints="$at" --command-timeout=20s endpoint status -w json)
cleared
rm -f -- "$FOLDER/snapshot.db"
printf '{"sha256": "%s", "restore": %s, "boot": %s, "resources": {%s}, "hash": %s, "status": %s}\n' "$SHA256" \
  "$((restored - began))" "$((booted - restored))" "$counts" "$hash" "$status" >"$FOLDER/result.new"
sync "$FOLDER/result.new"
mv -f -- "$FOLDER/result.new" "$FOLDER/result.json"
"""
)


@dataclass(frozen=True, slots=True)
class Drilled:
    """What a drill found; `sha256` is empty where none was finished. Times are in seconds."""

    sha256: str = ""
    restore: float = 0.0
    boot: float = 0.0
    revision: int = 0
    hash: str = ""
    resources: Mapping[str, int] = field(default_factory=dict)
    """Objects by resource, as `configmaps` or `example.com/widgets`."""


@dataclass(frozen=True, slots=True)
class EtcdDrilled(Fact[Drilled]):
    """The result that a drill left in its folder."""

    name: ClassVar[str] = "etcd.drilled"
    folder: str

    def about(self) -> tuple[str, ...]:
        """This run's drill."""
        return ("etcd-drill",)

    def ask(self) -> Command:
        """One small file."""
        return sh('cat -- "$FOLDER/result.json" 2>/dev/null; true', FOLDER=self.folder)

    def parse(self, reply: Reply) -> Drilled:
        """No file is an answer."""
        if not reply.text.strip():
            return Drilled()
        said = json.loads(reply.text)
        hashed = said["hash"][0].get("HashKV") or said["hash"][0].get("Hash") or {}
        return Drilled(
            sha256=said["sha256"],
            restore=round(said["restore"] / 1e9, 2),
            boot=round(said["boot"] / 1e9, 2),
            revision=said["status"][0]["Status"]["header"]["revision"],
            hash=f"{hashed.get('hash', 0):x}",
            resources=dict(sorted(said["resources"].items())),
        )


class Drill(HostStep):
    """Restore a snapshot into a scratch folder, boot it on loopback, count its objects, remove it.

    Nothing that runs is touched: another folder, other ports, low priority, a token of its own, and
    no peer that it could reach. That the host's own etcd lived through it is proved at the end.
    Says how long the restore and the boot took. Undo removes what a drill that broke off left.
    """

    uses = "etcd.drill"
    effect = Effect.CHANGE
    repeat = Repeat.SAFE
    outputs = ("restore_seconds", "boot_seconds", "revision", "hash", "resources")

    snapshot: str
    """The snapshot file on the controller."""
    digest: str
    """The snapshot's sha256, from etcd.snapshot.verify."""
    least: Whole = 1
    """Objects that it must hold at least."""
    prefix: str = "/registry"
    """What the API servers put before every key (`--etcd-prefix`)."""
    folder: str = "/var/lib/drrun-drill"
    """Root-only folder on the host; needs twice the snapshot's size."""
    client_port: Whole = 32379
    """Port on loopback for clients."""
    peer_port: Whole = 32380
    """Port on loopback for peers."""
    timeout: str = "30m"
    """How long it may take: about 15 s a gigabyte on a good disk."""
    service: str = "etcd"
    """etcd's unit, whose certificates are used and which must live on."""

    def run(self, host: Host) -> Outputs:
        """Copy, drill, prove that the live etcd is the one of before, clear away."""
        folder = f"{self.folder}/drrun-{host.run}"
        fact, life = EtcdDrilled(folder), ServiceInstance(self.service)
        before = host.read(life)
        host.change(
            "make-folder",
            sh('umask 077; mkdir -p -- "$FOLDER" && chmod 0700 -- "$FOLDER"', FOLDER=folder),
            touches=("etcd-drill",),
            repeat=Repeat.SAFE,
        )
        host.put("copy-snapshot", Path(self.snapshot), f"{folder}/snapshot.db", mode="0600")
        enough = satisfies(
            f"restored and booted, {self.least} objects or more",
            lambda d: d.sha256 == self.digest and sum(d.resources.values()) >= self.least,
        )
        host.change(
            "drill",
            sh(_DRILL, **environment(host, self.service), **self._scratch(host, folder)),
            sets={fact: enough},
            touches=("etcd-drill", f"service:{self.service}"),
            repeat=Repeat.SAFE,
            timeout=self.timeout,
        )
        found = host.read(fact)
        host.require(
            life,
            before,
            because="a drill leaves the etcd of its host alone",
            hint=f"see `journalctl -u {self.service}` on {host.name}: it was restarted meanwhile",
        )
        host.note(
            f"{host.name}: restored in {found.restore} s, booted in {found.boot} s, revision "
            f"{found.revision}, hash {found.hash}"
        )
        host.note(f"{host.name}: objects by resource: {found.resources}")
        self._clear(host, folder)
        return {
            "restore_seconds": found.restore,
            "boot_seconds": found.boot,
            "revision": found.revision,
            "hash": found.hash,
            "resources": found.resources,
        }

    def _scratch(self, host: Host, folder: str) -> Mapping[str, Any]:
        return {
            "FOLDER": folder,
            "RUN": host.run,
            "NAME": "drill",
            "SHA256": self.digest,
            "PREFIX": self.prefix,
            "CLIENT_PORT": self.client_port,
            "PEER_PORT": self.peer_port,
            "LIVES": 3600,
            "LIMIT": 600,
        }

    def _clear(self, host: Host, folder: str) -> None:
        host.change(
            "clear-away",
            sh(
                'case $FOLDER in /*/drrun-"$RUN") rm -rf -- "$FOLDER" ;; *) exit 5 ;; esac',
                FOLDER=folder,
                RUN=host.run,
            ),
            touches=("etcd-drill",),
            repeat=Repeat.SAFE,
            timeout="5m",
        )

    def undo(self, host: Host, done: Done) -> None:
        """Remove the folder that this run made."""
        if done.did("make-folder", host.name):
            self._clear(host, f"{self.folder}/drrun-{host.run}")
