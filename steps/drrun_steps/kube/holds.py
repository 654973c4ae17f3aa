"""Whether a snapshot holds the workloads that are to be paused: a slip of the pen, found before the first stop.

What the restored cluster will have, the snapshot says, and nobody else: an API server that still answers
tells of today, and there may be none.
Source: k8s.io/apiserver, pkg/registry (an object's key is PREFIX/RESOURCE/NAMESPACE/NAME).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from drrun.spi import CONTROLLER, Demand, Effect, Fact, Host, HostStep, Look, Refused, Repeat
from drrun_steps.etcd.bolt import Bolt
from drrun_steps.kube.origin import SEAL
from drrun_steps.kube.stored import stored
from drrun_steps.kube.workloads import KINDS, Workloads, one_list

_SHOWN = 10
"""How many of a namespace are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class SnapshotWorkloads(Look[tuple[str, ...]]):
    """The workloads of some namespaces that a snapshot holds, as NAMESPACE/KIND/NAME; names alone are read."""

    name: ClassVar[str] = "kube.snapshot.workloads"
    timeout: ClassVar[float] = 600.0
    path: str
    namespaces: tuple[str, ...]
    prefix: str = "/registry"

    def about(self) -> tuple[str, ...]:
        """The file, which a step on any host may bring here."""
        return (f"@file:{self.path}",)

    def look(self) -> tuple[str, ...]:
        """Raises OSError, or ValueError where its database makes no sense."""
        path = Path(self.path).expanduser()
        with path.open("rb") as file:
            return self.among(stored(Bolt(file, path.stat().st_size - SEAL)))

    def among(self, pairs: Iterable[tuple[bytes, bytes]]) -> tuple[str, ...]:
        """Of keys with their values, oldest first: those whose newest value is not empty, sorted."""
        kinds = {kind.resource.partition(".")[0]: word for word, kind in KINDS.items()}
        start, there = f"{self.prefix}/".encode(), set[str]()
        for key, value in pairs:
            if not key.startswith(start):
                continue
            resource, *place = key[len(start) :].decode("utf-8", "replace").split("/")
            if len(place) == 2 and resource in kinds and place[0] in self.namespaces:
                one = f"{place[0]}/{kinds[resource]}/{place[1]}"
                (there.add if value else there.discard)(one)
        return tuple(sorted(there))


class Holds(HostStep):
    """Prove that a snapshot holds the workloads that are to be paused in the restored cluster.

    On the controller, in pure Python, whether an API server answers or not. One that is not in it is refused.
    """

    uses = "kube.snapshot.holds"
    effect = Effect.READ
    repeat = Repeat.SAFE

    path: str
    """The snapshot file on the controller, proved by etcd.snapshot.verify."""
    workloads: Workloads = ()
    """Workloads as NAMESPACE/KIND/NAME (Deployment, StatefulSet, DaemonSet, CronJob), or `none`."""
    prefix: str = "/registry"
    """The API servers' `--etcd-prefix`."""

    def rules(self) -> Sequence[Demand]:
        """The same as are paused."""
        return [one_list(self.workloads)]

    def run(self, host: Host) -> None:
        """One look at the file, where anybody was named."""
        if host.name != CONTROLLER:
            raise Refused("a snapshot is read on the controller", hint="leave `hosts` out")
        if not self.workloads:
            return
        spaces = tuple(sorted({one.partition("/")[0] for one in self.workloads}))
        found = host.read(SnapshotWorkloads(self.path, spaces, self.prefix))
        if lost := [one for one in self.workloads if one not in found]:
            raise Refused(
                f"{self.path} holds no {', '.join(lost)}",
                hint=f"of {', '.join(spaces)} it holds {_some(found)}; workloads that are made after "
                "the restore cannot be paused before it",
            )


def _some(found: Sequence[str]) -> str:
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return (", ".join(found[:_SHOWN]) + more) if found else "none"


FACTS: tuple[type[Fact[Any]], ...] = (SnapshotWorkloads,)
