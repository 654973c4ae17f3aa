"""A stand-in for crictl, in bash over ctr and jq: cri-tools is in no Debian release.

It has what kubeadm 1.20 calls (info, pods -q, stopp, rmp, pull, inspecti) and what a recovery uses
(ps, stop, rm, logs, exec, images), with crictl's own words and output where they are read.
"""

from __future__ import annotations

SCRIPT = r"""#!/bin/bash
# crictl for the lab: the sub-commands that kubeadm and a recovery use, over ctr
N="ctr -n k8s.io"; quiet= all= name= state= limit=10 tail=+1
while [[ ${1:-} == -* ]]; do
  case $1 in
    -r|-i|--runtime-endpoint|--image-endpoint|-t|--timeout|-c|--config) shift 2 ;;
    *) shift ;;
  esac
done
cmd=${1:-}; shift || true; args=()
while [ $# -gt 0 ]; do
  case $1 in
    -q|--quiet) quiet=1 ;;
    -a|--all) all=1 ;;
    -aq|-qa) quiet=1 all=1 ;;
    --name) name=$2; shift ;;
    --name=*) name=${1#*=} ;;
    --state|-s) state=${2,,}; shift ;;
    --state=*) state=${1#*=}; state=${state,,} ;;
    -t|--timeout) limit=$2; shift ;;
    --tail) tail=$2; shift ;;
    --tail=*) tail=${1#*=} ;;
    -f|--force) ;;
    --) shift; args+=("$@"); break ;;
    *) args+=("$1"); [ "$cmd" = exec ] && { shift; args+=("$@"); break; } ;;
  esac
  shift
done

list() { # KIND LABEL: id, name, pod, state, created, namespace and uid of each, newest first
  local tasks id now; tasks=$($N tasks ls 2>/dev/null | awk 'NR > 1 { print $1, $3 }')
  for id in $($N containers ls -q "labels.\"io.cri-containerd.kind\"==$1"); do
    now=$(awk -v i="$id" '$1 == i { print $2 }' <<<"$tasks")
    [ "$now" = RUNNING ] && now=running || now=exited
    $N containers info "$id" | jq -r --arg s $now --arg k "$2" '
      [.ID, (.Labels[$k] // "-"), .Labels["io.kubernetes.pod.name"], $s, .CreatedAt[:19],
       .Labels["io.kubernetes.pod.namespace"], .Labels["io.kubernetes.pod.uid"]] | join(" ")'
  done | sort -k5 -r
}
quick() { # ids of the running containers of a name: two calls, whatever else there is
  local tasks; tasks=$($N tasks ls | awk '$3 == "RUNNING" { print $1 }')
  [ -n "$tasks" ] || return
  $N containers ls -q "labels.\"io.cri-containerd.kind\"==container,labels.\"io.kubernetes.container.name\"~=$name" |
    grep -xF -- "$tasks"
}
full() { $N containers ls -q | grep "^$1" | head -1; }
runs() { $N tasks ls | awk -v i="$1" '$1 == i && $3 == "RUNNING" { f = 1 } END { exit !f }'; }
end() { # ID SECONDS: TERM, and KILL when they are over
  local id; id=$(full "$1"); [ -n "$id" ] || { echo "no such container: $1" >&2; return 1; }
  $N tasks kill -s TERM "$id" 2>/dev/null
  for _ in $(seq $(($2 * 10))); do runs "$id" || break; sleep 0.1; done
  $N tasks kill -s KILL "$id" 2>/dev/null; echo "$id"
}
wanted() { # NAME STATE: whether --name and --state want it
  [ -n "$name" ] && ! grep -qE -- "$name" <<<"$1" && return 1
  [ -z "$state" ] || [ "$2" = "$state" ]
}
case $cmd in
  info) ctr version >/dev/null && echo '{"status":{}}' ;;
  version) ctr version ;;
  images) $N images ls | awk '{ print $1, $3, $4, $5 }' | grep -v '^sha256' ;;
  inspecti) $N images ls -q "name==${args[0]}" | grep -qxF -- "${args[0]}" ;;
  pull) $N images pull "${args[0]}" ;;
  ps)
    if [ "$quiet" ] && [ "$name" ] && [ "${state:-running}$all" = running ]; then quick; exit 0; fi
    list container io.kubernetes.container.name | while read -r id n p s c _; do
      wanted "$n" "$s" || continue
      [ -z "$all$state" ] && [ "$s" != running ] && continue
      [ "$quiet" ] && echo "$id" || echo "${id:0:13} $c $s $n $p"
    done; true ;;
  pods) list sandbox io.kubernetes.pod.name | while read -r id n _ s c _; do
      [ "$s" = running ] && s=ready || s=notready
      wanted "$n" "$s" || continue
      [ "$quiet" ] && echo "$id" || echo "${id:0:13} $c $s $n"
    done; true ;;
  stop) for i in "${args[@]}"; do end "$i" "$limit"; done ;;
  stopp) for i in "${args[@]}"; do end "$i" 2; done ;;
  rm|rmp) for i in "${args[@]}"; do
      id=$(full "$i"); $N tasks rm -f "$id" 2>/dev/null; $N containers rm "$id"
    done ;;
  logs) read -r id n p s c ns uid < <(list container io.kubernetes.container.name | grep "^${args[0]}")
    tail -n "$tail" "$(ls -t /var/log/pods/"${ns}_${p}_$uid/$n"/*.log | head -1)" ;;
  exec) $N tasks exec --exec-id "x$RANDOM" "$(full "${args[0]}")" "${args[@]:1}" ;;
  *) echo "crictl stand-in: unknown command $cmd" >&2; exit 1 ;;
esac
"""
