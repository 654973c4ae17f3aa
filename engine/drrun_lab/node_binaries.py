"""What a node of kubeadm runs that Debian has no packages of: kubelet, kubeadm and pause.

They come from the same source package as the control plane (`kubernetes`), with the same two mends.
kubeadm compares versions, so the stamp matters here.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from drrun_lab.cache import Recipe
from drrun_lab.commands import run
from drrun_lab.kubernetes import RECIPE as CONTROL_PLANE
from drrun_lab.kubernetes import VERSION, unpacked
from drrun_lab.progress import Progress

_EDITION = "1"

RECIPE = Recipe(
    name=f"kubernetes-node-{VERSION}",
    text=f"{_EDITION} {CONTROL_PLANE.text} kubeadm kubelet pause",
    room=7 * 1024**3,
)


def build(folder: Path, progress: Progress) -> Mapping[str, str]:
    """Fill `folder` with root/usr/bin/{kubelet,kubeadm} and root/usr/lib/pause/pause; minutes."""
    work = folder / "work"
    go, versions = unpacked(work)
    progress.say(f"kubeadm {VERSION}: source ready, compiling (about four minutes on two cores)")
    out = folder / "root" / "usr" / "bin"
    out.mkdir(parents=True)
    go.compile("./cmd/kubeadm", out)
    # kubelet reads the host's users and mounts through libc.
    go.compile("./cmd/kubelet", out, cgo=True)
    pause = folder / "root" / "usr" / "lib" / "pause" / "pause"
    pause.parent.mkdir(parents=True)
    source = str(go.tree / "build" / "pause" / "linux" / "pause.c")
    run(["gcc", "-Os", "-static", "-s", f"-DVERSION={VERSION}", "-o", str(pause), source])
    shutil.rmtree(work)
    return versions
