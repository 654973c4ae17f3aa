"""The step that lays static pods ready on a new machine, held: nothing of them starts.

They lie where a stop puts them (ADR 21), so that every later step treats the machine as a host of static
pods whose control plane was stopped. Kubelet gets its settings and starts with the first pod.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from drrun.spi import Demand, Done, Effect, Fact, Host, HostStep, Repeat, Rule, sh, step_done
from drrun_steps.etcd.config import cluster_flag
from drrun_steps.etcd.image import SHOWN
from drrun_steps.etcd.program import EtcdProgram, Program
from drrun_steps.etcd.ruling import config_fact
from drrun_steps.etcd.tools import EtcdTools, Tools
from drrun_steps.kube.archive import bring
from drrun_steps.kube.archived import PODS, SHARED
from drrun_steps.kube.machine import HELD, MANIFESTS
from drrun_steps.kube.plan_pods import PodPlan
from drrun_steps.service.facts import ServiceHeld, ServiceState
from drrun_steps.service.flags import ServiceFlag

_LAY = (
    r"""
# lay the static pods of the archive ready for this host, held, with kubelet's settings
set -eu
umask 077
case $STAGE in /*/"$RUN") ;; *) echo "drrun: $STAGE is no folder of $RUN" >&2; exit 5 ;; esac
[ ! -e "$KEPT/done" ] || exit 0
mkdir -p -m 0700 -- "$KEPT" "$HELD"
if [ ! -e "$KEPT/before" ]; then # what an undo goes back to
  { systemctl -q is-enabled kubelet.service 2>/dev/null && echo enabled
    case $(systemctl show -p ActiveState kubelet.service | sed 's/^ActiveState=//') in active|activating) echo active ;; esac # or tries
    for d in /etc/kubernetes "$MANIFESTS" /var/lib/kubelet; do [ ! -e "$d" ] || echo "there $d"; done
    ls -A /var/lib/kubelet 2>/dev/null | sed 's/^/kubelet /'
    if command -v crictl >/dev/null; then crictl pods -q 2>/dev/null | sed 's/^/pod /'; fi # dead ones of an earlier life
    true; } >"$KEPT/before.new"
  mv -- "$KEPT/before.new" "$KEPT/before"
fi
rm -rf -- "$STAGE/archive"
mkdir -- "$STAGE/archive"
# No key is taken out: this step needs none.
tar -tf "$STAGE/keys.tar" | grep -E '^(\./)?(units|files|kubelet)/.*[^/]$' >"$STAGE/list"
tar -C "$STAGE/archive" -xf "$STAGE/keys.tar" -T "$STAGE/list"
place() { # FROM TO MODE: a file that is there stays as it is
  [ ! -e "$2" ] || { grep -qxF -- "$2" "$KEPT/files" 2>/dev/null || return 0; }
  mkdir -p -m 0755 -- "${2%/*}"
  printf '%s\n' "$2" >>"$KEPT/files"
  cp -- "$1" "$2.drrun-new"; chmod "$3" "$2.drrun-new"; sync "$2.drrun-new"; mv -f -- "$2.drrun-new" "$2"
}
( cd "$STAGE/archive/files" 2>/dev/null && find . -type f | sed 's/^\.//' ) >"$STAGE/list" || :
while read -r f; do place "$STAGE/archive/files$f" "$f" 0600; done <"$STAGE/list"
own() { # VALUE's host and address, wherever its files say those of the host of before
  awk -v pod="$1" '
    function swap(text, old, new,  at, left, before, after) {
      left = ""
      while (at = index(text, old)) {
        before = at > 1 ? substr(text, at - 1, 1) : ""; after = substr(text, at + length(old), 1)
        left = left substr(text, 1, at - 1) (before ~ /[0-9A-Fa-f.:]/ || after ~ /[0-9A-Fa-f.]/ ? old : new)
        text = substr(text, at + length(old)) }
      return left text }
    function ours(text,  i, v6) {
      for (i = 1; i <= olds; i++) {
        v6 = old[i] ~ /:/
        text = swap(text, v6 ? "[" old[i] "]" : old[i], ENVIRON["ADDRESS"] ~ /:/ ? "[" ENVIRON["ADDRESS"] "]" : ENVIRON["ADDRESS"])
        if (v6) text = swap(text, old[i], ENVIRON["ADDRESS"]) }
      return text }
    BEGIN {
      olds = split(ENVIRON["OLD"], old, " "); n = split(ENVIRON["SETTINGS"], line, "\n")
      for (i = 1; i <= n; i++) { at = index(line[i], " "); eq = index(line[i], "=")
        if (at && substr(line[i], 1, at - 1) == pod) said[substr(line[i], at + 1, eq - at - 1)] = substr(line[i], eq + 1) } }
    pod == "kubelet" { gsub("--hostname-override=" ENVIRON["OLD_NODE"], "--hostname-override=" ENVIRON["NODE"])
      if (/--node-ip=/) $0 = ours($0); print; next }
    match($0, /^ *- --[a-z0-9-]+=/) { flag = substr($0, 1, RLENGTH); sub(/^ *- --/, "", flag); sub(/=$/, "", flag)
      if (flag in said) { print substr($0, 1, RLENGTH) said[flag]; next } }
    /^ *kubeadm\.kubernetes\.io\/[^:]*: / || /^ *host: / { $0 = ours($0) }
    { print }'
}
for f in config.yaml kubeadm-flags.env; do
  from=$STAGE/archive/kubelet/$f
  [ -r "$from" ] || continue
  own kubelet <"$from" >"$from.own"
  place "$from.own" "/var/lib/kubelet/$f" 0644
done
if [ -n "$TAKE" ]; then
  ( """
    + SHOWN
    + r"""
    for t in etcdctl etcdutl; do
      for d in usr/local/bin usr/bin; do [ ! -x "$shown/$d/$t" ] || { cp -- "$shown/$d/$t" "$STAGE/$t"; break; }; done
    done )
  for t in etcdctl etcdutl; do [ ! -e "$STAGE/$t" ] || place "$STAGE/$t" "/var/lib/drrun/tools/$t" 0700; done
fi
for pod in $PODS; do
  for from in "$STAGE/archive/units/etc/kubernetes/manifests/$pod.yaml" "$STAGE/archive/units/var/lib/drrun/stopped/$pod.yaml"; do
    [ -r "$from" ] || continue
    own "$pod" <"$from" >"$from.own"
    place "$from.own" "$HELD/$pod.yaml" 0600
    break
  done
done
[ -d "$MANIFESTS" ] || mkdir -p -m 0755 -- "${MANIFESTS%/*}"
[ -d "$MANIFESTS" ] || mkdir -m 0700 -- "$MANIFESTS"
systemctl -q is-enabled kubelet.service 2>/dev/null || systemctl enable kubelet.service
sync -f "$HELD" 2>/dev/null || sync
: >"$KEPT/done"
rm -rf -- "$STAGE"
"""
)

_TAKE_AWAY = r"""
# take the static pods away that this run laid, and bring kubelet back to what it was
set -eu
case $STAGE in /*/"$RUN") ;; *) echo "drrun: $STAGE is no folder of $RUN" >&2; exit 5 ;; esac
rm -rf -- "$STAGE"
[ -e "$KEPT/before" ] || { rm -rf -- "$KEPT"; exit 0; }
for pod in $PODS; do
  [ ! -e "$MANIFESTS/$pod.yaml" ] || { echo "drrun: $MANIFESTS/$pod.yaml is there: $pod was not stopped" >&2; exit 6; }
done
was() { grep -qxF -- "$1" "$KEPT/before"; }
systemctl stop kubelet.service 2>/dev/null || :
systemctl reset-failed kubelet.service 2>/dev/null || :
if command -v crictl >/dev/null; then # no pod ran here before; what one of an earlier life left is not ours
  for id in $(crictl pods -q); do
    was "pod $id" && continue
    crictl stopp "$id" >/dev/null 2>&1 || :
    crictl rmp "$id" >/dev/null 2>&1 || :
  done
fi
was enabled || systemctl disable kubelet.service
[ ! -e "$KEPT/files" ] || while read -r f; do rm -f -- "$f" "$f.drrun-new"; done <"$KEPT/files"
for f in $(ls -A /var/lib/kubelet 2>/dev/null); do # what kubelet made for itself
  was "kubelet $f" && continue
  awk -v d="/var/lib/kubelet/$f" 'index($5, d) == 1 { print $5 }' /proc/self/mountinfo | sort -r | while read -r m; do umount "$m"; done
  rm -rf --one-file-system -- "/var/lib/kubelet/$f"
done
for d in /var/lib/kubelet "$MANIFESTS" /etc/kubernetes; do was "there $d" || rmdir -- "$d" 2>/dev/null || :; done
! was active || systemctl start --no-block kubelet.service
rm -rf -- "$KEPT"
"""


class LayPods(HostStep):
    """Lay the static pods of a control plane ready on a new machine, held, so that none of them starts.

    Manifests are the archive's, with this host's name and addresses, and lie in /var/lib/drrun/stopped,
    where a start takes them from. Kubelet gets the settings of before and is enabled; the first start of a
    pod starts it. Without tools of etcd on the host, those of etcd's image are put into /var/lib/drrun/tools.
    A file that is there already is left as it is. Undo takes all of it away, with what kubelet made.
    """

    uses = "kube.static_pods.lay"
    effect = Effect.CHANGE
    repeat = Repeat.SAFE

    archive: str
    """The archive on the controller, proved by kube.keys.verify."""
    pods: Mapping[str, PodPlan]
    """Host -> its pods, from kube.static_pods.plan; hosts that are not in it are left alone."""
    stage_dir: str = "/var/lib/drrun-pods"
    """Root-only folder on the host for the archive, which is removed when the pods are laid."""

    def rules(self) -> Sequence[Demand]:
        """After the machine was looked at: one that is not new has pods of its own."""
        because = "manifests for a machine that nobody looked at start beside what is there"
        return [Rule(step_done("kube.static_pods.plan"), "", value=True, because=because)]

    def run(self, host: Host) -> None:
        """Copy, derive, hold."""
        if host.name not in self.pods:
            return
        plan = self.pods[host.name]
        stage = self._stage(host)
        bring(host, self.archive, stage)
        host.change(
            "lay",
            sh(
                _LAY,
                **self._places(host),
                ADDRESS=plan.address,
                OLD=" ".join(plan.old),
                NODE=plan.node,
                OLD_NODE=plan.old_node,
                IMAGE=plan.image,
                TAKE=plan.tool,
                SETTINGS="\n".join(_lines(plan)),
            ),
            sets=_meant(host, plan),
            touches=(f"file:{stage}/keys.tar",),
            repeat=Repeat.SAFE,
            timeout="2m",
        )

    def undo(self, host: Host, done: Done) -> None:
        """Take it away; refused by the host itself while a manifest is where kubelet looks."""
        if done.did("make-folder", host.name):
            host.change(
                "take-away",
                sh(_TAKE_AWAY, **self._places(host)),
                touches=(f"file:{self._stage(host)}/keys.tar", "unit:etcd", "programs"),
                repeat=Repeat.SAFE,
                timeout="2m",
            )

    def _places(self, host: Host) -> Mapping[str, str]:
        return {
            "RUN": host.run,
            "STAGE": self._stage(host),
            "KEPT": f"/var/lib/drrun/laid-{host.run}",
            "HELD": HELD,
            "MANIFESTS": MANIFESTS,
            "PODS": " ".join(PODS),
        }

    def _stage(self, host: Host) -> str:
        return f"{self.stage_dir}/{host.run}"


def _lines(plan: PodPlan) -> list[str]:
    return [
        f"{pod} {f}={value}" for pod, flags in plan.settings.items() for f, value in flags.items()
    ]


def _meant(host: Host, plan: PodPlan) -> Mapping[Fact[Any], Any]:
    """What every later step will read of this host."""
    meant: dict[Fact[Any], Any] = {
        config_fact(host, "etcd"): plan.config,
        EtcdProgram(): Program("pod", plan.image),
        cluster_flag("etcd"): (plan.config.initial_cluster,),
    }
    if plan.tool:
        meant[EtcdTools()] = Tools(plan.tool, bool(plan.bump), plan.version)
    for pod in PODS:
        meant[ServiceState(pod)] = "stopped"
        meant[ServiceHeld(pod)] = True
    server = plan.settings["kube-apiserver"]
    for flag in SHARED["kube-apiserver"]:
        value = server.get(flag)
        meant[ServiceFlag("kube-apiserver", flag)] = () if value is None else (value,)
    return meant
