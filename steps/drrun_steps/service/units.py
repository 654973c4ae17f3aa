"""Units of systemd: their names, the file that holds one, and the questions about one.

The questions are asked of the host's own command first (`own`), then of a static pod (`kubelet`),
which answer in the same words.
"""

from __future__ import annotations

from drrun.spi import Reply
from drrun_steps.service import kubelet, own, pods

SHOW = (
    pods.POD
    + own.SHOW
    + kubelet.SHOW
    + """
systemctl show -p LoadState,ActiveState,SubState,MainPID,InvocationID "$UNIT" || exit 3
group=$(systemctl show -p ControlGroup "$UNIT" | sed 's/^ControlGroup=//')
[ -n "$group" ] || exit 0
for root in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
  for list in "$root$group/cgroup.procs" "$root$group"/*/cgroup.procs; do
    [ -r "$list" ] && sed 's/^/process=/' "$list" 2>/dev/null
  done
done
true
"""
)
STEADY = (
    pods.POD
    + own.SHOW
    + kubelet.SHOW
    + """
life() { systemctl show -p LoadState,ActiveState,SubState,MainPID,InvocationID "$UNIT"; }
first=$(life) || exit 3
printf '%s\\n' "$first"
case $first in *ActiveState=active*) ;; *) exit 0 ;; esac
case $(systemctl show -p Type "$UNIT") in *=simple | *=exec | *=forking | *=idle) ;; *) exit 0 ;; esac
sleep 5
[ "$(life)" = "$first" ] || echo life=another
"""
)
"""`SHOW`'s first lines; where only systemd says that it is up, `life=another` when it did not stay so for 5 s."""
HELD = (
    pods.POD
    + own.HELD
    + kubelet.HELD
    + '[ -e "$FILE" ] && echo file=yes; systemctl show -p DropInPaths "$UNIT"'
)


def unit(service: str) -> str:
    """The unit's name: `etcd` means etcd.service, `etcd.socket` stays."""
    return service if "." in service else f"{service}.service"


def hold_file(service: str) -> str:
    """The drop-in that holds a service stopped. First by name, so that others cannot undo it."""
    return f"/etc/systemd/system/{unit(service)}.d/00-drrun-hold.conf"


def properties(reply: Reply) -> dict[str, str]:
    """What `systemctl show` printed. Raises ValueError when systemd does not answer."""
    if reply.exit != 0:
        raise ValueError(f"systemctl says {reply.complaint!r}: is this host run by systemd?")
    pairs = (line.partition("=") for line in reply.text.splitlines())
    return {name: value for name, _, value in pairs}
