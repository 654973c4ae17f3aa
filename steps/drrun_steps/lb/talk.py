"""How a load balancer is asked and told: haproxy by its runtime API, any other by a command of its own.

`/etc/drrun/balancer`, written by whoever runs the host, counts before haproxy: somebody said so. It is
called as

    balancer drain               take every API server out, end their connections; new ones find nobody
    balancer drained             exit 0: all of them are out; 1: not
    balancer admit [ADDRESS…]    let these in again, all where none is named
    balancer admitted ADDRESS…   exit 0: all of these take clients; 1: not

Rule 1: any other exit says nothing, and nothing is concluded from it.
Rule 2: haproxy keeps what it is told in memory: a reload brings every server back. What rests on a drained
balancer asks again.
Source: haproxy 2.6 management guide 9.3 (`show stat`, `set server`, `shutdown sessions server`).
"""

from __future__ import annotations

OWN = "/etc/drrun/balancer"
SOCKET = "/run/haproxy/admin.sock"
"""Where Debian's haproxy.cfg puts it; it must be of level admin."""

TALK = (
    rf"""
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
own={OWN}
is_own() {{ [ -x "$own" ]; }}
cannot() {{ echo "drrun: $own $1 exits $2, which says nothing" >&2; exit 3; }}
"""
    r"""
say() {
  [ -S "$SOCKET" ] || { echo "no $SOCKET here (stats socket … level admin), and no $own" >&2; exit 4; }
  if command -v socat >/dev/null; then
    printf '%s\n' "$1" | socat -t 10 - "UNIX-CONNECT:$SOCKET"
  elif command -v perl >/dev/null; then
    perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new(Peer => shift) or die "haproxy: $!\n";
      print $s shift, "\n"; $s->flush; print while <$s>' "$SOCKET" "$1"
  elif command -v python3 >/dev/null; then
    python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(sys.argv[2].encode() + b"\n")
while d := s.recv(65536): sys.stdout.buffer.write(d)' "$SOCKET" "$1"
  else
    echo 'neither socat, perl nor python3 here: haproxy cannot be asked' >&2; exit 4
  fi
}
servers() {
  said=$(say 'show stat') || exit
  printf '%s\n' "$said" | awk -F, -v OFS='|' -v port="$PORT" -v backend="$BACKEND" '
    NR == 1 { sub(/^# /, ""); for (i = 1; i <= NF; i++) at[$i] = i; next }
    $at["type"] == 2 && (backend == "" ? $at["addr"] ~ (":" port "$") : $at["pxname"] == backend) {
      where = $at["addr"]; sub(/:[0-9]+$/, "", where); gsub(/[][]/, "", where)
      print $at["pxname"] "/" $at["svname"], where, $at["scur"], $at["status"]
    }'
}
order() {
  told=$(say "$1") || exit
  [ -z "$(printf '%s' "$told" | tr -d '[:space:]')" ] || { echo "haproxy, $1: $told" >&2; exit 3; }
}
"""
)
"""SOCKET, PORT and BACKEND are what a step was given."""

LIST = r"""
if is_own; then echo own; exit 0; fi
servers
"""

DRAINED = r"""
if is_own; then
  "$own" drained </dev/null >/dev/null 2>&1; code=$?
  case $code in 0|1) echo "own $code" ;; *) cannot drained "$code" ;; esac
  exit 0
fi
servers
"""

ADMITTED = r"""
if is_own; then
  "$own" admitted $ADDRESSES </dev/null >/dev/null 2>&1; code=$?
  case $code in 0|1) echo "own $code" ;; *) cannot admitted "$code" ;; esac
  exit 0
fi
servers
"""

DRAIN = r"""
if is_own; then "$own" drain </dev/null; exit; fi
found=$(servers) || exit
printf '%s\n' "$found" | while IFS='|' read -r server where connections state; do
  order "set server $server state maint"
  order "shutdown sessions server $server"
done
"""

ADMIT = r"""
if is_own; then "$own" admit $ADDRESSES </dev/null; exit; fi
found=$(servers) || exit
printf '%s\n' "$found" | while IFS='|' read -r server where connections state; do
  case " $BUT " in *" $server "*) continue ;; esac
  case " $SERVERS $ADDRESSES $NAMES " in
    *" $server "*|*" ${where:--} "*|*" ${server#*/} "*) order "set server $server state ready" ;;
  esac
done
"""
"""By haproxy's own BACKEND/SERVER, by address, or by a server that is called as its host is."""
