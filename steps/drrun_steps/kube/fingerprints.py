"""The step that takes the fingerprints of a control plane's keys, for the manifest of a snapshot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from drrun.spi import Effect, Group, GroupStep, Outputs, Repeat
from drrun_steps.kube.keys import keys_fact


class Fingerprints(GroupStep):
    """Take the fingerprints of the control plane's keys: authorities, token key, encryption settings.

    For the manifest of a snapshot. Nothing is refused, since a snapshot without them is better than
    none: hosts that differ are told, and what they differ in is left out. Only sums leave the hosts.
    """

    uses = "kube.keys"
    effect = Effect.READ
    repeat = Repeat.SAFE
    outputs = ("fingerprints",)

    pki: str = "/etc/kubernetes/pki"
    """The folder of certificates and keys, laid out as kubeadm does."""
    apiserver: str = "kube-apiserver"
    """The API server's unit or static pod."""

    def run(self, group: Group) -> Outputs:
        """One read a host, compared."""
        found = {h.name: h.read(keys_fact(h, self.pki, self.apiserver)) for h in group.hosts}
        for host, keys in found.items():
            for name in keys.wrong:
                group.note(f"{host}: {self.pki}/{name} is not the key of what lies beside it")
        agreed, divided = agreement([keys.fingerprints for keys in found.values()])
        for name in divided:
            group.note(f"{name} is not the same on every host: its fingerprint is left out")
        if not agreed:
            group.note(f"no keys of a control plane are in {self.pki}: the manifest names none")
        return {"fingerprints": agreed}


def agreement(found: Sequence[Mapping[str, str]]) -> tuple[dict[str, str], tuple[str, ...]]:
    """What all hosts that have a file agree on, and the files in which they differ."""
    sums: dict[str, set[str]] = {}
    for one in found:
        for name, digest in one.items():
            sums.setdefault(name, set()).add(digest)
    agreed = {name: next(iter(all_)) for name, all_ in sorted(sums.items()) if len(all_) == 1}
    return agreed, tuple(sorted(name for name, all_ in sums.items() if len(all_) > 1))
