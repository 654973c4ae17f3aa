"""What scripts say and do about a service that kubelet runs; each ends the script where that is so.

They follow `pods.POD`, and are followed by what is said and done about a unit.
"""

from __future__ import annotations

from drrun_steps.service.yaml import FLAT

SHOW = (
    FLAT
    + r"""
probe() { # the service's own readiness or liveness probe: SCHEME HOST PORT PATH; nothing where it cannot be asked
  flat "$live" 2>/dev/null | awk -F '\t' -v pod="$POD" '
    { said[$1] = $2 }
    $1 ~ /^spec\.containers\[[0-9]+\]\.name$/ { at = $1; sub(/\.name$/, "", at); if (first == "") first = at; if ($2 == pod) own = at }
    END {
      c = own != "" ? own : first
      p = c ".readinessProbe.httpGet"; if (said[p ".port"] == "") p = c ".livenessProbe.httpGet"
      port = said[p ".port"]
      if (port !~ /^[0-9]+$/) # by the name that the container gives it, as kubeadm does since 1.34
        for (k = 0; (c ".ports[" k "].containerPort") in said; k++)
          if (said[c ".ports[" k "].name"] == port) { port = said[c ".ports[" k "].containerPort"]; break }
      if (port !~ /^[0-9]+$/) exit
      host = said[p ".host"]; if (host == "") host = "127.0.0.1"
      if (host ~ /:/ && host !~ /^\[/) host = "[" host "]"
      print said[p ".scheme"] == "" ? "http" : tolower(said[p ".scheme"]), host, port, said[p ".path"] }'
}
answers() { # whether its probe is answered; without curl, whether anybody listens there
  set -- $(probe)
  [ $# -ge 3 ] || return 0 # what cannot be asked is not said to be wrong: its container runs
  if command -v curl >/dev/null; then
    case $(curl -skg --noproxy '*' -m 3 -o /dev/null -w '%{http_code}' "$1://$2:$3$4") in 2*|3*|401|403) return 0 ;; esac
    return 1
  fi
  grep -qi "^ *[0-9]*: [0-9A-F]*:$(printf '%04X' "$3") [0-9A-F]*:0*0 0A " /proc/net/tcp /proc/net/tcp6 2>/dev/null
}
if is_pod; then
  echo LoadState=loaded
  ids=$(containers)
  if [ -n "$ids" ]; then
    echo "InvocationID=$(printf '%s\n' "$ids" | head -n 1)"
    if answers; then echo ActiveState=active; else echo ActiveState=activating; fi
  elif [ -e "$live" ] && kubelet; then printf 'ActiveState=activating\nSubState=auto-restart\n'
  else printf 'ActiveState=inactive\nSubState=dead\n'; fi
  exit 0
fi
"""
)
"""A static pod in the words of `systemctl show`: what it says of a unit is said of a pod."""

HELD = r"""
if is_pod; then
  [ -e "$away" ] && [ ! -e "$live" ] && printf 'file=yes\nDropInPaths=%s\n' "$FILE"
  exit 0
fi
"""

DEAD_END = r"""
if is_pod; then echo ActiveState=activating; exit 0; fi # kubelet tries for ever
"""

HOLD = r"""
if is_pod; then
  [ ! -e "$live" ] || out || exit 1
  exit 0
fi
"""

LIFT = r"""
if is_pod; then
  [ ! -e "$away" ] || back || exit 1
  exit 0
fi
"""

STOP = r"""
if is_pod; then
  [ ! -e "$live" ] || out || exit 1
  over=$(($(date +%s) + GRACE))
  while [ -n "$(containers)" ]; do
    [ "$(date +%s)" -ge "$over" ] || { sleep 0.2 2>/dev/null || sleep 1; continue; }
    [ -n "$said" ] || { said=yes; echo "$POD did not stop by itself within $GRACE s: ended" >&2; }
    [ "$(date +%s)" -lt $((over + 25)) ] || exit 1
    end 0
  done
  exit 0
fi
"""

START = r"""
if is_pod; then
  [ ! -e "$away" ] || back || exit 1
  another "" || systemctl restart --no-block kubelet
  exit
fi
"""

RESTART = r"""
if is_pod; then
  old=$(containers | tr '\n' ' ')
  end 30
  another "$old" || systemctl restart --no-block kubelet
  exit
fi
"""
