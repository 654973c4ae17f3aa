"""Where a restored directory is staged, what it replaces, and how far that has come.

Normally a sibling of the data directory: staging touches nothing that runs, and a rename is all
that the outage has to hold. A data directory that is a mount point cannot be renamed; there the
swap is of `member/` inside it (kamaji-etcd#141). A WAL directory that is a mount point keeps its
place as well: its files are moved into folders within the mount. One that lies inside the data
directory is restored and swapped with it.
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
    wal_mount: bool = False
    """Whether the WAL directory is a mount point: its files are moved within it."""
    inside: str = ""
    """Where the WAL directory is below the data directory, if it is swapped with that."""

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
        wal, between = self.wal_dir, "/" if self.wal_mount else "."
        return {
            "STAGE": self.stage,
            "TO": self.restore_to,
            "NEW": self.new,
            "LIVE": self.live,
            "OLD": self.old,
            "WAL": wal,
            "WAL_NEW": f"{wal}{between}drrun-{self.run}" if wal else "",
            "WAL_OLD": f"{wal}{between}old-{self.run}" if wal else "",
            "WAL_MOUNT": "yes" if self.wal_mount else "",
            "INSIDE": self.inside,
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
log=${WAL:-${TO%[./]drrun-*}/${INSIDE:-member/wal}}
[ -d "$log" ] || echo log=missing
if [ -n "$WAL" ] && [ -n "$WAL_MOUNT" ]; then # cut while its files were moved, or moved back
  [ -e "$WAL_OLD.part" ] || [ -e "$WAL_OLD.back" ] && echo wal=new
  ls -- "$WAL" | grep -q '\.wal$' || echo log=missing
elif [ -n "$WAL" ] && [ -e "$WAL" ]; then
  echo "livelog=$(stat -c %i -- "$WAL")"
fi
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
    wal_mount: bool = False
    inside: str = ""

    def about(self) -> tuple[str, ...]:
        """This run's staging folder and directories."""
        return ("etcd-stage",)

    def ask(self) -> Command:
        """The seal, and which of the directories exist."""
        place = Place(
            self.data_dir,
            self.wal_dir,
            self.mount,
            self.run,
            self.stage,
            self.wal_mount,
            self.inside,
        )
        return sh(_STAGED, **place.environment())

    def parse(self, reply: Reply) -> Staged:
        """Without a seal nothing counts: a restore that failed leaves residue.

        A rename keeps the inode, so that the sealed one in place is proof of the swap; the log
        must be there as well where etcd will look for it.
        """
        said = dict(line.partition("=")[::2] for line in reply.text.splitlines())
        if "sha256" not in said:
            return Staged("none")
        seal = {"sha256": said["sha256"], "token": said["token"], "bump": int(said["bump"])}
        state: StagedState
        if "new" in said:
            state = "half" if "old" in said else "staged"
        elif said.get("live") == said["inode"]:
            moved = "log" not in said and said.get("livelog") == said.get("wal-inode")
            state = "installed" if moved and "wal" not in said else "half"
        else:
            state = "none"
        return Staged(state, **seal)  # type: ignore[arg-type]


def staged(place: Place) -> EtcdStaged:
    """The fact for a place."""
    return EtcdStaged(
        place.data_dir,
        place.run,
        place.stage,
        place.wal_dir,
        place.mount,
        place.wal_mount,
        place.inside,
    )


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
if [ -n "$WAL" ]; then set -- "$@" --wal-dir "$WAL_NEW"
elif [ -n "$INSIDE" ]; then set -- "$@" --wal-dir "$TO/$INSIDE"; fi
[ "$BUMP" = 0 ] || set -- "$@" --bump-revision "$BUMP" --mark-compacted
env -i PATH="$PATH" ETCDCTL_API=3 $low "$TOOL" snapshot restore "$STAGE/snapshot.db" "$@"
[ -d "${WAL_NEW:-$TO/${INSIDE:-member/wal}}" ] || { echo 'drrun: the restore made no WAL' >&2; exit 7; }
chown -R -- "$OWNER" "$TO"
chmod 0700 -- "$TO"
[ -z "$WAL" ] || { chown -R -- "$OWNER" "$WAL_NEW"; chmod 0700 -- "$WAL_NEW"; }
sync -f "$TO" 2>/dev/null || sync
printf 'sha256=%s\ntoken=%s\nbump=%s\ninode=%s\n' "$SHA256" "$TOKEN" "$BUMP" "$(stat -c %i -- "$NEW")" >"$STAGE/seal.new"
[ -z "$WAL" ] || [ -n "$WAL_MOUNT" ] || echo "wal-inode=$(stat -c %i -- "$WAL_NEW")" >>"$STAGE/seal.new"
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

# A WAL directory that is a mount point: its files move. `.part` is what is not complete yet, `.back`
# what is on its way back, so that each move is finished by repeating it, whenever it was cut.
_WITHIN = r"""
for dir in "$LIVE" "$WAL"; do
  [ -n "$dir" ] || continue
  real=$(readlink -f -- "$dir" || printf '%s' "$dir")
  ls -l /proc/[0-9]*/fd 2>/dev/null | grep -q -F -e "-> $real/" && {
    echo "drrun: a process has files in $real open" >&2; exit 6; }
done
logs() { # from to: the log's own files, and nothing else that lies there
  for f in "$1"/*.wal "$1"/*.tmp "$1"/*.broken; do
    [ ! -f "$f" ] || [ -e "$2/${f##*/}" ] || mv -- "$f" "$2/" || return 9
  done
}
logs_back() {
  if [ -e "$WAL_OLD.part" ]; then logs "$WAL_OLD.part" "$WAL" && rmdir -- "$WAL_OLD.part" || return 9; fi
  if [ -e "$WAL_OLD" ]; then
    mkdir -p -m 0700 -- "$WAL_NEW" && logs "$WAL" "$WAL_NEW" && mv -T -- "$WAL_OLD" "$WAL_OLD.back" || return 9
  fi
  if [ -e "$WAL_OLD.back" ]; then logs "$WAL_OLD.back" "$WAL" && rmdir -- "$WAL_OLD.back" || return 9; fi
}
logs_in() {
  [ ! -e "$WAL_OLD.back" ] || logs_back || return 9
  [ -e "$WAL_NEW" ] || { [ -e "$WAL_OLD" ] && return 0; echo "drrun: neither $WAL_NEW nor $WAL_OLD exists" >&2; return 7; }
  if [ ! -e "$WAL_OLD" ]; then
    mkdir -p -m 0700 -- "$WAL_OLD.part" && logs "$WAL" "$WAL_OLD.part" && mv -T -- "$WAL_OLD.part" "$WAL_OLD" || return 9
  fi
  logs "$WAL_NEW" "$WAL" && rmdir -- "$WAL_NEW"
}
"""

INSTALL = (
    r"""
# set the live data aside, put the staged data in its place
set -eu
[ -r "$STAGE/seal" ] || { echo 'drrun: nothing is staged on this host' >&2; exit 5; }
"""
    + _WITHIN
    + r"""
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
if [ -n "$WAL_MOUNT" ]; then logs_in || exit $?
elif [ -n "$WAL" ]; then swap "$WAL" "$WAL_NEW" "$WAL_OLD"; fi
swap "$LIVE" "$NEW" "$OLD" || {
  rc=$?
  # All or nothing: a member with one new half would refuse to start, or worse.
  if [ -n "$WAL_MOUNT" ]; then logs_back
  elif [ -n "$WAL" ] && [ ! -e "$WAL_NEW" ]; then
    mv -T -- "$WAL" "$WAL_NEW"; [ ! -e "$WAL_OLD" ] || mv -T -- "$WAL_OLD" "$WAL"
  fi
  exit $rc
}
[ "$TO" = "$NEW" ] || rmdir -- "$TO" 2>/dev/null || true
chown -R -- "$OWNER" "$LIVE"
chmod 0700 -- "$LIVE"
label() { # new old: the label that was there, not what the policy says of the path (container_file_t)
  [ -e "$1" ] || return 0
  [ -e "$2" ] && chcon -R --reference="$2" -- "$1" 2>/dev/null && return 0
  ! command -v restorecon >/dev/null || restorecon -R "$1" || true
}
label "$LIVE" "$OLD"
if [ -n "$WAL_MOUNT" ]; then
  for f in "$WAL"/*.wal; do chown -- "$OWNER" "$f"; chcon --reference="$WAL" -- "$f" 2>/dev/null || true; done
elif [ -n "$WAL" ]; then label "$WAL" "$WAL_OLD"; fi
sync -f "$LIVE" 2>/dev/null || sync
"""
)

SWAP_BACK = (
    r"""
# put the old data back, keep the restored data staged
set -eu
"""
    + _WITHIN
    + r"""
back() { # live new old: the restored one is kept as the staged one, nothing is removed
  if [ -e "$1" ] && [ ! -e "$2" ]; then mkdir -p -- "${2%/*}"; mv -T -- "$1" "$2"; fi
  if [ -e "$3" ]; then
    [ ! -e "$1" ] || { echo "drrun: both $1 and $3 exist" >&2; exit 8; }
    mv -T -- "$3" "$1"
  fi
}
back "$LIVE" "$NEW" "$OLD"
if [ -n "$WAL_MOUNT" ]; then logs_back
elif [ -n "$WAL" ]; then back "$WAL" "$WAL_NEW" "$WAL_OLD"; fi
sync -f "${LIVE%/*}" 2>/dev/null || sync
"""
)

FACTS: tuple[type[Fact[Any]], ...] = (EtcdStaged,)
