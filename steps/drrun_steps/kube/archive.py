"""What an archive of a control plane's keys holds, told without a key.

A tar, for root alone: `pki/` as kubeadm lays it out, but only what all hosts share, the certificate of
one API server (its names are needed when another is issued), `encryption.yaml`, and `units/`: the units
or manifests of the control plane. With manifests come `files/` that they name, and `kubelet/`. It is as secret as the cluster: whoever
has it can become anybody there, and read what a snapshot holds.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from drrun.spi import Fact, Host, Look, Repeat, sh
from drrun_steps.kube.keys import ENCRYPTION, PUBLIC

SETTINGS = "encryption.yaml"
"""The encryption settings in an archive."""
PRIVATE = tuple(f"{name.rpartition('.')[0]}.key" for name in PUBLIC)
"""The private keys beside the public files."""
_MEMBERS = {f"pki/{name}": name for name in (*PUBLIC, *PRIVATE)} | {SETTINGS: ENCRYPTION}
_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Archive:
    """What an archive of keys holds, without a key. `problem` is empty when it can be read."""

    problem: str = ""
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    """As kube.keys takes them."""
    private: tuple[str, ...] = ()
    """The private keys in it, by name."""

    @property
    def lost(self) -> tuple[str, ...]:
        """The files that a control plane cannot be rebuilt without, and that are not in it."""
        there = {*self.fingerprints, *self.private}
        return tuple(name for name in (*PUBLIC, *PRIVATE) if name not in there)


@dataclass(frozen=True, slots=True)
class KeyArchive(Look[Archive]):
    """An archive of keys on the controller. Keys are neither kept nor passed on."""

    name: ClassVar[str] = "kube.keys.archive"
    path: str

    def about(self) -> tuple[str, ...]:
        """The file, which a step on any host may bring here."""
        return (f"@file:{self.path}",)

    def look(self) -> Archive:
        """Everything that is wrong with the file is in the answer."""
        path = Path(self.path).expanduser()
        if not path.is_file():
            return Archive(f"{path} is not a file")
        sums: dict[str, str] = {}
        try:
            with tarfile.open(path, "r:") as tar:
                for member in tar:
                    name = _MEMBERS.get(member.name.removeprefix("./"))
                    if name and member.isfile() and 0 < member.size <= _LARGEST:
                        content = tar.extractfile(member)
                        assert content is not None
                        sums[name] = hashlib.sha256(content.read()).hexdigest()
        except (tarfile.TarError, OSError) as error:
            return Archive(f"{path} is no archive of keys: {error}")
        public = {name: digest for name, digest in sums.items() if name not in PRIVATE}
        return Archive("", public, tuple(name for name in PRIVATE if name in sums))


def bring(host: Host, archive: str, stage: str) -> None:
    """Put an archive on the controller into a root-only folder of a host, as `keys.tar`."""
    host.change(
        "make-folder",
        sh('umask 077; mkdir -p -- "$STAGE" && chmod 0700 -- "$STAGE"', STAGE=stage),
        touches=(f"file:{stage}",),
        repeat=Repeat.SAFE,
    )
    host.put("copy-archive", Path(archive), f"{stage}/keys.tar", mode="0600")


FACTS: tuple[type[Fact[Any]], ...] = (KeyArchive,)
