"""The step that takes a dead member's data out of the way, and keeps it."""

from __future__ import annotations

from collections.abc import Sequence

from drrun.spi import Demand, Done, Effect, Host, HostStep, Repeat, Rule, satisfies, sh
from drrun_steps.etcd.ruling import config_fact, data_fact
from drrun_steps.etcd.turns import saved_before
from drrun_steps.service.facts import ServiceState

ASIDE = r"""
# set the data directory aside, leave an empty one of the same owner
set -eu
aside() { # directory: by rename; a mount point keeps its place, and its content moves within
  [ -n "$1" ] && [ -e "$1" ] || return 0
  real=$(readlink -f -- "$1")
  ls -l /proc/[0-9]*/fd 2>/dev/null | grep -q -F -e "-> $real/" && {
    echo "drrun: a process has files in $real open" >&2; exit 6; }
  if [ "$MOUNT" = yes ]; then
    mkdir -p -- "$1/lost+found"
    [ ! -e "$1/member" ] || mv -T -- "$1/member" "$1/lost+found/member.old-$RUN"
  else
    [ ! -e "$1.old-$RUN" ] || { [ ! -e "$1/member" ] && return 0; echo "drrun: both $1 and $1.old-$RUN hold data" >&2; exit 8; }
    mv -T -- "$1" "$1.old-$RUN"
    mkdir -m 0700 -- "$1"
    chown --reference="$1.old-$RUN" -- "$1"
  fi
}
DIR=$(readlink -f -- "$DIR" || printf '%s' "$DIR") # a link stays, what it names is set aside
[ -z "$WAL" ] || WAL=$(readlink -f -- "$WAL" || printf '%s' "$WAL")
if [ -n "$WAL" ] && awk -v d="$WAL" '$5 == d { found = 1 } END { exit !found }' /proc/self/mountinfo; then
  mkdir -p -m 0700 -- "$WAL/old-$RUN" # before the data: a cut is repeated while there is data
  for f in "$WAL"/*.wal "$WAL"/*.tmp "$WAL"/*.broken; do [ ! -f "$f" ] || mv -- "$f" "$WAL/old-$RUN/"; done
  WAL=
fi
aside "$DIR"
case $WAL in ''|"$DIR"/*) ;; *) MOUNT=no aside "$WAL"; rmdir -- "$WAL" 2>/dev/null || true ;; esac
sync -f "${DIR%/*}" 2>/dev/null || sync
"""

_NOTHING = {"missing", "empty"}


class Aside(HostStep):
    """Set a stopped member's data directory aside, by rename, under a name with the run in it.

    Nothing is removed. An empty directory of the same owner takes its place, so that a new member
    can start there. A directory that is missing or empty is left as it is.
    """

    uses = "etcd.data.aside"
    effect = Effect.DESTROY
    repeat = Repeat.SAFE

    service: str = "etcd"
    """etcd's unit."""

    def rules(self) -> Sequence[Demand]:
        """Stopped here, and saved elsewhere."""
        because = "data that is moved under a running etcd is lost, and so is the etcd"
        state = ServiceState(self.service).ref
        return [Rule(state, "", "stopped", because, live=False), saved_before("*")]

    def run(self, host: Host) -> None:
        """One rename, where there is something."""
        host.require(
            ServiceState(self.service),
            satisfies("stopped", lambda state: state != "running"),
            because="data must not be moved under a running etcd",
            hint="stop it with service.stop, which holds it",
        )
        fact = data_fact(host, self.service)
        config = host.read(config_fact(host, self.service))
        host.change(
            "set-aside",
            sh(
                ASIDE,
                DIR=config.data_dir,
                WAL=config.wal_dir,
                MOUNT="yes" if config.mount else "no",
                RUN=host.run,
            ),
            sets={fact: satisfies("empty", lambda now: now.state in _NOTHING)},
            only_if=(
                fact,
                satisfies("neither missing nor empty", lambda now: now.state not in _NOTHING),
            ),
            repeat=Repeat.SAFE,
        )
        inside = f"/lost+found/member.old-{host.run}" if config.mount else f".old-{host.run}"
        host.note(f"the old data, where there is any, is kept in {config.data_dir}{inside}")

    def undo(self, host: Host, done: Done) -> None:
        """Refused: a member that was removed must not come back on its old data."""
        if done.did("set-aside", host.name):
            host.note(
                f"{host.name}: the old data stays aside: a removed member that starts on it "
                "crashes or divides the cluster"
            )
