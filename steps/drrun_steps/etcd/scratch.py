"""An etcd of its own on loopback, for as long as a script needs it: to replay, to look, to count.

Rule 1: it is started from a copy, in a root-only folder, with flags alone: no environment, no
settings file, no port of the member here.
Rule 2: it ends with the script, and by itself after $LIVES seconds whatever becomes of that.
Rule 3: it asks for the member's own certificates: what a Secret holds is served to root only.
"""

from __future__ import annotations

from drrun_steps.etcd.access import CLIENT
from drrun_steps.etcd.tools import OFFLINE

SCRATCH = (
    CLIENT
    + OFFLINE
    + r"""
set -eu
umask 077
command -v etcd >/dev/null || { echo 'drrun: no etcd on this host' >&2; exit 127; }
case $FOLDER in /*/drrun-"$RUN") ;; *) echo "drrun: $FOLDER is no scratch folder of $RUN" >&2; exit 5;; esac
kind=http
pcrt=$(setting peer-cert-file); pkey=$(setting peer-key-file); pca=$(setting peer-trusted-ca-file)
if [ -n "$crt" ]; then kind=https; fi
at=$kind://127.0.0.1:$CLIENT_PORT
peer=http://127.0.0.1:$PEER_PORT
if [ -n "$pcrt" ]; then peer=https://127.0.0.1:$PEER_PORT; fi
life=
ended() { # end it and wait: nobody may find an etcd here that drrun started
  if [ -n "$life" ]; then kill "$life" 2>/dev/null || true; wait "$life" 2>/dev/null || true; life=; fi
}
cleared() { ended; rm -rf -- "$FOLDER/data"; }
trap 'cleared; exit 130' HUP INT TERM
trap cleared EXIT
room() { # BYTES that a scratch copy needs beside 256 MiB to spare
  free=$(df -P -k -- "$FOLDER" | awk 'END { print $(NF - 2) }')
  [ "$((free * 1024))" -gt "$(($1 + 268435456))" ] || {
    echo "drrun: $FOLDER has $((free / 1024)) MiB free, a scratch copy needs $((($1 + 268435456) / 1048576))" >&2; exit 7; }
}
boot() { # WORDS...: start etcd on $FOLDER/data and wait until it answers a linearizable read
  # A port that somebody has already would answer for us.
  for port in "$CLIENT_PORT" "$PEER_PORT"; do
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v end="$(printf ':%04X' "$port")" '
      $4 == "0A" && substr($2, length($2) - 4) == end { found = 1 } END { exit !found }' || continue
    echo "drrun: port $port is taken" >&2; exit 8
  done
  env -i PATH="$PATH" timeout -k 5 "$LIVES" etcd --data-dir "$FOLDER/data" --name "$NAME" \
    --listen-client-urls "$at" --advertise-client-urls "$at" --listen-peer-urls "$peer" \
    --log-outputs stderr --logger zap --quota-backend-bytes 8589934592 \
    ${ca:+--trusted-ca-file="$ca" --client-cert-auth} ${crt:+--cert-file="$crt"} ${key:+--key-file="$key"} \
    ${pca:+--peer-trusted-ca-file="$pca" --peer-client-cert-auth} \
    ${pcrt:+--peer-cert-file="$pcrt"} ${pkey:+--peer-key-file="$pkey"} "$@" >"$FOLDER/etcd.log" 2>&1 &
  life=$!
  until ctl --endpoints="$at" --command-timeout=2s get drrun/scratch --keys-only >/dev/null 2>&1; do
    kill -0 "$life" 2>/dev/null || { tail -n 3 "$FOLDER/etcd.log" >&2; echo 'drrun: etcd ended' >&2; exit 9; }
    sleep 0.2 2>/dev/null || sleep 1
  done
}
"""
)
"""Needs FOLDER, RUN, NAME, CLIENT_PORT, PEER_PORT, LIVES beside what the member's settings say."""
