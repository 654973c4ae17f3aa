"""Old snapshots on a host, made by earlier runs: how many are kept, once today's is proved elsewhere.

Only what drrun made goes: a file LABEL-RUN.db with its manifest beside it. What somebody else put into
the folder, or a run left without its manifest, stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from drrun.spi import (
    CONTROLLER,
    Command,
    Demand,
    Effect,
    Fact,
    Host,
    HostStep,
    Repeat,
    Reply,
    Rule,
    satisfies,
    sh,
    step_done,
)
from drrun_steps.fields import MaybeWhole

_LISTED = r"""
cd -- "$FOLDER" 2>/dev/null || exit 0
for m in "$LABEL"-*.db.json; do
  f=${m%.json}
  [ -f "$f" ] && [ "$f" != "$LABEL-$RUN.db" ] && grep -q '^{"drrun": 1,' -- "$m" || continue
  printf '%s %s\n' "$(stat -c %Y -- "$f")" "$f"
done | sort -rn | cut -d ' ' -f 2
"""

_PRUNE = r"""# remove snapshots of earlier runs, each with its manifest
set -eu
cd -- "$FOLDER"
for f in $FILES; do
  case $f in */*|.*) exit 9 ;; "$LABEL"-*.db) ;; *) exit 9 ;; esac
  rm -f -- "$f" "$f.json"
done
sync "$FOLDER"
"""


@dataclass(frozen=True, slots=True)
class EarlierSnapshots(Fact[tuple[str, ...]]):
    """Names of the snapshots that earlier runs left in a folder, the newest first."""

    name: ClassVar[str] = "etcd.snapshots.earlier"
    folder: str
    label: str
    run: str
    """The run whose own snapshot does not count."""

    def about(self) -> tuple[str, ...]:
        """The snapshots of earlier runs, which no other step touches."""
        return (f"earlier-snapshots:{self.folder}/{self.label}",)

    def ask(self) -> Command:
        """Files with a manifest of drrun's beside them."""
        return sh(_LISTED, FOLDER=self.folder, LABEL=self.label, RUN=self.run)

    def parse(self, reply: Reply) -> tuple[str, ...]:
        """Raises ValueError when it broke off."""
        if reply.exit != 0:
            raise ValueError(f"cannot list {self.folder}: {reply.complaint!r}")
        return tuple(reply.text.split())


class Retain(HostStep):
    """Remove snapshots of earlier runs but for the newest few, once today's is proved.

    Those that etcd.snapshot.save left on this host, by their manifests. The copies on the
    controller are yours.
    """

    uses = "etcd.snapshot.retain"
    effect = Effect.DESTROY
    repeat = Repeat.SAFE

    earlier: MaybeWhole = None
    """How many snapshots of earlier runs stay on each host; empty: all of them."""
    folder: str = "/var/backups/drrun"
    """The folder that etcd.snapshot.save writes into."""
    label: str = "etcd"
    """What the names begin with, as in etcd.snapshot.save."""

    def rules(self) -> Sequence[Demand]:
        """Behind the proof of today's copy on the controller."""
        because = "the old ones may go when the new one is proved, somewhere else"
        return [Rule(step_done("etcd.snapshot.verify"), CONTROLLER, value=True, because=because)]

    def run(self, host: Host) -> None:
        """One removal, of files named in its command."""
        if self.earlier is None:
            return
        fact = EarlierSnapshots(self.folder, self.label, host.run)
        old = host.read(fact)[self.earlier :]
        if not old:
            return
        host.change(
            "retain",
            sh(_PRUNE, FOLDER=self.folder, LABEL=self.label, FILES=" ".join(old)),
            sets={fact: satisfies("without these", lambda now: not set(now) & set(old))},
            repeat=Repeat.SAFE,
        )
        host.note(
            f"{host.name}: {len(old)} snapshots of earlier runs removed, the newest {self.earlier} kept"
        )


FACTS: tuple[type[Fact[Any]], ...] = (EarlierSnapshots,)
