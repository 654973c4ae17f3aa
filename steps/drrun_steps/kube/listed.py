"""Whether every API server that exists is in the inventory, asked while the cluster still answers.

An API server that nobody listed is not stopped, and writes back what it has cached. etcd's members
and their `--initial-cluster` are compared by etcd.verdict and etcd.restore.measure; here it is who
serves them.
Source: hazard H3.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import TypeVar

from drrun.spi import Effect, Group, GroupStep, Host, NotKnown, Refused, Repeat, Whole
from drrun_steps.etcd.access import ask_each, overrides
from drrun_steps.fields import Listed
from drrun_steps.host import HostAddresses, HostPeers
from drrun_steps.kube.announced import Announcements, KubeAnnounced
from drrun_steps.kube.nodes import KubeNodes, Nodes
from drrun_steps.service.flags import ServiceFlag

T = TypeVar("T")


class AllListed(GroupStep):
    """Prove that no API server and no client of etcd exists that the inventory does not know.

    Three tell: the addresses that API servers announce in etcd, the Nodes that carry the control
    plane, and who is connected to etcd. Refuses every address that no host explains, by name; says
    what could not be read. An address that is announced and that nobody renews is no server's.
    """

    uses = "kube.all_listed"
    effect = Effect.READ
    repeat = Repeat.SAFE

    accept_servers: Listed = ()
    """Addresses that no host explains, and that are known to be no API server, or to be off."""
    etcd_hosts: str = "etcd"
    """The hosts of etcd, as an expression over roles."""
    api_hosts: str = "control_plane"
    """The hosts of API servers, as an expression over roles."""
    prefix: str = "/registry"
    """The API servers' `--etcd-prefix`."""
    etcd: str = "etcd"
    """etcd's unit or static pod."""
    apiserver: str = "kube-apiserver"
    """The API server's unit or static pod."""
    kubeconfig: str = "/etc/kubernetes/admin.conf"
    """A kubeconfig on the hosts; only its credentials are used."""
    port: Whole = 2379
    """etcd's client port."""

    def run(self, group: Group) -> None:
        """Ask every host once, whatever still answers there."""
        members, servers = group.role(self.etcd_hosts), group.role(self.api_hosts)
        serving = self._addresses(group, servers)
        found = [
            *self._announced(group, members, serving),
            *self._nodes(group, servers, serving),
            *self._connected(group, members, serving | self._addresses(group, members)),
        ]
        accepted = {_plain(address) for address in self.accept_servers}
        for address, text in found:
            if address in accepted:
                group.note(f"{text}: no API server that lives, as accepted")
        unknown = [(address, text) for address, text in found if address not in accepted]
        if unknown:
            named = ",".join(dict.fromkeys(address for address, _ in unknown))
            raise Refused(
                "no host of the inventory explains that " + "; ".join(text for _, text in unknown),
                hint=f"add the hosts of API servers to the group {self.api_hosts}, end other clients of "
                "etcd; an API server that died goes from etcd's list 15 s later; for what is known to be "
                f"no API server, or to be off for good, say -e accept_servers={named}",
            )

    def _announced(
        self, group: Group, members: Sequence[Host], serving: frozenset[str]
    ) -> Iterator[tuple[str, str]]:
        told = _known(
            ask_each(
                group,
                members,
                lambda h: KubeAnnounced(**overrides(h, self.etcd), prefix=self.prefix),
            )
        )
        if not [one for one in told.values() if not one.why]:
            group.note(f"who is announced as an API server was not read: {_why(told)}")
        for one in sorted({one for said in told.values() for one in said.servers}, key=str):
            address = _plain(one.address)
            if address not in serving and not one.renewed:
                group.note(f"{address} is announced as an API server, and nobody renews it")
            elif address not in serving:
                yield address, f"{address} is announced as an API server"

    def _nodes(
        self, group: Group, servers: Sequence[Host], serving: frozenset[str]
    ) -> Iterator[tuple[str, str]]:
        told = _known(group.read(KubeNodes(self.kubeconfig), servers))
        if not [one for one in told.values() if not one.why]:
            group.note(f"which Nodes carry the control plane was not read: {_why(told)}")
        for node in sorted({node for said in told.values() for node in said.nodes}, key=str):
            addresses = [_plain(address) for address in node.addresses]
            if node.name.partition(".")[0] in group.fenced or serving & set(addresses):
                continue
            for address in addresses[:1]:
                yield address, f"the Node {node.name} of the control plane has {address}"

    def _connected(
        self, group: Group, members: Sequence[Host], known: frozenset[str]
    ) -> Iterator[tuple[str, str]]:
        for host, peers in _known(group.read(HostPeers(self.port), members)).items():
            for peer in peers:
                if _plain(peer) not in known:
                    yield _plain(peer), f"{_plain(peer)} is connected to etcd on {host}"

    def _addresses(self, group: Group, hosts: Sequence[Host]) -> frozenset[str]:
        """What these hosts are reached by: their own addresses, and those that they announce."""
        own = group.read(HostAddresses(), hosts)
        said = group.read(ServiceFlag(self.apiserver, "advertise-address"), hosts)
        listed = [*_known(own).values(), *_known(said).values(), [host.address for host in hosts]]
        return frozenset(_plain(address) for some in listed for address in some)


def _known(answers: Mapping[str, T]) -> Mapping[str, T]:
    """Without those of hosts that a dry-run cannot tell, where a step before this one changed them."""
    return {host: one for host, one in answers.items() if not isinstance(one, NotKnown)}


def _why(told: Mapping[str, Announcements] | Mapping[str, Nodes]) -> str:
    said: Iterable[tuple[str, Announcements | Nodes]] = told.items()
    return "; ".join(f"{host}: {one.why}" for host, one in said) or "not known before the run"


def _plain(address: str) -> str:
    """One spelling of an address; a name stays as it is."""
    try:
        return str(ip_address(address))
    except ValueError:
        return address
