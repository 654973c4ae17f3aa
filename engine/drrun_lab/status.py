"""What `drrun lab status` prints."""

from __future__ import annotations

from collections.abc import Iterator

from drrun_lab.access import Access, sshd_answers
from drrun_lab.lab import Lab

_WORTH_SHOWING = ("etcd-server", "kubernetes", "kubernetes-source", "go", "systemd", "haproxy")


def describe(name: str = "") -> str:
    """Lines about one lab, or about every lab of this machine.

    Raises LabError when the named lab is not there.
    """
    names = (name,) if name else Lab.names()
    if not names:
        return "no lab on this machine; `drrun lab up` makes one\n"
    return "\n".join("".join(f"{line}\n" for line in _lines(Lab.find(one))) for one in names)


def _lines(lab: Lab) -> Iterator[str]:
    layout, versions = lab.layout, lab.record.versions
    yield f"lab {layout.name}: {lab.record.stage}, {layout.subnet} on {layout.bridge}"
    yield f"  inventory  {lab.inventory}"
    if lab.record.cluster_uid:
        yield f"  cluster    {lab.record.cluster_uid}"
        yield f"  api        https://{lab.haproxy_address}:6443"
    shown = (f"{package} {versions[package]}" for package in _WORTH_SHOWING if package in versions)
    yield f"  versions   {', '.join(shown)}"
    access = Access(lab.folder)
    for host in lab.hosts:
        words = ["on" if lab.running(host.name) else "off"]
        if words == ["on"]:
            words.append("sshd answers" if sshd_answers(host.address) else "sshd does not answer")
            if layout.spec.kube and host.role != "spare":
                serves = access.ready(host.address)
                words.append("API server ready" if serves else "API server not ready")
        yield f"  {host.name:<9}  {host.address:<15}  {', '.join(words)}"
