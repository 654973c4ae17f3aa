"""What a member's two directories are on this host: links, mount points, what lies below, whose.

A swap is renames. A mount point cannot be renamed, a link would be renamed instead of what it
names, and what is mounted or linked below a directory goes away with it.
Source: rename(2), EBUSY; proc_pid_mountinfo(5), field 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from drrun.spi import Command, Fact, Reply, sh


@dataclass(frozen=True, slots=True)
class Directories:
    """The data and WAL directories as the disk has them, all links resolved."""

    data: str
    """The data directory; a path that need not exist yet."""
    mount: bool = False
    """Whether it is a mount point."""
    wal: str = ""
    """The WAL directory where it is swapped by itself; empty where it is in the tree of the data."""
    wal_mount: bool = False
    """Whether that one is a mount point."""
    inside: str = ""
    """The WAL directory's path below the data directory, where it is restored and swapped with it."""
    owner: str = ""
    """uid:gid that the new directory gets; empty where the old one does not tell."""
    wrong: tuple[str, ...] = ()
    """What a swap would carry off or could not move."""


_DIRECTORIES = r"""
# what the data and WAL directories are
real() { readlink -f -- "$1" 2>/dev/null || printf '%s' "$1"; }
data=$(real "$DATA")
printf 'data=%s\n' "$data"
wal=
[ -z "$WAL" ] || { wal=$(real "$WAL"); printf 'wal=%s\n' "$wal"; }
awk '{ print $5 }' /proc/self/mountinfo | while read -r at; do
  at=$(printf '%b' "$at")
  [ "$at" != "$data" ] || echo mount=yes
  case $at in "$data"/*) printf 'below=%s\n' "$at" ;; esac
  [ -n "$wal" ] || continue
  [ "$at" != "$wal" ] || echo walmount=yes
  case $at in "$wal"/*) printf 'below=%s\n' "$at" ;; esac
done
for at in "$data/member" "$data/member/wal" "$data/member/snap" "$data/member/snap/db"; do
  [ ! -L "$at" ] || printf 'link=%s\n' "$at"
done
if [ -d "$data/member" ]; then
  stat -c 'owner=%u:%g' -- "$data/member"
elif [ -d "$data" ]; then # made by hand for etcd, or by root for nobody
  stat -c 'owner=%u:%g' -- "$data" | grep -v '^owner=0:' || true
fi
"""


@dataclass(frozen=True, slots=True)
class EtcdDirectories(Fact[Directories]):
    """Links, mount points and owner of a member's directories on this host."""

    name: ClassVar[str] = "etcd.directories"
    data_dir: str
    wal_dir: str = ""

    def about(self) -> tuple[str, ...]:
        """A swap changes none of it."""
        return ("etcd-directories",)

    def ask(self) -> Command:
        """The links, the mount table, and the owner."""
        return sh(_DIRECTORIES, DATA=self.data_dir, WAL=self.wal_dir)

    def parse(self, reply: Reply) -> Directories:
        """Raises ValueError when the script broke off."""
        pairs = [line.partition("=")[::2] for line in reply.text.splitlines()]
        said = dict(pairs)
        if reply.exit != 0 or "data" not in said:
            raise ValueError(f"cannot read etcd's directories: {reply.complaint!r}")
        data, wal, mount = said["data"], said.get("wal", ""), "mount" in said
        below = [at for key, at in pairs if key == "below"]
        inside = wal.removeprefix(f"{data}/") if wal.startswith(f"{data}/") else ""
        apart = wal if wal and not inside else ""
        if mount and inside and not f"{inside}/".startswith("member/"):
            inside, apart = "", wal  # beside member/, which alone is moved there
        wrong = [f"{at} is a link" for key, at in pairs if key == "link"]
        for at in dict.fromkeys(below):
            # Where the data directory keeps its place, so does what is mounted beside member/.
            kept = mount and not f"{at}/".startswith(f"{data}/member/")
            if not kept or (wal and at.startswith(f"{wal}/")):
                wrong.append(f"{at} is a mount point")
        if wal and f"{data}/".startswith(f"{wal}/"):
            wrong.append(f"the WAL directory {wal} holds the data directory {data}")
        return Directories(
            data,
            mount,
            apart,
            bool(apart) and "walmount" in said,
            "" if inside == "member/wal" else inside,
            said.get("owner", ""),
            tuple(wrong),
        )


FACTS: tuple[type[Fact[Any]], ...] = (EtcdDirectories,)
