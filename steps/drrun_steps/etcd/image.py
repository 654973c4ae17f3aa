"""Etcd's tools in the image of a static pod that does not run yet.

A host that kubeadm made has no tools of its own. While a member runs they are in its container; on
a new machine they are only in the image, which containerd shows as a folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from drrun.spi import Command, Fact, Reply, sh
from drrun_steps.etcd.tools import ASK_TOOLS, Tools, tools_of

SHOWN = r"""
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH
command -v ctr >/dev/null || { echo 'drrun: no ctr on this host: nobody shows what is in an image' >&2; exit 3; }
shown=$(mktemp -d /run/drrun-image.XXXXXX)
hidden() { ctr -n k8s.io images unmount --rm "$shown" >/dev/null 2>&1 || umount "$shown" 2>/dev/null || :; rmdir "$shown"; }
trap hidden EXIT
ctr -n k8s.io images mount "$IMAGE" "$shown" >/dev/null || exit 4
"""
"""Show the image IMAGE, read-only, in the folder `$shown` for as long as the script runs."""


@dataclass(frozen=True, slots=True)
class EtcdImage(Fact[Tools]):
    """What an image of etcd can restore with; nothing where it holds no tool, or cannot be shown.

    The image is mounted read-only for the length of the question.
    """

    name: ClassVar[str] = "etcd.image"
    image: str

    def about(self) -> tuple[str, ...]:
        """The images of this host."""
        return ("images",)

    def ask(self) -> Command:
        """The tools themselves are asked, as those of a host are."""
        own = "PATH=$shown/usr/local/bin:$shown/usr/bin:$PATH; export PATH\n"
        return sh(SHOWN + own + ASK_TOOLS, IMAGE=self.image)

    def parse(self, reply: Reply) -> Tools:
        """An image that cannot be shown has no tools."""
        return tools_of(reply) if reply.exit == 0 else Tools()


FACTS: tuple[type[Fact[Any]], ...] = (EtcdImage,)
