"""Services that are static pods: kubelet runs what has a manifest in its folder.

A manifest is moved out to stop, and back to start. What a host says decides which kind a service
is: one with a manifest, in the folder or moved out by us, is a static pod; all others are units.
`etcd.service`, with the suffix, is always the unit.
Rule 1: stopped means that the container runtime lists no running container of that name; where the
runtime does not answer, that no process runs the program.
Rule 2: kubelet is restarted when a manifest that was put back is not acted on at once: it remembers
a crash loop of minutes even for a manifest that was away (seen: 157 s against 8 s).
Rule 3: a file in the manifests folder is a pod. Copies go elsewhere, drafts begin with a dot, which
kubelet does not read.
"""

from __future__ import annotations

from drrun_steps.service.own import OWN

FOLDER = r"""
pods=
for f in /var/lib/kubelet/config.yaml /var/lib/kubelet/config.d/*.conf; do # drop-ins count later, in the order of their names
  said=$(sed -n 's/^staticPodPath:[[:space:]]*//p' "$f" 2>/dev/null | sed 's/[[:space:]]#.*$//' | tr -d "\"'\r")
  [ -z "$said" ] || pods=${said%/}
done
pods=${pods:-/etc/kubernetes/manifests}
"""
"""Kubelet's folder of manifests. kubernetes.io, "Kubelet configuration directory" (--config-dir)."""

POD = (
    OWN
    + r"""
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/bin; export PATH
"""
    + FOLDER
    + r"""
kept=/var/lib/drrun/stopped
case $UNIT in *.service) POD=${UNIT%.service} ;; *) POD=- ;; esac
[ -z "$EXACT" ] || POD=-
live=$pods/$POD.yaml; away=$kept/$POD.yaml
is_pod() { [ -e "$live" ] || [ -e "$away" ]; }
cri() { # the running containers of that name; fails when the runtime does not answer
  if command -v crictl >/dev/null; then
    timeout 20 crictl ps -q --name "^$POD\$" --state Running
  else
    up=$(timeout 20 ctr -n k8s.io tasks ls) || return 1
    timeout 20 ctr -n k8s.io containers ls -q \
      "labels.\"io.kubernetes.container.name\"==$POD,labels.\"io.cri-containerd.kind\"==container" |
      while read -r id; do
        printf '%s\n' "$up" | grep -q "^$id .*RUNNING" && echo "$id"
      done
    true
  fi
}
containers() {
  cri 2>/dev/null || ls -l /proc/[0-9]*/exe 2>/dev/null |
    sed -n "s|.*/proc/\([0-9]*\)/exe -> .*/$POD\( (deleted)\)\{0,1\}\$|pid-\1|p"
}
end() { # SECONDS: stop its containers
  for id in $(containers); do
    case $id in
      pid-*) kill -KILL "${id#pid-}" ;;
      *) if command -v crictl >/dev/null; then crictl stop -t "$1" "$id"
        else ctr -n k8s.io tasks kill -s KILL "$id"; fi ;;
    esac >/dev/null 2>&1
  done
}
kubelet() { systemctl -q is-active kubelet 2>/dev/null; }
out() { # move the manifest to where kubelet does not look; a whole one is always somewhere, on a full disk too
  mkdir -p -m 700 -- "$kept" && cp -p -- "$live" "$away.new" && sync "$away.new" &&
    mv -f -- "$away.new" "$away" && sync "$kept" && rm -f -- "$live" && sync "$pods" && return
  rm -f -- "$away.new"
  return 1
}
back() {
  cp -p -- "$away" "$pods/.$POD.yaml.new" && sync "$pods/.$POD.yaml.new" &&
    mv -f -- "$pods/.$POD.yaml.new" "$live" && sync "$pods" && rm -f -- "$away" && sync "$kept" && return
  rm -f -- "$pods/.$POD.yaml.new"
  return 1
}
another() { # OLD: wait a moment for a container that is not one of those; kubelet is quick or slow
  for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do
    for id in $(containers); do
      case " $1 " in *" $id "*) ;; *) return 0 ;; esac
    done
    sleep 0.25 2>/dev/null || sleep 1
  done
  return 1
}
"""
)
"""What all scripts about a service begin with. UNIT is its unit; EXACT is set where only that may be meant."""


def script(title: str, *kinds: str) -> str:
    """A script about a service of any kind: each of `kinds` ends it where the service is of that kind."""
    return "".join((f"# {title}\n", POD, *kinds))


def named(service: str) -> dict[str, str]:
    """The variables of `POD` for a service."""
    plain = "." not in service
    return {"UNIT": f"{service}.service" if plain else service, "EXACT": "" if plain else "yes"}
