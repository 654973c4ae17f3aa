"""Where the etcd that runs here has its database open, against where its settings say that it lies.

What a unit or a manifest says may have been edited since the start, or be another's. A process is not mistaken
about the file that it writes.
Source: field reports of a `hostPath` that was changed alone, of a configuration file beside stale variables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from drrun.spi import Command, Fact, Question, Reply, Where, sh
from drrun_steps.etcd.settings import SETTINGS

_OPENED = (
    SETTINGS
    + r"""
D=${DATA_DIR:-$(setting data-dir)}
meant=$(stat -L -c %d:%i -- "$D/member/snap/db" 2>/dev/null)
found=
for exe in $(ls -l /proc/[0-9]*/exe 2>/dev/null | sed -n 's|.*/proc/\([0-9]*\)/exe -> .*/etcd\( (deleted)\)\{0,1\}$|\1|p'); do
  for fd in $(ls -l /proc/$exe/fd 2>/dev/null | sed -n 's|.* \([0-9]*\) -> .*/member/snap/db\( (deleted)\)\{0,1\}$|\1|p'); do
    [ -z "$meant" ] || [ "$(stat -L -c %d:%i -- "/proc/$exe/fd/$fd" 2>/dev/null)" != "$meant" ] || exit 0
    found="$found$(readlink "/proc/$exe/fd/$fd") (pid $exe)
"
  done
done
[ -z "$found" ] || { printf '%s' "$found" | head -n 1; printf 'meant=%s\n' "${D:-nowhere}"; }
true
"""
)


@dataclass(frozen=True, slots=True)
class EtcdOpened(Fact[str]):
    """Where the etcd that runs has its database, when that is not where its settings say; else empty.

    Also empty where none runs. Files are compared by device and inode: paths of a container are its own.
    """

    name: ClassVar[str] = "etcd.opened"
    service: str = "etcd"
    data_dir: str = ""

    def about(self) -> tuple[str, ...]:
        """The service, and its settings."""
        return (f"service:{self.service}", f"unit:{self.service}", "etcd-data")

    def ask(self) -> Command:
        """The open files of each process that runs etcd."""
        return sh(_OPENED, SERVICE=self.service, DATA_DIR=self.data_dir)

    def parse(self, reply: Reply) -> str:
        """In words. What cannot be read is no agreement."""
        if reply.exit != 0:
            return f"which files etcd has open cannot be read: {reply.complaint[:200]}"
        if not reply.text.strip():
            return ""
        opened, _, meant = reply.text.strip().partition("\nmeant=")
        return f"etcd has its database open in {opened}, and its settings say {meant}"


def opened(at: Where, service: str) -> Question:
    """Whether the etcd that runs works on the directory that its settings name."""
    return Question(
        "data:etcd",
        EtcdOpened(service, str(at.vars.get("etcd_data_dir", ""))),
        must="",
        because="another directory would be measured, saved and replaced than the one that etcd works on",
        hint=f"make the unit or manifest of etcd on {at.name} say where its data lies, or set etcd_data_dir for "
        "this host in the inventory",
    )


FACTS: tuple[type[Fact[Any]], ...] = (EtcdOpened,)
