"""Writers that run as pods: which objects make those pods, how many they ask for, and which pods there are.

A workload is named NAMESPACE/KIND/NAME. Whoever is to have no pods must be asked for none by all that
make some: a ReplicaSet that still asks for two makes two before its Deployment is looked at, a Job goes on
when its CronJob is suspended.
Rule 1: what was asked for before is kept as a label of the object itself, set by the same patch: it outlives a
run that is lost, and `kubectl get … -A -l drrun-was` finds who is at zero. Not as an annotation: a Deployment
gives its annotations to its ReplicaSets, where nobody takes them away (seen).
Sources: kubernetes, pkg/controller/{deployment,replicaset,job,cronjob,daemon}; hazard H9, pitfalls 39 and 43.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator

from drrun.spi import OPAQUE, Alike, Command, Fact, Json, Reply, StepFailed, sh
from drrun_steps.fields import Listed
from drrun_steps.kube.facts import KUBECTL

WORKLOADS = "@kube-workloads"
"""The component: the cluster's workloads, and how many pods each asks for."""
NONE = "none"
"""The word that says that there are none."""
KEPT = "drrun-was"
"""The label that keeps what was asked for."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object that makes pods, by itself or through others."""

    resource: str
    size: str
    """A template of what it asks for: a number, `true` (suspended), `off`."""
    zero: str
    """What it asks for when it makes no pods."""
    through: str = ""
    """The kind of those that it makes, and that make the pods."""
    extra: str = ""
    """A template that tells why it is not to be touched, or that it has ended; empty else."""


_SELECTED = (
    '{{with .spec.template.spec.nodeSelector}}{{if index . "drrun-paused"}}off{{else}}on{{end}}'
    "{{else}}on{{end}}"
)
_ENDED = (
    '{{range .status.conditions}}{{if eq .status "True"}}{{if eq .type "Complete"}}ended{{end}}'
    '{{if eq .type "Failed"}}ended{{end}}{{end}}{{end}}'
)
_LOSES = (
    "{{with .spec.persistentVolumeClaimRetentionPolicy}}"
    '{{if eq .whenScaled "Delete"}}volumes{{end}}{{end}}'
)
KINDS: Mapping[str, Kind] = {
    "Deployment": Kind("deployments.apps", "{{.spec.replicas}}", "0", "ReplicaSet"),
    "StatefulSet": Kind("statefulsets.apps", "{{.spec.replicas}}", "0", extra=_LOSES),
    "DaemonSet": Kind("daemonsets.apps", _SELECTED, "off"),
    "CronJob": Kind(
        "cronjobs.batch", "{{if .spec.suspend}}true{{else}}false{{end}}", "true", "Job"
    ),
}
"""What may be named."""
_THROUGH: Mapping[str, Kind] = {
    "ReplicaSet": Kind("replicasets.apps", "{{.spec.replicas}}", "0"),
    "Job": Kind("jobs.batch", "{{.spec.parallelism}}", "0", extra=_ENDED),
}
_ALL: Mapping[str, Kind] = {**KINDS, **_THROUGH}


def _workload(word: str) -> str:
    """NAMESPACE/KIND/NAME, the kind as the API spells it. Raises ValueError."""
    found = re.fullmatch(r"([a-z0-9-]+)/([A-Za-z]+)/([a-z0-9.-]+)", word)
    kinds = {kind.lower(): kind for kind in KINDS}
    if found is None or found[2].lower() not in kinds:
        raise ValueError(
            f"{word!r} names no workload: say NAMESPACE/KIND/NAME, where KIND is one of {', '.join(KINDS)}"
        )
    return f"{found[1]}/{kinds[found[2].lower()]}/{found[3]}"


def _workloads(words: tuple[str, ...]) -> tuple[str, ...]:
    if words == (NONE,):
        return ()
    return tuple(dict.fromkeys(_workload(word) for word in words))


Workloads = Annotated[Listed, AfterValidator(_workloads)]
"""Workloads as NAMESPACE/KIND/NAME, each once; `none` is an empty list, as an answer."""


def one_list(workloads: Sequence[str]) -> Alike:
    """All steps of a runbook that name workloads name the same ones."""
    names: list[Json] = list(workloads)
    because = "a workload that is paused under one name and resumed under another stays at zero"
    return Alike("workloads that are paused", names, because)


_FAMILY = r"""
row='|{{.metadata.name}}|{{.metadata.uid}}|'\
'{{range .metadata.ownerReferences}}{{if .controller}}{{.uid}}{{end}}{{end}}|'\
'{{with .metadata.labels}}{{with index . "drrun-was"}}{{.}}{{end}}{{end}}|'
going='{{if .metadata.deletionTimestamp}}going{{end}}|'\
'{{with .status}}{{with .phase}}{{if eq . "Succeeded"}}ended{{end}}{{if eq . "Failed"}}ended{{end}}{{end}}{{end}}'
each() { # KIND RESOURCE COLUMNS
  api get "$2" -n "$NS" -o go-template="{{range .items}}$1$row$3{{\"\n\"}}{{end}}"
}
family() {
  mine=$(api get "$RESOURCE" "$NAME" -n "$NS" --ignore-not-found -o go-template="$KIND$row$SIZE") || return 3
  [ -n "$mine" ] || return 0
  between=
  [ -z "$THROUGH" ] || between=$(each "$THROUGH" "$THROUGH_RESOURCE" "$THROUGH_SIZE") || return 3
  pods=$(each Pod pods "$going") || return 3
  printf '%s\n' "$mine" "$between" "$pods" | awk -F'|' -v OFS='|' -v top="$KIND" '
    $1 != top && !($4 in own) || $7 == "ended" { next }
    $1 != "Pod" { own[$3] }
    { print $1, $2, $5, $6, $7 }'
}
"""
"""Rows KIND|NAME|WAS|SIZE|EXTRA: the workload, what it makes, and the pods of these, by owner references.

No action of a template spans two lines: kubectl before 1.21 knows none that do."""


@dataclass(frozen=True, slots=True)
class Maker:
    """An object that asks for pods."""

    kind: str
    name: str
    size: str
    """What it asks for: a number of pods; of a CronJob whether it is suspended, of a DaemonSet `on`, `off`."""
    was: str = ""
    """What it asked for before drrun paused it; empty where it is not paused."""

    @property
    def idle(self) -> bool:
        """Whether it makes no pods."""
        return self.size == _ALL[self.kind].zero


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload with all that makes its pods. Without any maker it is not there."""

    makers: tuple[Maker, ...] = ()
    """Itself first."""
    pods: tuple[str, ...] = ()
    """Those that are not being deleted already."""
    loses: bool = False
    """Whether its volumes would be deleted with its pods."""

    @property
    def idle(self) -> bool:
        """Whether nothing asks for pods, and none is there."""
        return not self.pods and all(maker.idle for maker in self.makers)

    @property
    def paused(self) -> bool:
        """Whether anything of it waits to be put back."""
        return any(maker.was for maker in self.makers)


@dataclass(frozen=True, slots=True)
class KubeWorkload(Fact[Workload]):
    """One workload: who makes its pods, how many each asks for, and which there are."""

    name: ClassVar[str] = "kube.workload"
    workload: str
    kubeconfig: str = "/etc/kubernetes/admin.conf"
    server: str = "https://127.0.0.1:6443"
    tls_name: str = "kubernetes"

    def about(self) -> tuple[str, ...]:
        """The workloads, the API server here, etcd behind it, and whoever makes pods."""
        return (WORKLOADS, "service:kube-apiserver", "@etcd", "@kubelet", OPAQUE)

    def ask(self) -> Command:
        """Three lists at most, of names, owners and sizes."""
        return self.command("rows=$(family) || exit 3\nprintf '%s\\n' \"$rows\"")

    def command(self, text: str, title: str = "", **env: object) -> Command:
        """A script about this workload, in which `family` prints its rows; the title is what screens show."""
        namespace, kind, name = self.workload.split("/")
        made = _THROUGH.get(KINDS[kind].through)
        return sh(
            title + KUBECTL + _FAMILY + text,
            CONFIG=self.kubeconfig,
            SERVER=self.server,
            TLS_NAME=self.tls_name,
            NS=namespace,
            KIND=kind,
            NAME=name,
            RESOURCE=KINDS[kind].resource,
            SIZE=_columns(KINDS[kind]),
            ZERO=KINDS[kind].zero,
            THROUGH=KINDS[kind].through,
            THROUGH_RESOURCE=made.resource if made else "",
            THROUGH_SIZE=_columns(made) if made else "",
            **env,
        )

    def parse(self, reply: Reply) -> Workload:
        """Itself first. Raises StepFailed when the API server does not tell."""
        if reply.exit != 0:
            raise StepFailed(
                f"the API server does not tell of {self.workload}: {reply.complaint[:300]}"
            )
        rows = [line.split("|") for line in reply.text.splitlines() if line]
        return Workload(
            tuple(
                Maker(kind, name, size, was) for kind, name, was, size, _ in rows if kind != "Pod"
            ),
            tuple(name for kind, name, _, going, _ in rows if kind == "Pod" and not going),
            loses=any(extra == "volumes" for *_, extra in rows),
        )


def _columns(kind: Kind) -> str:
    return f"{kind.size}|{kind.extra}"


FACTS: tuple[type[Fact[Any]], ...] = (KubeWorkload,)
