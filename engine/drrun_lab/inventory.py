"""The inventory that drrun reads, written for a lab."""

from __future__ import annotations

from pathlib import Path

from drrun_lab.layout import LabHost, Layout


def inventory_text(layout: Layout, folder: Path, cluster_uid: str = "") -> str:
    """The inventory of a lab whose key and known_hosts are in `folder`."""
    members = layout.members
    identity, known_hosts = folder / "id_ed25519", folder / "known_hosts"
    lines = ["drrun_inventory: 1", f"name: {layout.name}"]
    if cluster_uid:
        lines.append(f"cluster_uid: {cluster_uid}")
    lines += [
        f'ssh: {{user: root, port: "22", identity: {identity}, known_hosts: {known_hosts}}}',
        f"layout: {'static-pod' if layout.spec.layout == 'kubeadm' else 'systemd'}",
    ]
    if layout.spec.kube:
        lines.append(f'vars: {{apiserver_lb: "https://{layout.haproxy_address}:6443"}}')
    lines.append("hosts:")
    lines += [f"  {host.name}: {{address: {host.address}}}" for host in layout.hosts]
    lines += ["groups:", _group("etcd", members)]
    if layout.spec.kube:
        balancers = tuple(host for host in layout.hosts if host.role == "load_balancer")
        lines += [_group("control_plane", members), _group("load_balancer", balancers)]
    if layout.spares:
        lines.append(_group("spare", layout.spares))
    return "\n".join(lines) + "\n"


def _group(name: str, hosts: tuple[LabHost, ...]) -> str:
    return f"  {name}: [{', '.join(host.name for host in hosts)}]"
