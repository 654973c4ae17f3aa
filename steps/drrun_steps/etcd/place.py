"""Where a restored directory is staged, what it replaces, and how far that has come.

Normally a sibling of the data directory: staging touches nothing that runs, and a rename is all
that the outage has to hold. A data directory that is a mount point cannot be renamed; there the
swap is of `member/` inside it (kamaji-etcd#141).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from drrun.spi import Command, Fact, Reply, sh
from drrun_steps.etcd.tools import TOOLS

StagedState = Literal["none", "staged", "installed", "half"]


@dataclass(frozen=True, slots=True)
class Place:
    """The paths of one member's swap."""

    data_dir: str
    wal_dir: str
    mount: bool
    run: str
    stage: str
    """Root-only folder of this run on the host: the snapshot's copy and the seal."""

    @property
    def restore_to(self) -> str:
        """What `snapshot restore --data-dir` is given; it must not exist before."""
        between = "/drrun-" if self.mount else ".drrun-"
        return f"{self.data_dir}{between}{self.run}"

    @property
    def new(self) -> str:
        """The staged directory that takes the place of `live`."""
        return f"{self.restore_to}/member" if self.mount else self.restore_to

    @property
    def live(self) -> str:
        """The directory that is replaced."""
        return f"{self.data_dir}/member" if self.mount else self.data_dir

    @property
    def old(self) -> str:
        """Where the replaced directory is kept. drrun never removes it."""
        return f"{self.live}.old-{self.run}"

    def environment(self) -> Mapping[str, str]:
        """The same, as the variables of the scripts."""
        wal = self.wal_dir
        return {
            "STAGE": self.stage,
            "TO": self.restore_to,
            "NEW": self.new,
            "LIVE": self.live,
            "OLD": self.old,
            "WAL": wal,
            "WAL_NEW": f"{wal}.drrun-{self.run}" if wal else "",
            "WAL_OLD": f"{wal}.old-{self.run}" if wal else "",
        }


@dataclass(frozen=True, slots=True)
class Staged:
    """How far a member's swap has come, and what was staged: from the seal.

    `half` is a swap that was cut between its renames: repeating it finishes it.
    """

    state: StagedState
    sha256: str = ""
    token: str = ""
    bump: int = 0


_STAGED = r"""
[ -r "$STAGE/seal" ] && cat "$STAGE/seal"
[ -n "$WAL" ] && [ -e "$WAL_NEW" ] && echo wal=new
[ -e "$NEW" ] && echo new=yes
[ -e "$OLD" ] && echo old=yes
[ -e "$LIVE" ] && echo "live=$(stat -c %i -- "$LIVE")"
true
"""


@dataclass(frozen=True, slots=True)
class EtcdStaged(Fact[Staged]):
    """The seal of a staged restore, and whether it is in place already."""

    name: ClassVar[str] = "etcd.staged"
    data_dir: str
    run: str
    stage: str
    wal_dir: str = ""
    mount: bool = False

    def about(self) -> tuple[str, ...]:
        """This run's staging folder and directories."""
        return ("etcd-stage",)

    def ask(self) -> Command:
        """The seal, and which of the directories exist."""
        place = Place(self.data_dir, self.wal_dir, self.mount, self.run, self.stage)
        return sh(_STAGED, **place.environment())

    def parse(self, reply: Reply) -> Staged:
        """Without a seal nothing counts: a restore that failed leaves residue.

        A rename keeps the inode, so that the sealed one in place is proof of the swap.
        """
        said = dict(line.partition("=")[::2] for line in reply.text.splitlines())
        if "sha256" not in said:
            return Staged("none")
        seal = {"sha256": said["sha256"], "token": said["token"], "bump": int(said["bump"])}
        state: StagedState
        if "new" in said:
            state = "half" if "old" in said else "staged"
        elif said.get("live") == said["inode"]:
            state = "half" if "wal" in said else "installed"
        else:
            state = "none"
        return Staged(state, **seal)  # type: ignore[arg-type]


def staged(place: Place) -> EtcdStaged:
    """The fact for a place."""
    return EtcdStaged(place.data_dir, place.run, place.stage, place.wal_dir, place.mount)


RESTORE = (
    "# restore the snapshot beside the live data, and seal it\n"
    + TOOLS
    + r"""
set -eu
umask 077
for t in etcdctl etcdutl; do # from a container that will be gone when they are needed next
  from=$(command -v $t) || continue
  case $from in /proc/*) mkdir -p -m 700 /var/lib/drrun/tools; cp -- "$from" /var/lib/drrun/tools/ ;; esac
done
case $TO in /*drrun-"$RUN") ;; *) echo "drrun: $TO is no staging directory of $RUN" >&2; exit 5;; esac
[ "$(sha256sum <"$STAGE/snapshot.db" | cut -c 1-64)" = "$SHA256" ] || {
  echo "drrun: the snapshot's copy on this host has another sha256" >&2; exit 6; }
rm -f -- "$STAGE/seal"
# What a failed restore left is this run's own: etcd refuses a directory that is not empty.
rm -rf -- "$TO"
[ -z "$WAL" ] || rm -rf -- "$WAL_NEW"
low=
command -v ionice >/dev/null && ionice -c 2 -n 7 true 2>/dev/null && low='ionice -c 2 -n 7'
command -v nice >/dev/null && low="nice -n 10 $low"
set -- --data-dir "$TO" --name "$NAME" --initial-cluster "$CLUSTER" \
  --initial-cluster-token "$TOKEN" --initial-advertise-peer-urls "$PEER"
[ -z "$WAL" ] || set -- "$@" --wal-dir "$WAL_NEW"
[ "$BUMP" = 0 ] || set -- "$@" --bump-revision "$BUMP" --mark-compacted
env -i PATH="$PATH" ETCDCTL_API=3 $low "$TOOL" snapshot restore "$STAGE/snapshot.db" "$@"
[ -d "$NEW/member/wal" ] || [ -d "$NEW/wal" ] || [ -d "$WAL_NEW" ] || { echo 'drrun: the restore made no WAL' >&2; exit 7; }
chown -R -- "$OWNER" "$TO"
chmod 0700 -- "$TO"
[ -z "$WAL" ] || { chown -R -- "$OWNER" "$WAL_NEW"; chmod 0700 -- "$WAL_NEW"; }
sync -f "$TO" 2>/dev/null || sync
printf 'sha256=%s\ntoken=%s\nbump=%s\ninode=%s\n' "$SHA256" "$TOKEN" "$BUMP" "$(stat -c %i -- "$NEW")" >"$STAGE/seal.new"
sync "$STAGE/seal.new"
mv -f -- "$STAGE/seal.new" "$STAGE/seal"
"""
)

UNSTAGE = r"""
# remove what this run staged, nothing else
set -eu
case $TO in /*drrun-"$RUN") ;; *) echo "drrun: $TO is no staging directory of $RUN" >&2; exit 5;; esac
rm -f -- "$STAGE/seal" "$STAGE/snapshot.db"
rm -rf -- "$TO"
[ -z "$WAL" ] || rm -rf -- "$WAL_NEW"
rmdir -- "$STAGE" 2>/dev/null || true
"""

INSTALL = r"""
# set the live data aside, put the staged data in its place
set -eu
[ -r "$STAGE/seal" ] || { echo 'drrun: nothing is staged on this host' >&2; exit 5; }
real=$(readlink -f -- "$LIVE" || printf '%s' "$LIVE")
ls -l /proc/[0-9]*/fd 2>/dev/null | grep -q -F -e "-> $real/" && {
  echo "drrun: a process has files in $real open" >&2; exit 6; }
# Each rename is a no-op when it has been made, so that a cut swap is finished by repeating it.
swap() { # live new old
  [ -e "$2" ] || { [ -e "$1" ] && return 0; echo "drrun: neither $1 nor $2 exists" >&2; return 7; }
  if [ -e "$1" ]; then
    [ ! -e "$3" ] || { echo "drrun: both $1 and $3 exist" >&2; return 8; }
    mv -T -- "$1" "$3"
  fi
  mv -T -- "$2" "$1" && return 0
  [ ! -e "$3" ] || mv -T -- "$3" "$1"
  return 9
}
[ -z "$WAL" ] || swap "$WAL" "$WAL_NEW" "$WAL_OLD"
swap "$LIVE" "$NEW" "$OLD" || {
  rc=$?
  # All or nothing: a member with one new half would refuse to start, or worse.
  if [ -n "$WAL" ] && [ ! -e "$WAL_NEW" ]; then
    mv -T -- "$WAL" "$WAL_NEW"; [ ! -e "$WAL_OLD" ] || mv -T -- "$WAL_OLD" "$WAL"
  fi
  exit $rc
}
[ "$TO" = "$NEW" ] || rmdir -- "$TO" 2>/dev/null || true
chown -R -- "$OWNER" "$LIVE"
chmod 0700 -- "$LIVE"
! command -v restorecon >/dev/null || restorecon -R "$LIVE" || true
sync -f "$LIVE" 2>/dev/null || sync
"""

SWAP_BACK = r"""
# put the old data back, keep the restored data staged
set -eu
real=$(readlink -f -- "$LIVE" || printf '%s' "$LIVE")
ls -l /proc/[0-9]*/fd 2>/dev/null | grep -q -F -e "-> $real/" && {
  echo "drrun: a process has files in $real open" >&2; exit 6; }
back() { # live new old: the restored one is kept as the staged one, nothing is removed
  if [ -e "$1" ] && [ ! -e "$2" ]; then mkdir -p -- "${2%/*}"; mv -T -- "$1" "$2"; fi
  if [ -e "$3" ]; then
    [ ! -e "$1" ] || { echo "drrun: both $1 and $3 exist" >&2; exit 8; }
    mv -T -- "$3" "$1"
  fi
}
back "$LIVE" "$NEW" "$OLD"
[ -z "$WAL" ] || back "$WAL" "$WAL_NEW" "$WAL_OLD"
sync -f "${LIVE%/*}" 2>/dev/null || sync
"""

FACTS: tuple[type[Fact[Any]], ...] = (EtcdStaged,)
