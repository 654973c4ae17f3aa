"""Services that neither systemd nor kubelet runs: a command on the host stops and starts each.

`/etc/drrun/services/NAME`, written by whoever runs the host, says and does in the words of LSB's
init scripts what drrun otherwise asks systemd or kubelet for. Where it is there it counts, before
manifests and units: somebody said so. It is called as

    NAME status    exit 0: runs, and its first line tells this life from others (a pid);
                   150: runs, but is not ready yet; 1, 2 or 3: stopped
    NAME start | stop | restart
    NAME hold      no start may succeed any more, after a reboot neither, until
    NAME lift
    NAME held      exit 0: held; 1: not held
    NAME settings  the words it is started with and the variables that it is given, one a line

Rule 1: any other exit says nothing, and nothing is concluded from it.
Source: design.md 8 (layout `commands`); LSB 5.0, 22.2 (init script actions and exits; 150 to 199 are an application's own).
"""

from __future__ import annotations

FOLDER = "/etc/drrun/services"

OWN = rf"""
own_way={FOLDER}/${{UNIT%.service}}
case $UNIT in *.service) ;; *) own_way=/nonexistent ;; esac
[ -z "$EXACT" ] || own_way=/nonexistent
is_own() {{ [ -x "$own_way" ]; }}
cannot() {{ echo "drrun: $own_way $1 exits $2, which says nothing" >&2; exit 3; }}
"""
"""Whether a service has a command of its own. UNIT and EXACT as in `pods.POD`."""

SHOW = r"""
if is_own; then
  said=$("$own_way" status </dev/null 2>/dev/null); code=$?
  case $code in
    0) state=active ;; 150) state=activating ;; 1|2|3) state=inactive ;; *) cannot status "$code" ;;
  esac
  printf 'LoadState=loaded\nActiveState=%s\nSubState=%s\n' "$state" "$state"
  [ "$state" = inactive ] || printf 'InvocationID=%s\n' "$(printf '%s\n' "$said" | head -n 1)"
  exit 0
fi
"""
"""In the words of `systemctl show`: what it says of a unit is said of the command's service."""

HELD = r"""
if is_own; then
  "$own_way" held </dev/null >/dev/null 2>&1; code=$?
  case $code in 0) printf 'file=yes\nDropInPaths=%s\n' "$FILE" ;; 1) ;; *) cannot held "$code" ;; esac
  exit 0
fi
"""

DEAD_END = r"""
if is_own; then echo ActiveState=activating; exit 0; fi # whether it will be tried again is not known
"""

HOLD, LIFT, START, RESTART = (
    f'\nif is_own; then "$own_way" {verb} </dev/null; exit; fi\n'
    for verb in ("hold", "lift", "start", "restart")
)

STOP = r"""
if is_own; then timeout -k 5 "$((GRACE + 20))" "$own_way" stop </dev/null; exit; fi
"""
