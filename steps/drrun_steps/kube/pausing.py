"""Pause workloads of a restored cluster before anybody else reaches it, and let them go on.

GitOps agents, autoscalers, machine and cloud controllers run as pods: whoever restores them with the
cluster lets them act on a state of another day. They are asked for by name (hazard H9).
Rule 1: behind the point of no return a name that is not there is told, and the restore goes on.
Sources: kubernetes, "Force Delete StatefulSet Pods"; docs/adr/0026-writers-in-pods-are-named.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from drrun.spi import (
    Demand,
    Done,
    Duty,
    Effect,
    Host,
    NotKnown,
    Repeat,
    satisfies,
    step_done,
)
from drrun_steps.kube.api import ApiStep
from drrun_steps.kube.workloads import KEPT, WORKLOADS, KubeWorkload, Workload, Workloads, one_list

_PATCH = r"""
asks() { # KIND SIZE: that size, as the object's spec
  case $1 in
    CronJob) echo "\"suspend\":$2" ;;
    Job) echo "\"parallelism\":$2" ;;
    DaemonSet)
      case $2 in off) only='"yes"' ;; *) only=null ;; esac
      echo "\"template\":{\"spec\":{\"nodeSelector\":{\"drrun-paused\":$only}}}" ;;
    *) echo "\"replicas\":$2" ;;
  esac
}
zero() { case $1 in "$KIND") echo "$ZERO" ;; *) echo 0 ;; esac; }
patch() { # KIND NAME KEPT SIZE
  of=$THROUGH_RESOURCE kept="{\"labels\":{\"$KEPT\":$3}}"
  [ "$1" != "$KIND" ] || of=$RESOURCE
  [ "$1" != ReplicaSet ] || kept={}
  api patch "$of" "$2" -n "$NS" --type=merge \
    -p "{\"metadata\":$kept,\"spec\":{$(asks "$1" "$4")}}" </dev/null
}
rows=$(family) || exit 3
"""
"""A ReplicaSet is told by its Deployment what to ask for: nothing is kept there."""
_PAUSE = r"""
printf '%s\n' "$rows" | while IFS='|' read -r kind name was size extra; do
  case $kind in Pod | '') continue ;; esac
  none=$(zero "$kind")
  [ "$size" = "$none" ] || patch "$kind" "$name" "\"$size\"" "$none" || exit
done || exit
set -- $(printf '%s\n' "$rows" | awk -F'|' '$1 == "Pod" && $4 == "" { print $2 }')
[ $# = 0 ] ||
  api delete pods -n "$NS" --ignore-not-found --grace-period=0 --force --wait=false "$@" </dev/null
"""
"""A finalizer may keep a pod's object: what is being deleted, no kubelet starts."""
_BACK = r"""
printf '%s\n' "$rows" | while IFS='|' read -r kind name was size extra; do
  [ -n "$was" ] || continue
  # What somebody asked for meanwhile stays.
  [ "$size" = "$(zero "$kind")" ] || was=$size
  patch "$kind" "$name" null "$was" || exit
done
"""
_IDLE = satisfies("idle: nothing asks for pods, and none is there", lambda now: now.idle)
_WANTED = satisfies(
    "there, and not idle", lambda now: bool(now.makers) and not now.idle and not now.loses
)
_PAUSED = satisfies("paused by drrun", lambda now: now.paused)
_AS_IT_WAS = satisfies("as it was, and marked no more", lambda now: not now.paused)


class _Pausing(ApiStep):
    """Which workloads."""

    workloads: Workloads = ()
    """Workloads as NAMESPACE/KIND/NAME (Deployment, StatefulSet, DaemonSet, CronJob), or `none`."""

    def rules(self) -> Sequence[Demand]:
        """Not while this runbook has stopped the API server; the same workloads all through a runbook."""
        return [*super().rules(), one_list(self.workloads)]

    def checkable(self) -> bool:
        """Each workload says what it asks for, and what it asked for."""
        return True

    def _facts(self) -> Iterator[tuple[str, KubeWorkload]]:
        for one in self.workloads:
            yield one, KubeWorkload(one, self.kubeconfig, self.server, self.tls_name)

    def _pause(self, host: Host, name: str, fact: KubeWorkload) -> None:
        title = f"# {fact.workload}: ask for no pods, keep what was; delete the pods there are\n"
        host.change(
            name,
            fact.command(_PATCH + _PAUSE, title, KEPT=KEPT, LIMIT=300),
            sets={fact: _IDLE},
            touches=(WORKLOADS, "@kubelet"),
            only_if=(fact, _WANTED),
            within="60s",
            repeat=Repeat.SAFE,
        )

    def _put_back(self, host: Host, name: str, fact: KubeWorkload) -> None:
        title = f"# {fact.workload}: ask for what was asked for before\n"
        host.change(
            name,
            fact.command(_PATCH + _BACK, title, KEPT=KEPT),
            sets={fact: _AS_IT_WAS},
            touches=(WORKLOADS, "@kubelet"),
            only_if=(fact, _PAUSED),
            repeat=Repeat.SAFE,
        )


class PauseWorkloads(_Pausing):
    """Let workloads ask for no pods, and delete the pods that they have, before their kubelets see them.

    Replicas become 0, a CronJob is suspended and its Jobs get no more pods, a DaemonSet fits no Node.
    What was asked for is kept as its label `drrun-was`. Pods are deleted at once, without
    grace: containers of theirs that live on a node end when its kubelet sees that. A workload that is not
    there is told; so is a StatefulSet whose volumes would go with its pods, and it is left alone.
    """

    uses = "kube.workloads.pause"
    effect = Effect.CHANGE
    repeat = Repeat.SAFE

    def rules(self) -> Sequence[Demand]:
        """Who is paused is let go on."""
        because = "a workload that nobody lets go on is at zero for ever"
        on = Duty(step_done("kube.workloads.resume"), "", value=True, because=because)
        return [*super().rules(), on]

    def run(self, host: Host) -> None:
        """Each by itself: what one was is in the journal before it is touched."""
        for one, fact in self._facts():
            found: Any = host.read(fact)
            if isinstance(found, NotKnown):
                host.note(f"what {one} asks for is seen when the API server answers")
            else:
                self._tell(host, one, found)
            self._pause(host, f"pause-{one}", fact)

    def _tell(self, host: Host, one: str, found: Workload) -> None:
        if not found.makers:
            host.note(f"the cluster has no {one}: nobody is paused there")
        elif found.loses and not found.idle:
            host.note(
                f"{one} is not paused: its volumes are deleted with its pods "
                "(persistentVolumeClaimRetentionPolicy.whenScaled)"
            )

    def undo(self, host: Host, done: Done) -> None:
        """Back to what was, where this step changed it."""
        for one, fact in self._facts():
            if done.did(f"pause-{one}", host.name):
                self._put_back(host, f"resume-{one}", fact)


class ResumeWorkloads(_Pausing):
    """Let workloads that drrun paused ask for what they asked for before.

    What somebody asked for meanwhile stays. That their pods come up is nobody's promise.
    """

    uses = "kube.workloads.resume"
    effect = Effect.CHANGE
    repeat = Repeat.SAFE

    def run(self, host: Host) -> None:
        """Each that is marked as paused."""
        for one, fact in self._facts():
            self._put_back(host, f"resume-{one}", fact)

    def undo(self, host: Host, done: Done) -> None:
        """Paused again: the undo of what paused them puts them back."""
        for one, fact in self._facts():
            if done.did(f"resume-{one}", host.name):
                self._pause(host, f"pause-{one}", fact)
