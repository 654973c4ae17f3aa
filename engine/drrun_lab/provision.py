"""What is written into a host's disk before it first boots.

Provisioning from outside costs no round trips and leaves nothing to a half-booted host.
"""

from __future__ import annotations

import os
import secrets
import shutil
from base64 import b64encode
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from drrun_lab import kubeadm, units
from drrun_lab.base import ETCD_UID, NOSUDO_UID, OPS_UID
from drrun_lab.keys import SshKey
from drrun_lab.layout import LabHost, Layout
from drrun_lab.pki import Authorities

_UNITS = "etc/systemd/system"
_WANTED = f"{_UNITS}/multi-user.target.wants"


@dataclass(frozen=True, slots=True)
class HostFile:
    """One file (or, with `link`, a symbolic link) of a host's disk; `path` has no leading /."""

    path: str
    content: bytes = b""
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    link: str = ""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The secrets that all hosts of one cluster share."""

    authorities: Authorities
    login: SshKey
    encryption_secret: str
    tokens: kubeadm.Tokens

    @classmethod
    def new(cls) -> Credentials:
        """Make fresh ones."""
        secret = b64encode(secrets.token_bytes(32)).decode()
        return cls(Authorities.new(), SshKey.new(), secret, kubeadm.Tokens.new())


def host_files(
    layout: Layout, host: LabHost, credentials: Credentials, identity: SshKey
) -> tuple[HostFile, ...]:
    """Everything that makes an overlay of the base this host. `identity` is its SSH host key."""
    files = [
        *_network(layout, host),
        *_logins(credentials.login, identity),
        HostFile("etc/machine-id", f"{secrets.token_hex(16)}\n".encode(), 0o444),
    ]
    if host.role == "load_balancer":
        files += [HostFile("etc/haproxy/haproxy.cfg", units.haproxy(layout).encode())]
        files += [_enabled("haproxy", "/lib/systemd/system")]
        return tuple(files)
    if layout.spec.layout == "kubeadm":
        return (*files, *_node(layout, host, credentials))
    files += _etcd(layout, host)
    files += _certificates(layout, host, credentials.authorities)
    if layout.spec.kube:
        files += _control_plane(layout, host, credentials)
    if host.role == "spare":
        # It has the units, and starts none of them.
        files = [file for file in files if not file.link]
    return tuple(files)


def admin_config(layout: Layout, authorities: Authorities) -> bytes:
    """The cluster administrator's kubeconfig, against the load balancer."""
    server = f"https://{layout.haproxy_address}:6443"
    return authorities.kubeconfig("kubernetes-admin", server, "system:masters")


def write_files(root: Path, files: Iterable[HostFile]) -> None:
    """Write the files below `root`, with their owners and modes."""
    for file in files:
        path = root / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if file.link:
            path.symlink_to(file.link)
            continue
        path.write_bytes(file.content)
        os.chown(path, file.uid, file.gid)
        path.chmod(file.mode)


def write_state(base: Path, folder: Path, *, etcd: bool = True) -> None:
    """Make a host's own /var/lib: what is below `base`, and an empty data directory for `etcd`.

    It is a plain folder that the host gets by a bind, not part of the overlay: renaming a
    directory that comes from an overlay's lower layer fails with EXDEV, and `mv` then copies.
    """
    shutil.copytree(base / "var" / "lib", folder, symlinks=True)
    if not etcd:
        return
    data = folder / "etcd"
    data.mkdir(mode=0o700, exist_ok=True)
    os.chown(data, ETCD_UID, ETCD_UID)


def _network(layout: Layout, host: LabHost) -> Iterator[HostFile]:
    names = "".join(f"{other.address} {other.name}\n" for other in layout.hosts)
    yield HostFile("etc/hostname", f"{host.name}\n".encode())
    yield HostFile("etc/hosts", f"127.0.0.1 localhost\n{names}".encode())
    settings = (
        "[Match]\nName=host0\n[Network]\n"
        f"Address={host.address}/{layout.subnet.prefixlen}\n"
        "LinkLocalAddressing=no\nIPv6AcceptRA=no\n"
    )
    if layout.spec.layout == "kubeadm":
        # kubelet asks for a cloud's metadata when it starts: no answer must come at once.
        settings += "[Route]\nDestination=169.254.169.254/32\nType=unreachable\n"
    # The name must sort before systemd's own 80-container-host0.network.
    yield HostFile("etc/systemd/network/10-host0.network", settings.encode())


def _logins(login: SshKey, identity: SshKey) -> Iterator[HostFile]:
    yield HostFile("etc/ssh/ssh_host_ed25519_key", identity.private, 0o600)
    yield HostFile("etc/ssh/ssh_host_ed25519_key.pub", f"{identity.public}\n".encode())
    allowed = f"{login.public} drrun-lab\n".encode()
    for home, uid in (("root", 0), ("home/ops", OPS_UID), ("home/nosudo", NOSUDO_UID)):
        yield HostFile(f"{home}/.ssh/authorized_keys", allowed, 0o600, uid, uid)


def _etcd(layout: Layout, host: LabHost) -> Iterator[HostFile]:
    yield HostFile("etc/default/etcd", units.etcd_settings(layout, host).encode())
    yield HostFile(f"{_UNITS}/etcd.service", units.ETCD.encode())
    yield _enabled("etcd")


def _certificates(layout: Layout, host: LabHost, authorities: Authorities) -> Iterator[HostFile]:
    own = authorities.host_files(host.name, host.address, layout.haproxy_address)
    for name, content in {**authorities.shared_files(), **own}.items():
        if not (layout.spec.kube or name.startswith("etcd/")):
            continue
        secret = name.endswith(".key")
        # etcd runs as its own user and reads its pairs through its group.
        group = ETCD_UID if name.startswith("etcd/") else 0
        mode = (0o640 if group else 0o600) if secret else 0o644
        yield HostFile(f"etc/kubernetes/pki/{name}", content, mode, 0, group)


def _control_plane(layout: Layout, host: LabHost, credentials: Credentials) -> Iterator[HostFile]:
    authorities = credentials.authorities
    local = f"https://{host.address}:6443"
    configs = {"admin": admin_config(layout, authorities)}
    for component in ("controller-manager", "scheduler"):
        configs[component] = authorities.kubeconfig(f"system:kube-{component}", local)
    for name, content in configs.items():
        yield HostFile(f"etc/kubernetes/{name}.conf", content, 0o600)
    yield HostFile("root/.kube/config", configs["admin"], 0o600)
    secret = units.encryption(credentials.encryption_secret).encode()
    yield HostFile("etc/kubernetes/encryption.yaml", secret, 0o600)
    texts = {
        "kube-apiserver": units.kube_apiserver(layout, host),
        "kube-controller-manager": units.kube_controller_manager(layout),
        "kube-scheduler": units.kube_scheduler(layout),
    }
    for name, text in texts.items():
        yield HostFile(f"{_UNITS}/{name}.service", text.encode())
        yield _enabled(name)


def _node(layout: Layout, host: LabHost, credentials: Credentials) -> Iterator[HostFile]:
    """What kubeadm needs on a host before it makes the rest of it; a spare waits without a cluster's."""
    for name in kubeadm.RUNTIME if host.role == "spare" else kubeadm.SERVICES:
        packaged = name == "containerd"
        yield _enabled(name, "/lib/systemd/system" if packaged else f"/{_UNITS}")
    if host.role == "spare":
        return
    config = kubeadm.settings(layout, host, credentials.tokens).encode()
    yield HostFile(kubeadm.CONFIG.lstrip("/"), config, 0o600)
    secret = units.encryption(credentials.encryption_secret).encode()
    yield HostFile(kubeadm.ENCRYPTION.lstrip("/"), secret, 0o600)


def _enabled(unit: str, folder: str = f"/{_UNITS}") -> HostFile:
    return HostFile(f"{_WANTED}/{unit}.service", link=f"{folder}/{unit}.service")
