"""The step that says whether a snapshot file may be trusted, before anything else is done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from drrun.spi import (
    CONTROLLER,
    Effect,
    Fact,
    Host,
    HostStep,
    Outputs,
    Refused,
    Repeat,
    satisfies,
)
from drrun_steps.etcd.snapshot import HostSnapshot, Problem, Snapshot, SnapshotFile

_ADVICE: Mapping[Problem, tuple[str, str]] = {
    "missing": ("there is no such file", "check the path; name a snapshot with -e snapshot=PATH"),
    "empty": ("the file is empty", "the backup was cut off before its first byte: take another"),
    "truncated": (
        "the file is cut short",
        "copy it again from where it was taken and compare sizes; else take an older one",
    ),
    "foreign": (
        "this is no etcd snapshot",
        "a packed backup (.gz, .zip, .tar) must be unpacked first",
    ),
    "unsealed": (
        (
            "this is a copied database file, not a snapshot: it carries no sha256, so that damage "
            "could not be noticed, and the tail of the write-ahead log is missing"
        ),
        (
            "use a file made by `etcdctl snapshot save`; from a copied member/ directory, start a "
            "single etcd on it and save a snapshot there"
        ),
    ),
    "damaged": (
        "the file was changed or cut short after it was saved: its sha256 does not match",
        "copy it again, or take another snapshot; --skip-hash-check would restore the damage",
    ),
    "broken": (
        "the file is sealed but its database makes no sense",
        "it was saved from a member that was broken already: take one of another member",
    ),
}


class Verify(HostStep):
    """Prove that a snapshot is whole: its seal (sha256 trailer), its structure, its revision.

    On the controller the file is read in pure Python; on a host, with coreutils and etcd's own
    tool. `snapshot status` alone would pass a flipped byte.
    """

    uses = "etcd.snapshot.verify"
    effect = Effect.READ
    repeat = Repeat.SAFE
    outputs = ("path", "sha256", "size", "revision", "total_keys", "version", "nospace")

    path: str
    """The snapshot file."""

    def run(self, host: Host) -> Outputs:
        """One read; in a dry-run on a file that is yet to be made: checked at run."""
        fact: Fact[Snapshot] = (
            SnapshotFile(self.path) if host.name == CONTROLLER else HostSnapshot(self.path)
        )
        seen: object = host.read(fact)
        if isinstance(seen, Snapshot):
            refuse_unsound(seen, f"{self.path} on {host.name}")
        whole = satisfies("whole and sealed", _whole)
        if isinstance(seen, Snapshot) and host.name == CONTROLLER:
            host.measure("rpo", seen.age)
        found = host.require(fact, whole, because="a damaged snapshot must never be restored")
        return {
            "path": self.path,
            "sha256": found.sha256,
            "size": found.size,
            "revision": found.revision,
            "total_keys": found.keys,
            "version": found.version or "unknown",
            "nospace": found.nospace,
        }


def _whole(found: Any) -> bool:
    return isinstance(found, Snapshot) and not found.problem


def refuse_unsound(found: Snapshot, where: str) -> None:
    """Raise Refused with the reason and the next move unless the snapshot is sound."""
    if found.problem:
        what, hint = _ADVICE[found.problem]
        raise Refused(f"{where}: {what} ({found.why})", hint=hint)
