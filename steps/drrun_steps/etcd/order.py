"""The order of a restore, as rules that the steps of a restore carry into every runbook.

Each says what goes wrong without it; docs/explanation/restore.md tells it at length. Proved on the
graph, and read live before the guarded change (hazard H5).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from drrun.spi import Demand, Duty, FactRef, Rule, State, step_done
from drrun_steps.host import HostProcesses
from drrun_steps.service.facts import ServiceState

UNDER_API_SERVER = (
    "kubernetes.io: if any API servers are running in your cluster, you should not attempt to "
    "restore instances of etcd; they serve and write back what they have cached"
)
UNDER_ETCD = (
    "a data directory must not be replaced under a running etcd, and a member of the old cluster "
    "that lives on mixes with the restored one"
)
_PROOFS = {
    "etcd.snapshot.verify": "a damaged snapshot is found when the old data has been moved",
    "etcd.verdict": "a restore that nobody ruled on throws away writes that were acknowledged",
    "etcd.restore.same": "members restored from different snapshots run side by side, all healthy",
    "etcd.snapshot.save": "nothing is destroyed before what is there now has been saved",
    "etcd.prove_down": "a unit that is stopped says nothing of an etcd that was started by hand",
    "etcd.restore.remeasure": "writes between verdict and stop are lost without a word",
}
"""Step type -> what goes wrong when it was not done before a data directory is replaced."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a restore must know of the cluster that it restores. `api` is empty without one."""

    etcd: str
    etcd_hosts: str
    api: str
    api_hosts: str
    controllers: Sequence[str]
    kubelet: str

    def rules(self) -> Iterator[Demand]:
        """All rules of a step that replaces data directories."""
        if self.api:
            yield from self._api_down()
        yield from self._etcd_down()
        yield from self._etcd_again()
        if self.api:
            yield from self._api_again()
            yield from self._controllers_again()

    # --- before the swap -----------------------------------------------------------------------

    def _api_down(self) -> Iterator[Demand]:
        yield Rule(self._state(self.api), self.api_hosts, "stopped", UNDER_API_SERVER)
        yield _alive_by_hand(self.api, self.api_hosts, UNDER_API_SERVER)
        done = step_done("kube.prove_down")
        because = "an API server that nobody listed, or that was started by hand, lives on"
        yield Rule(done, self.api_hosts, value=True, because=because)

    def _etcd_down(self) -> Iterator[Demand]:
        yield Rule(self._state(self.etcd), self.etcd_hosts, "stopped", UNDER_ETCD)
        yield _alive_by_hand(self.etcd, self.etcd_hosts, UNDER_ETCD)
        for uses, because in _PROOFS.items():
            hosts = "controller" if uses == "etcd.snapshot.verify" else self.etcd_hosts
            yield Rule(step_done(uses), hosts, value=True, because=because)

    # --- after it ------------------------------------------------------------------------------

    def _etcd_again(self) -> Iterator[Demand]:
        running = State(self._state(self.etcd), "running")
        yield Rule(
            step_done("etcd.restore.install"),
            self.etcd_hosts,
            value=True,
            because="a member that was not restored forms a cluster of its own, or joins with "
            "other data",
            before=running,
        )
        yield Duty(running.fact, self.etcd_hosts, running.value, "a restore ends with etcd running")
        because = "members that were restored differently are all healthy, and answer differently"
        yield Duty(step_done("etcd.consistent"), self.etcd_hosts, value=True, because=because)

    def _api_again(self) -> Iterator[Demand]:
        running = State(self._state(self.api), "running")
        yield Rule(
            step_done("etcd.consistent"),
            self.etcd_hosts,
            value=True,
            because="clients write as soon as an API server runs: from then on nothing is undone",
            before=running,
        )
        ready, secret = step_done("kube.ready"), State(step_done("kube.read_secret"), value=True)
        because = "what an API server that is not ready cannot read proves nothing"
        yield Rule(ready, "", value=True, because=because, before=secret, live=False)
        yield Rule(
            step_done("etcd.alarms.disarm"),
            self.etcd_hosts,
            value=True,
            because="NOSPACE travels inside a snapshot and blocks every write",
            before=running,
            some=True,
        )
        because = "a restore ends with every API server running, and proved to be ready"
        yield Duty(running.fact, self.api_hosts, running.value, because)
        yield Duty(step_done("kube.ready"), self.api_hosts, value=True, because=because)

    def _controllers_again(self) -> Iterator[Demand]:
        for service in self.controllers:
            yield from self._controller(service)
        kubelet = State(self._state(self.kubelet), "running")
        because = "a kubelet that is not restarted keeps pods that the restored cluster never had"
        yield self._api_first(kubelet, because)
        yield Duty(kubelet.fact, self.api_hosts, kubelet.value, because, anew=True)
        because = "/healthz stays ok while a controller does nothing: only its lease tells"
        done = step_done("kube.lease_moves")
        yield Duty(done, self.api_hosts, value=True, because=because, some=True)
        moves = State(done, value=True)
        because = "a lease proves who works when all that is to be restarted has been"
        for service in (*self.controllers, self.kubelet):
            yield self._restarted(service, because, before=moves)

    def _controller(self, service: str) -> Iterator[Demand]:
        running = State(self._state(service), "running")
        because = f"{service} acts on what the API says exists, and it is not whole yet"
        yield self._api_first(running, because)
        ready, secret = step_done("kube.ready"), step_done("kube.read_secret")
        yield Rule(ready, self.api_hosts, value=True, because=because, before=running)
        because = "encryption keys that are not the snapshot's must be found before anything acts"
        yield Rule(secret, self.api_hosts, value=True, because=because, before=running, some=True)
        because = f"{service} holds in memory what was before the restore: it is started again"
        yield Duty(running.fact, self.api_hosts, running.value, because, anew=True)

    def _restarted(self, service: str, because: str, before: State) -> Rule:
        hosts, fact = self.api_hosts, self._state(service)
        return Rule(fact, hosts, "running", because, before=before, live=False, present=True)

    def _api_first(self, guarded: State, because: str) -> Rule:
        fact = self._state(self.api)
        return Rule(fact, self.api_hosts, "running", because, before=guarded, present=True)

    def _state(self, service: str) -> FactRef:
        return ServiceState(service).ref


def _alive_by_hand(program: str, hosts: str, because: str) -> Rule:
    """No process of that program, whatever its unit says: read right before each swap."""
    return Rule(HostProcesses(program).ref, hosts, [], because, standing=True)


def while_running(service: str, because: str) -> Rule:
    """Order alone: not where this runbook has stopped the service. What it needs, it reads itself."""
    fact = ServiceState(service).ref
    return Rule(fact, "", "running", because, standing=True, live=False)
