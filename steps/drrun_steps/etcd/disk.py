"""What a member's data directory holds while etcd is stopped, read without changing a byte.

A revision above the snapshot's in *any* surviving directory means that a restore would throw
away acknowledged writes (hazard H1): that is measured here, never guessed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from drrun.spi import Command, Fact, Reply, sh
from drrun_steps.etcd.live import why_not
from drrun_steps.etcd.settings import SETTINGS
from drrun_steps.etcd.tools import OFFLINE

DiskState = Literal["missing", "empty", "readable", "unreadable", "in-use"]


@dataclass(frozen=True, slots=True)
class DataDir:
    """A data directory: `in-use` while an etcd runs here; `why` explains `unreadable`."""

    state: DiskState
    revision: int = 0
    keys: int = 0
    why: str = ""
    ran: bool = False
    """With `missing`: whether a member was started there all the same, so that its data may lie elsewhere."""


_DISK = (
    SETTINGS
    + OFFLINE
    + r"""
D=$DATA_DIR
if [ -z "$D" ]; then
  [ -z "$unclear" ] || { echo "how etcd is started is not understood: $unclear"; exit 5; }
  D=$(setting data-dir)
fi
[ -n "$D" ] || { echo 'no data directory is configured'; exit 5; }
[ -e "$D" ] || {
  # A member that ran has a directory: where it is not, it is elsewhere. systemd before 232 gives a life no id,
  # and a reboot forgets it; what drrun holds stopped did run.
  began=$(show ExecMainStartTimestamp)
  if [ -e "$MANIFEST" ] || [ -n "$(show InvocationID)" ] || [ -n "${began#n/a}" ] ||
    [ -e "/etc/systemd/system/${SERVICE%.service}.service.d/00-drrun-hold.conf" ]; then echo 'missing, though it ran'; else echo missing; fi
  exit 0
}
real=$(readlink -f -- "$D")
ls -l /proc/[0-9]*/fd 2>/dev/null | grep -q -F -e "-> $real/member/" && { echo in-use; exit 0; }
[ -d "$D" ] || { echo "$D is not a directory"; exit 5; }
left=$(ls -A -- "$D") || exit 5
case $left in ''|lost+found) echo empty; exit 0;; esac
[ -e "$D/member" ] || { echo "$D has no member/ but is not empty"; exit 5; }
db=$D/member/snap/db
[ -s "$db" ] || { echo "$D/member has no database"; exit 5; }
# bolt waits for ever for the lock of an etcd that sees the directory by another path.
if command -v flock >/dev/null; then asked=yes; flock -n -s 3 3<"$db" || { echo in-use; exit 0; }; fi
# Every key is read: at 4 MB a second, a disk that is in trouble.
LIMIT=${LIMIT:-$((60 + $(stat -c %s -- "$db") / 4000000))}
# By an open file: bolt opens even what it only reads with O_CREAT, and must not make a file here.
offline snapshot status /proc/self/fd/3 -w json 3<"$db"
code=$?
[ $code = 124 ] || exit $code
[ -z "${asked:-}" ] || { echo "$db was not read within $LIMIT s"; exit 5; }
echo in-use
"""
)


@dataclass(frozen=True, slots=True)
class EtcdDataDir(Fact[DataDir]):
    """The data directory of a stopped member, with its revision where it can be read.

    The database may lag the write-ahead log by one batch (100 ms) after a crash.
    """

    name: ClassVar[str] = "etcd.data"
    timeout: ClassVar[float] = 2400.0
    service: str = "etcd"
    data_dir: str = ""

    def about(self) -> tuple[str, ...]:
        """The directory, and the service: bolt's lock keeps it closed while etcd runs."""
        return ("etcd-data", f"service:{self.service}")

    def ask(self) -> Command:
        """`snapshot status` opens the database read-only."""
        return sh(_DISK, SERVICE=self.service, DATA_DIR=self.data_dir)

    def parse(self, reply: Reply) -> DataDir:
        """A directory that makes no sense is `unreadable`, with the reason."""
        text = reply.text.strip()
        if reply.exit == 0 and text == "missing, though it ran":
            return DataDir("missing", why="there is no such directory, though etcd ran", ran=True)
        if reply.exit == 0 and text in {"missing", "empty", "in-use"}:
            return DataDir(state=text)  # type: ignore[arg-type]
        if reply.exit == 0 and text.startswith("{"):
            said = json.loads(text.splitlines()[-1])
            return DataDir("readable", revision=said["revision"], keys=said["totalKey"])
        return DataDir("unreadable", why=why_not(reply))


FACTS: tuple[type[Fact[Any]], ...] = (EtcdDataDir,)
