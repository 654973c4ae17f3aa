"""The step that says whether an archive of keys may be relied on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from drrun.spi import (
    CONTROLLER,
    Effect,
    Flag,
    Host,
    HostStep,
    Outputs,
    Refused,
    Repeat,
    satisfies,
)
from drrun_steps.fields import Listed
from drrun_steps.kube.archive import Archive, KeyArchive
from drrun_steps.kube.keys import ENCRYPTION, MEANS, PUBLIC


class VerifyArchive(HostStep):
    """Prove that an archive of keys is the one that is meant, and whole enough to rebuild from.

    On the controller. Its certificates, `sa.pub` and encryption settings must have the
    `fingerprints`; with `complete` nothing that a rebuild needs may be missing, and what is lost
    with each missing file is said.
    """

    uses = "kube.keys.verify"
    effect = Effect.READ
    repeat = Repeat.SAFE
    outputs = ("fingerprints", "encryption")

    path: str
    """The archive on the controller."""
    fingerprints: Mapping[str, str] = {}
    """From kube.keys, kube.keys.save or kube.snapshot.origin; nothing is compared without."""
    keys: Sequence[str] = ()
    """From kube.snapshot.origin: with any, the encryption settings are needed."""
    complete: Flag = False
    """Whether all must be there that a control plane is rebuilt from."""
    accept: Listed = ()
    """Files, as `sa.pub`, that may be others than the fingerprints say."""
    optional: Flag = False
    """Whether an empty `path` is no mistake: no archive was asked for, and none is proved."""

    def run(self, host: Host) -> Outputs:
        """One look at the file; in a dry-run on one that is yet to be made: checked at run."""
        if host.name != CONTROLLER:
            raise Refused("an archive of keys is read on the controller", hint="leave `hosts` out")
        if not self.path and self.optional:
            return {"fingerprints": {}, "encryption": False}
        fact = KeyArchive(self.path)
        seen: object = host.read(fact)
        if isinstance(seen, Archive):
            self._refuse_unfit(seen)
        found = host.require(
            fact,
            satisfies("an archive of these keys", lambda a: not a.problem and not self._other(a)),
            because="keys that are not the cluster's are worth nothing on the day they are needed",
        )
        return {"fingerprints": found.fingerprints, "encryption": self._encrypted(found)}

    def _encrypted(self, found: object) -> bool:
        return isinstance(found, Archive) and ENCRYPTION in found.fingerprints

    def _other(self, found: Archive) -> list[str]:
        meant = {n: digest for n, digest in self.fingerprints.items() if n not in self.accept}
        there = found.fingerprints
        return [
            n for n in (*PUBLIC, ENCRYPTION) if n in meant and there.get(n, meant[n]) != meant[n]
        ]

    def _refuse_unfit(self, found: Archive) -> None:
        if found.problem:
            raise Refused(found.problem, hint="etcd-backup -e keys_to=FILE makes one")
        needed = found.lost if self.complete else ()
        lost = [name for name in needed if name in MEANS]
        if self.keys and not self._encrypted(found):
            lost.append(ENCRYPTION)
        if lost:
            raise Refused(
                f"{self.path} lacks {', '.join(lost)}: "
                + "; ".join(f"without {name}, {MEANS[name]}" for name in lost),
                hint="find them: another archive, a disk of an old host, a kubeadm certificate bundle; "
                "what nobody has any more cannot be made again, and a new cluster has to be built",
            )
        if other := self._other(found):
            raise Refused(
                f"{self.path} is of another time or cluster than what it is compared with: "
                f"{', '.join(other)} differ",
                hint="name the archive that was saved with the snapshot; where the other one is right, "
                f"say -e accept_keys={','.join(other)}",
            )
