"""Programs that somebody brings: a release of etcd or of Kubernetes that Debian does not have.

Rule 1: they are copied into the cache under the digest of their content: a lab goes on with what it
was made of, whatever becomes of the folder.
Rule 2: a version is what the programs say; those of one release say the same.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from drrun.errors import LabError
from drrun_lab.cache import Recipe
from drrun_lab.commands import run
from drrun_lab.kubernetes import BINARIES
from drrun_lab.layout import LabSpec
from drrun_lab.progress import Progress

ETCD, ETCD_TOO = ("etcd", "etcdctl"), ("etcdutl",)
"""What a release of etcd has; etcdutl came with 3.5."""
NODE = ("kubelet", "kubeadm")
"""What a host of kubeadm runs besides the control plane."""
_EDITION = "1"
_ASKED: Mapping[str, Sequence[str]] = {
    "kubeadm": ("version", "-o", "short"),
    "kubectl": ("version", "--client"),
}
_VERSION = re.compile(r"v?([0-9]+\.[0-9]+\.[0-9]+)")
_PAUSE = """\
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
static void reap(int s) { (void)s; while (waitpid(-1, 0, WNOHANG) > 0); }
static void end(int s) { (void)s; _exit(0); }
int main(void) {
  signal(SIGINT, end); signal(SIGTERM, end); signal(SIGCHLD, reap);
  for (;;) pause();
}
"""


@dataclass(frozen=True, slots=True)
class Programs:
    """Programs of one release in a folder of somebody's. `place` is where a host has them."""

    what: str
    folder: Path
    names: tuple[str, ...]
    place: str

    @property
    def recipe(self) -> Recipe:
        """An entry of the cache for exactly these contents."""
        digests = []
        for name in self.names:
            with (self.folder / name).open("rb") as file:
                digests.append((name, hashlib.file_digest(file, "sha256").hexdigest()))
        text = repr((_EDITION, self.what, self.place, digests, _PAUSE))
        return Recipe(name=f"brought-{self.what}", text=text, room=1024**3)

    def build(self, folder: Path, progress: Progress) -> Mapping[str, str]:
        """Copy them below `folder`/root; return the version."""
        version = version_of(self.folder, self.names[:1])
        progress.say(f"{self.what} {version}: taken from {self.folder}")
        out = folder / "root" / self.place
        out.mkdir(parents=True)
        for name in self.names:
            shutil.copy2(self.folder / name, out / name)
            (out / name).chmod(0o755)
        if "kubelet" in self.names:
            _compile_pause(folder)
            return {"kubernetes-node": version}
        return {"etcd-server" if self.what == "etcd" else "kubernetes": version}


def etcd(spec: LabSpec) -> Programs:
    """The etcd that a spec brings."""
    folder = Path(spec.etcd_from)
    there = tuple(name for name in ETCD_TOO if (folder / name).is_file())
    return Programs("etcd", folder, (*ETCD, *there), "usr/local/bin")


def control_plane(spec: LabSpec) -> Programs:
    """The control plane that a spec brings."""
    return Programs("kubernetes", Path(spec.kube_from), BINARIES, "usr/local/bin")


def node(spec: LabSpec) -> Programs:
    """What a spec's hosts of kubeadm run besides."""
    return Programs("kubernetes-node", Path(spec.kube_from), NODE, "usr/bin")


def told(spec: LabSpec) -> LabSpec:
    """The spec with the versions that its folders hold. Raises LabError when one is incomplete."""
    if spec.etcd_from:
        spec = replace(spec, etcd_version=version_of(Path(spec.etcd_from), ETCD))
    if spec.kube_from:
        names = (*BINARIES, *(NODE if spec.layout == "kubeadm" else ()))
        spec = replace(spec, kube_version=version_of(Path(spec.kube_from), names))
    return spec


def version_of(folder: Path, names: Sequence[str]) -> str:
    """The version, as 3.6.14, that all of these programs say of themselves.

    Raises LabError when one is missing, says none, or is of another release than the first.
    """
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise LabError(
            f"{folder} has no {', '.join(missing)}",
            hint=f"a lab of your own programs needs all of: {', '.join(names)}",
        )
    said = {name: _said(folder / name, name) for name in names}
    others = {name: version for name, version in said.items() if version != said[names[0]]}
    if others:
        listed = ", ".join(f"{name} {version}" for name, version in others.items())
        raise LabError(f"{folder}: {names[0]} is {said[names[0]]}, but {listed}: one release only")
    return said[names[0]]


def _said(program: Path, name: str) -> str:
    words = ("version",) if name in {"etcdctl", "etcdutl"} else _ASKED.get(name, ("--version",))
    try:
        found = _VERSION.search(run([str(program.absolute()), *words], timeout=30))
    except OSError as exc:
        raise LabError(f"{program} does not run on this machine: {exc.strerror}") from exc
    if found is None:
        raise LabError(f"{program} {' '.join(words)} names no version")
    return found[1]


def _compile_pause(folder: Path) -> None:
    """What holds a pod's namespaces: a release's own is only in its image."""
    pause, source = folder / "root/usr/lib/pause/pause", folder / "pause.c"
    pause.parent.mkdir(parents=True)
    source.write_text(_PAUSE)
    run(["gcc", "-Os", "-static", "-s", "-o", str(pause), str(source)])
    source.unlink()
