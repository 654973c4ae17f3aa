"""The static pods of a lost control plane, as an archive of keys holds them.

Of a manifest only what says whose host it was leaves this module: an image, files, and flags with
names and addresses. A manifest may hold anything else, and goes from the archive to a host as a file.
Source: kubeadm's manifests of 1.20 to 1.31 (`cmd/kubeadm/app/phases/{controlplane,etcd}`).
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from drrun.spi import Fact, Look

PODS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
"""The static pods of a control plane that kubeadm makes."""
SHARED: Mapping[str, tuple[str, ...]] = {
    "etcd": ("data-dir", "wal-dir", "quota-backend-bytes", "force-new-cluster"),
    "kube-apiserver": ("etcd-servers", "encryption-provider-config", "etcd-servers-overrides"),
}
"""Pod -> flags that are read, and that every host has alike."""
OWN: Mapping[str, tuple[str, ...]] = {
    "etcd": (
        *("name", "initial-cluster", "initial-advertise-peer-urls", "advertise-client-urls"),
        *("listen-client-urls", "listen-peer-urls", "listen-metrics-urls"),
    ),
    "kube-apiserver": ("advertise-address", "bind-address"),
    "kube-controller-manager": ("bind-address",),
    "kube-scheduler": ("bind-address",),
}
"""Pod -> flags that say which host it is on."""

_PLACES = ("units/etc/kubernetes/manifests", "units/var/lib/drrun/stopped")
_FLAG = re.compile(r"^ *- --([a-z0-9-]+)=(.*)$", re.MULTILINE)
_IMAGE = re.compile(r"^ *image: *(\S+)", re.MULTILINE)
_VOLUME = re.compile(r"hostPath:\n +path: *(\S+)(?:\n +type: *(\S+))?")
_MADE = ("DirectoryOrCreate", "FileOrCreate")
_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Pod:
    """A static pod in an archive: its image, `SHARED` and `OWN` flags that it has, and volumes."""

    image: str
    flags: Mapping[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    """What must be on the host before it starts: kubelet makes the other volumes."""


@dataclass(frozen=True, slots=True)
class Archived:
    """What an archive holds of static pods; `pods` is empty where they were units."""

    pods: Mapping[str, Pod] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    """Files that manifests name and that were packed with them, by their paths on a host."""
    kubelet: tuple[str, ...] = ()
    """Of kubelet's settings: `config.yaml`, `kubeadm-flags.env`."""
    astray: tuple[str, ...] = ()
    """Other flags that name that host's address, as `kube-apiserver --service-account-issuer`."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses of the host whose manifests they are: as a member, and as an API server."""
        etcd, server = (self.pods.get(pod, Pod("")).flags for pod in PODS[:2])
        urls = etcd.get("initial-advertise-peer-urls", "").split(",")
        said = [
            *(urlsplit(url).hostname or "" for url in urls),
            server.get("advertise-address", ""),
        ]
        return tuple(dict.fromkeys(address for address in said if address))


@dataclass(frozen=True, slots=True)
class ArchivedPods(Look[Archived]):
    """The static pods in an archive of keys on the controller."""

    name: ClassVar[str] = "kube.archived_pods"
    path: str

    def about(self) -> tuple[str, ...]:
        """The file, which a step on any host may bring here."""
        return (f"@file:{self.path}",)

    def look(self) -> Archived:
        """Raises OSError, or ValueError where it is no archive."""
        path = Path(self.path).expanduser()
        texts, there = dict[str, str](), list[str]()
        try:
            with tarfile.open(path, "r:") as tar:
                for member in tar:
                    if not member.isfile() or member.size > _LARGEST:
                        continue
                    name = member.name.removeprefix("./")
                    there.append(name)
                    if (pod := _pod_of(name)) and (content := tar.extractfile(member)):
                        texts[pod] = content.read().decode("utf-8", "replace")
        except tarfile.TarError as error:
            raise ValueError(f"{path} is no archive of keys: {error}") from error
        found = Archived(
            {pod: _parsed(pod, texts[pod]) for pod in PODS if pod in texts},
            tuple(sorted(_below("files", there, "/"))),
            tuple(sorted(_below("kubelet", there, ""))),
        )
        return replace(found, astray=tuple(_astray(texts, found.addresses)))


def _pod_of(name: str) -> str:
    folder, _, file = name.rpartition("/")
    pod = file.removesuffix(".yaml")
    return pod if folder in _PLACES and pod in PODS else ""


def _below(folder: str, names: list[str], root: str) -> Iterator[str]:
    return (
        root + name.removeprefix(f"{folder}/") for name in names if name.startswith(f"{folder}/")
    )


def _astray(texts: Mapping[str, str], addresses: tuple[str, ...]) -> Iterator[str]:
    for pod, text in texts.items():
        looked_at = (*OWN[pod], *SHARED.get(pod, ()))
        for flag, value in _FLAG.findall(text):
            if flag not in looked_at and any(swapped(value, one, "") != value for one in addresses):
                yield f"{pod} --{flag}"


def swapped(text: str, old: str, new: str) -> str:
    """An address in the place of another, which is no part of a longer one."""
    return re.sub(rf"(?<![0-9A-Fa-f.:]){re.escape(old)}(?![0-9A-Fa-f.])", new, text)


def _parsed(pod: str, text: str) -> Pod:
    wanted = (*OWN[pod], *SHARED.get(pod, ()))
    flags = {flag: value.strip("\"' ") for flag, value in _FLAG.findall(text) if flag in wanted}
    image = _IMAGE.search(text)
    volumes = (path.strip("\"'") for path, kind in _VOLUME.findall(text) if kind not in _MADE)
    return Pod(image[1].strip("\"'") if image else "", flags, tuple(volumes))


FACTS: tuple[type[Fact[Any]], ...] = (ArchivedPods,)
