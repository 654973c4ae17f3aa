"""Whose snapshot it is, and whether the keys are here that it needs: known before anything stops.

A snapshot says by itself which cluster it is of: the UID of its namespace kube-system. A member's data
directory holds that text, too, whether etcd runs or not. And each value that is encrypted names
its key; an API server without that key starts, and then fails on the first Secret.
Sources: hazards H11 and H12; kubernetes.io, "Encrypting Confidential Data at Rest" (the prefix
`k8s:enc:PROVIDER:VERSION:KEY:`); etcd's mvccpb.KeyValue; k8s.io/apimachinery generated.proto.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from drrun.spi import (
    CONTROLLER,
    Command,
    Effect,
    Fact,
    Host,
    HostStep,
    Json,
    Look,
    Outputs,
    Refused,
    Repeat,
    Reply,
    sh,
)
from drrun_steps.etcd.bolt import Bolt
from drrun_steps.etcd.config import Config
from drrun_steps.etcd.ruling import config_fact
from drrun_steps.fields import Listed
from drrun_steps.kube.keys import MEANS, keys_fact
from drrun_steps.kube.manifest import Manifest, SnapshotManifest
from drrun_steps.kube.set_up import differing, set_up
from drrun_steps.kube.stored import ENCRYPTED, key_of, stored, uid_of
from drrun_steps.service.facts import ServiceState
from drrun_steps.service.flags import ServiceFlag

SEAL = 32
"""Bytes of the sha256 that `etcdctl snapshot save` puts behind the database."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a snapshot says of its cluster. `uid` is empty where no kube-system is in it."""

    uid: str = ""
    keys: tuple[str, ...] = ()
    """Keys that its values are encrypted with, as `aescbc:key1`."""
    hidden: bool = False
    """Whether kube-system is in it, encrypted: its UID cannot be read."""


UNPROVED = "unproved"
"""The UID of a snapshot whose namespaces are encrypted, and what accepts it."""


@dataclass(frozen=True, slots=True)
class SnapshotOrigin(Look[Origin]):
    """Whose snapshot a file on the controller is, read here in pure Python."""

    name: ClassVar[str] = "kube.snapshot.origin"
    timeout: ClassVar[float] = 600.0
    path: str
    prefix: str = "/registry"

    def about(self) -> tuple[str, ...]:
        """The file, which a step on any host may bring here."""
        return (f"@file:{self.path}",)

    def look(self) -> Origin:
        """Raises OSError, or ValueError where its database makes no sense."""
        path = Path(self.path).expanduser()
        namespace = f"{self.prefix}/namespaces/kube-system".encode()
        uid, keys, hidden = "", dict[bytes, str](), False
        with path.open("rb") as file:
            for key, value in stored(Bolt(file, path.stat().st_size - SEAL)):
                if key == namespace:
                    uid = uid_of(value) or uid
                    hidden = value.startswith(ENCRYPTED)
                if value.startswith(ENCRYPTED):
                    keys[key] = key_of(value)
                else:
                    keys.pop(key, None)
        return Origin(uid, tuple(sorted(set(keys.values()))), hidden and not uid)


_HELD = r"""
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C
db=$DATA/member/snap/db
[ -s "$db" ] || { echo none; exit 0; }
if grep -qaF -e "$UID_TEXT" -- "$db"; then echo same
elif grep -qaF -e "$NAMESPACE" -- "$db"; then echo other
else echo none; fi
"""


@dataclass(frozen=True, slots=True)
class ClusterHeld(Fact[str]):
    """Whether a host's data directory is of the cluster with this UID: `same`, `other` or `none`.

    Read from the database file, so that it needs no etcd that runs: what a cluster once stored
    stays in its pages. `none`: there is no data, or none of Kubernetes.
    """

    name: ClassVar[str] = "kube.cluster_held"
    timeout: ClassVar[float] = 600.0
    uid: str
    data_dir: str
    prefix: str = "/registry"

    def about(self) -> tuple[str, ...]:
        """What the members hold."""
        return ("etcd-data", "@etcd")

    def ask(self) -> Command:
        """Reads the database file twice at most."""
        namespace = f"{self.prefix}/namespaces/kube-system"
        return sh(_HELD, DATA=self.data_dir, UID_TEXT=self.uid, NAMESPACE=namespace)

    def parse(self, reply: Reply) -> str:
        """Raises ValueError when it broke off."""
        said = reply.text.strip()
        if said not in {"same", "other", "none"}:
            raise ValueError(f"cannot read {self.data_dir}: {reply.complaint!r}")
        return said


_KEYS = r"""
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C
[ -r "$FILE" ] || exit 3
# YAML or JSON, one word a line: what a key is called leaves the host, what it is never does.
tr '{}[],' '\n\n\n\n\n' <"$FILE" | awk '
  { gsub(/["\047]/, ""); sub(/[[:space:]]*#.*/, ""); sub(/^[[:space:]]*(-[[:space:]]+)*/, "") }
  /^(aescbc|aesgcm|secretbox|kms)[[:space:]]*:/ { kind = $0; sub(/[[:space:]]*:.*/, "", kind) }
  /^name[[:space:]]*:/ { sub(/^name[[:space:]]*:[[:space:]]*/, ""); sub(/[[:space:]]*$/, "")
    if (kind && $0) print kind ":" $0 }'
"""


@dataclass(frozen=True, slots=True)
class EncryptionKeys(Fact[tuple[str, ...]]):
    """Names of the keys in an API server's encryption settings, as `aescbc:key1`; never the keys."""

    name: ClassVar[str] = "kube.encryption_keys"
    file: str

    def about(self) -> tuple[str, ...]:
        """The file."""
        return (f"file:{self.file}",)

    def ask(self) -> Command:
        """Providers and names, picked out on the host."""
        return sh(_KEYS, FILE=self.file)

    def parse(self, reply: Reply) -> tuple[str, ...]:
        """Without a file there are none. Raises ValueError when it broke off."""
        if reply.exit not in {0, 3}:
            raise ValueError(f"cannot read {self.file}: {reply.complaint!r}")
        return tuple(sorted(set(reply.text.split("\n")) - {""}))


FACTS: tuple[type[Fact[Any]], ...] = (SnapshotOrigin, ClusterHeld, EncryptionKeys)


class ReadOrigin(HostStep):
    """Read whose snapshot it is: the UID of its kube-system, and the keys that encrypt its Secrets.

    On the controller, in pure Python. A snapshot without Kubernetes in it is refused. Where its
    manifest lies beside it, the fingerprints of the control plane's keys are read as well.
    """

    uses = "kube.snapshot.origin"
    effect = Effect.READ
    repeat = Repeat.SAFE
    outputs = ("uid", "keys", "fingerprints", "answers")

    path: str
    """The snapshot file on the controller, proved by etcd.snapshot.verify."""
    digest: str = ""
    """Its sha256, from etcd.snapshot.verify: another file's manifest is not believed."""
    prefix: str = "/registry"
    """The API servers' `--etcd-prefix`."""

    def run(self, host: Host) -> Outputs:
        """One look at the file."""
        if host.name != CONTROLLER:
            raise Refused("a snapshot is read on the controller", hint="leave `hosts` out")
        found = host.read(SnapshotOrigin(self.path, self.prefix))
        uid = found.uid
        if found.hidden:
            uid = UNPROVED
            host.note("its namespaces are encrypted: of which cluster it is cannot be read")
        elif not uid:
            raise Refused(
                f"{self.path} holds no namespace kube-system under {self.prefix}: it is no snapshot of "
                "a Kubernetes cluster",
                hint="name another snapshot; where the API servers have an --etcd-prefix, set `prefix`",
            )
        keys: Json = list(found.keys)
        manifest = host.read(SnapshotManifest(self.path))
        known = bool(manifest.sha256) and manifest.sha256 == self.digest
        if known and not manifest.answers:
            host.note(
                "its manifest is of before answers were kept: how etcd was set up then is not compared"
            )
        return {
            "uid": uid,
            "keys": keys,
            "fingerprints": self._recorded(host, manifest),
            "answers": dict(manifest.answers) if known else {},
        }

    def _recorded(self, host: Host, manifest: Manifest) -> Mapping[str, str]:
        """What the manifest says; nothing is made up where it says nothing."""
        why = ""
        if not manifest.sha256:
            why = "no manifest lies beside the snapshot"
        elif manifest.sha256 != self.digest:
            why = f"{self.path}.json is of another file"
        elif not manifest.fingerprints:
            why = f"{self.path}.json names no keys"
        if why:
            host.note(
                f"{why}: whether sa.key and the authorities are those of its time is not proved"
            )
            return {}
        return manifest.fingerprints


class Fits(HostStep):
    """Prove that a snapshot belongs here: of this cluster, and encrypted with keys that are here.

    On members of etcd, its cluster's UID must be in what their data directory holds; where there is
    no data that could tell, that is said and nothing is refused. On API servers, every key that a
    value in the snapshot names must be in the encryption settings, the authorities and the key that
    signs tokens must be those of its manifest, and an etcd of its own for some resources
    (`--etcd-servers-overrides`) must be accepted by name.
    """

    uses = "kube.snapshot.fits"
    effect = Effect.READ
    repeat = Repeat.SAFE

    uid: str
    """From kube.snapshot.origin."""
    keys: Listed
    """From kube.snapshot.origin."""
    fingerprints: Mapping[str, str] = {}
    """From kube.snapshot.origin; without any, nothing is compared."""
    answers: Mapping[str, Mapping[str, str]] = {}
    """From kube.snapshot.origin: how each host's etcd was set up when the snapshot was taken."""
    accept_keys: Listed = ()
    """Files, as `sa.pub`, that may be others than the manifest says."""
    accept_cluster: str = ""
    """The snapshot's UID, where hosts hold another cluster's data that is to be replaced; `unproved` for a snapshot
    whose namespaces are encrypted, so that nobody can tell."""
    accept_overrides: str = ""
    """`--etcd-servers-overrides` of the API servers, where what lies there is cared for elsewhere."""
    prefix: str = "/registry"
    """The API servers' `--etcd-prefix`."""
    pki: str = "/etc/kubernetes/pki"
    """The folder of certificates and keys, laid out as kubeadm does."""
    etcd: str = "etcd"
    """etcd's unit or static pod."""
    apiserver: str = "kube-apiserver"
    """The API server's unit or static pod."""

    def run(self, host: Host) -> None:
        """What the host is, it says itself: a member, an API server, or both."""
        config = host.read(config_fact(host, self.etcd))
        if config.found:
            self._as_it_was(host, config)
            self._same_cluster(host, config.data_dir)
        if host.read(ServiceState(self.apiserver)) != "missing":
            self._all_of_it(host)
            self._keys_are_here(host)
            self._same_keys(host)

    def _as_it_was(self, host: Host, config: Config) -> None:
        """What differs is told: it may have been changed on purpose, or be what broke the cluster."""
        now = {host.name: set_up(config)}
        for text in differing({host.name: self.answers.get(host.name, {})}, now):
            host.note(f"otherwise than when the snapshot was taken: {text}")

    def _same_cluster(self, host: Host, data_dir: str) -> None:
        if self.uid == UNPROVED:
            if self.accept_cluster != UNPROVED:
                raise Refused(
                    f"{host.name}: the snapshot's namespaces are encrypted: that it is of this cluster is not proved",
                    hint="make sure of it by its name, its time and its manifest (`run`, `host`, `member`); then say "
                    f"-e accept_cluster={UNPROVED}",
                )
            host.note(
                f"{host.name}: that the snapshot is of this cluster is not proved, as accepted"
            )
            return
        held = host.read(ClusterHeld(self.uid, data_dir, self.prefix))
        if held == "none":
            host.note(f"{host.name}: {data_dir} holds nothing that tells whose it is")
        elif held == "other" and self.accept_cluster == self.uid:
            host.note(f"{host.name}: {data_dir} is another cluster's, as accepted")
        elif held == "other":
            raise Refused(
                f"{host.name}: {data_dir} is of another cluster than the snapshot, whose kube-system "
                f"has the UID {self.uid}",
                hint="check snapshot and inventory; where the data on the host is to be replaced "
                f"by another cluster's, say -e accept_cluster={self.uid}",
            )

    def _all_of_it(self, host: Host) -> None:
        flag = host.read(ServiceFlag(self.apiserver, "etcd-servers-overrides"))
        said = ",".join(flag)
        if said and said != self.accept_overrides:
            raise Refused(
                f"{host.name}: a part of the objects is in another etcd ({said}): no snapshot of this "
                "one holds it",
                hint="restore that one, too, or decide that it may stay as it is; then say "
                f"-e accept_overrides='{said}'",
            )
        if said:
            host.note(f"{host.name}: what is in another etcd stays as it is, as accepted: {said}")

    def _keys_are_here(self, host: Host) -> None:
        if not self.keys:
            return
        flag = host.read(ServiceFlag(self.apiserver, "encryption-provider-config"))
        known = host.read(EncryptionKeys(flag[0])) if flag else ()
        lost = [key for key in self.keys if key not in known]
        if lost:
            where = flag[0] if flag else f"{self.apiserver}: no --encryption-provider-config"
            raise Refused(
                f"{host.name}: values in the snapshot are encrypted with {', '.join(lost)}, and no "
                f"such key is in {where}",
                hint="bring back the encryption settings of the time of the snapshot; without "
                "the key these values are lost, whatever is restored",
            )

    def _same_keys(self, host: Host) -> None:
        """Tokens and certificates of the snapshot's time are worth nothing under other keys (H11)."""
        if not self.fingerprints:
            return
        found = host.read(keys_fact(host, self.pki, self.apiserver))
        differ = found.differing(self.fingerprints)
        if refused := [name for name in differ if name not in self.accept_keys]:
            raise Refused(
                f"{host.name}: not what the snapshot's manifest says: "
                + "; ".join(f"{name} ({MEANS[name]})" for name in refused),
                hint=f"bring the keys of its time back into {self.pki}, from the archive of etcd-backup; where "
                f"they were replaced on purpose, say -e accept_keys={','.join(refused)}",
            )
        for name in differ:
            host.note(f"{host.name}: {name} is not what the manifest says, as accepted")
        if not found.proved:
            host.note(f"{host.name}: no openssl: that sa.key fits sa.pub is not proved")
