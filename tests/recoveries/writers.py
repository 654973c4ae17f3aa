"""Workloads that write into a cluster, made for a rehearsal, and what is seen of them while it is restored."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from drrun_lab import Lab, rehearsal
from drrun_lab.waiting import until

SPACE = "writers"
NAMED = ("Deployment/agent", "StatefulSet/scaler", "CronJob/save")
WORKLOADS = ",".join(f"{SPACE}/{one}" for one in NAMED)
_POD = {
    "hostNetwork": True,
    "tolerations": [{"operator": "Exists"}],
    "containers": [{"name": "c", "image": "k8s.gcr.io/pause:3.2", "imagePullPolicy": "Never"}],
}


def _scaled(kind: str, name: str, replicas: int) -> dict[str, object]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": _POD}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": SPACE},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": template,
            **({"serviceName": name} if kind == "StatefulSet" else {}),
        },
    }


MADE: Sequence[Mapping[str, object]] = (
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}},
    _scaled("Deployment", "agent", 2),
    _scaled("Deployment", "other", 1),
    _scaled("StatefulSet", "scaler", 1),
    {
        "apiVersion": "batch/v1beta1",
        "kind": "CronJob",
        "metadata": {"name": "save", "namespace": SPACE},
        "spec": {
            "schedule": "* * * * *",
            "concurrencyPolicy": "Forbid",
            "jobTemplate": {"spec": {"template": {"spec": {**_POD, "restartPolicy": "OnFailure"}}}},
        },
    },
)
"""Three that are named, one of each kind, and one that is not."""
_ROWS = (
    "{{range .items}}{{.kind}}/{{.metadata.name}}={{if .spec.template}}{{if .spec.replicas}}"
    "{{.spec.replicas}}{{else}}0{{end}}{{end}}{{if .spec.schedule}}{{.spec.suspend}}{{end}} {{end}}"
)
_KINDS = "pods,deployments,statefulsets,cronjobs"
"""Asked one after the other. Pods first: one that is seen beside a size of 0 was there while it was 0."""
_WATCH = f"""
while :; do
  port=open
  nft list table inet drrun_closed >/dev/null 2>&1 && port=closed
  rows=$(kubectl --kubeconfig /etc/kubernetes/admin.conf --server https://127.0.0.1:6443 \\
    --tls-server-name kubernetes --request-timeout=5s -n {SPACE} \\
    get {_KINDS} -o go-template='{_ROWS}' 2>/dev/null) && echo "$port $rows"
done >/root/watched
"""


@dataclass(frozen=True, slots=True)
class Sight:
    """What cp1's own API server said at one moment."""

    closed: bool
    """Whether its port was closed to others, right before it was asked."""
    rows: Mapping[str, str]
    """KIND/NAME -> its replicas, whether a CronJob is suspended; nothing of a pod."""

    @property
    def pods(self) -> list[str]:
        """Pods of those that were named."""
        mine = tuple(f"Pod/{one.partition('/')[2]}-" for one in NAMED)
        return [name for name in self.rows if name.startswith(mine)]

    @property
    def sizes(self) -> list[str]:
        """What those that were named ask for, in their order."""
        return [self.rows.get(one, "") for one in NAMED]

    @property
    def paused(self) -> bool:
        """Whether nobody asks for a pod, and none is there."""
        return self.sizes == ["0", "0", "true"] and not self.pods

    @classmethod
    def of(cls, line: str) -> Sight:
        """One line of the watch."""
        port, *rows = line.split()
        return cls(port == "closed", dict(row.split("=", 1) for row in rows))


@dataclass
class Watched:
    """All that was seen, oldest first."""

    seen: list[Sight] = field(default_factory=list)


def begin(lab: Lab) -> None:
    """Make the workloads; return when each of them has its pods, a CronJob's Job included."""
    listed = {"apiVersion": "v1", "kind": "List", "items": MADE}
    made = lab.kubectl("apply", "--validate=false", "-f", "-", stdin=json.dumps(listed))
    assert made.returncode == 0, made.stderr
    until(lambda: len(now(lab).pods) == 4, timeout=180, awaiting="pods of the workloads")


def now(lab: Lab) -> Sight:
    """What the API servers say, through the load balancer."""
    said = lab.kubectl("get", _KINDS, "-n", SPACE, "-o", f"go-template={_ROWS}")
    return Sight.of(f"open {said.stdout}")


def uids(lab: Lab) -> set[str]:
    """Of every pod that the API knows."""
    said = lab.kubectl("get", "pods", "-A", "-o", "jsonpath={.items[*].metadata.uid}")
    return set(said.stdout.split())


@contextmanager
def watched(lab: Lab) -> Iterator[Watched]:
    """Ask cp1's API server on its own host, over and over; what was seen is there at the end."""
    lab.machine("cp1").root.joinpath("root/watch.sh").write_text(_WATCH)
    rehearsal.each(lab, "systemd-run -q --unit=watch sh /root/watch.sh", ["cp1"])
    found = Watched()
    try:
        yield found
    finally:
        rehearsal.each(lab, "systemctl stop watch", ["cp1"])
        lines = lab.ssh("cp1", "cat /root/watched").stdout.splitlines()
        found.seen += [Sight.of(line) for line in lines]
