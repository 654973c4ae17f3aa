"""What scripts say and do about a service that kubelet runs; each ends the script where that is so.

They follow `pods.POD`, and are followed by what is said and done about a unit.
"""

from __future__ import annotations

SHOW = r"""
probe() { # its own readiness or liveness probe: SCHEME HOST PORT PATH
  awk '
    { n = match($0, /[^ ]/); if (kind != "" && n <= depth) kind = "" }
    /^ *(liveness|readiness)Probe:/ { kind = $1; depth = n; next }
    kind != "" && $1 ~ /^(host|path|port|scheme):$/ { said[kind, $1] = $2; there[kind] = 1 }
    END { k = "readinessProbe:"; if (!there[k]) k = "livenessProbe:"
      if (!said[k, "port:"]) exit
      print said[k, "scheme:"] ? said[k, "scheme:"] : "HTTP", said[k, "host:"] ? said[k, "host:"] : "127.0.0.1", \
        said[k, "port:"], said[k, "path:"] }' "$1"
}
answers() { # whether its probe is answered; without curl, whether anybody listens there
  set -- $(probe "$live" 2>/dev/null)
  [ $# -ge 3 ] || return 0
  if command -v curl >/dev/null; then
    case $(curl -sk --noproxy '*' -m 3 -o /dev/null -w '%{http_code}' \
      "$(printf '%s' "$1" | tr A-Z a-z)://$2:$3$4") in 2*|3*|401|403) return 0 ;; esac
    return 1
  fi
  grep -qi "^ *[0-9]*: [0-9A-F]*:$(printf '%04X' "$3") [0-9A-F]*:0000 0A " /proc/net/tcp /proc/net/tcp6 2>/dev/null
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
  [ ! -e "$live" ] || out
  exit 0
fi
"""

LIFT = r"""
if is_pod; then
  [ ! -e "$away" ] || back
  exit 0
fi
"""

STOP = r"""
if is_pod; then
  [ ! -e "$live" ] || out
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
  [ ! -e "$away" ] || back
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
