"""The images of a kubeadm control plane, made by hand and imported once: no registry, no docker.

Rule 1: an image is one layer that holds one program and what it is linked with.
Rule 2: what containerd keeps of them is made once for all hosts; a host gets hard links to it, and
real copies of containerd's databases, which it writes.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drrun_lab.cache import Recipe
from drrun_lab.commands import DIE_WITH_CALLER, attempt, run
from drrun_lab.layout import LabSpec
from drrun_lab.progress import Progress
from drrun_lab.release import Release

SANDBOX = "k8s.gcr.io/pause:3.2"
"""What containerd of every lab takes to hold a pod's namespaces, whatever the release calls it."""
_CREATED = "2021-01-13T13:20:00Z"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
_LIBRARIES = ("lib/x86_64-linux-gnu/libc.so.6", "lib64/ld-linux-x86-64.so.2")
_EDITION = "2"

_IMPORT = """
set -eu
mount -t overlay overlay -o "lowerdir=$LAYERS,upperdir=$UPPER,workdir=$WORK" "$MERGED"
mkdir -p "$MERGED/var/lib/containerd" "$MERGED/mnt"
mount --bind "$KEPT" "$MERGED/var/lib/containerd"
mount -t proc proc "$MERGED/proc"
mount -t tmpfs tmpfs "$MERGED/run"
mount --bind /dev "$MERGED/dev"
mount --bind "$ARCHIVES" "$MERGED/mnt"
chroot "$MERGED" containerd --log-level error & child=$!
for _ in $(seq 300); do
  chroot "$MERGED" ctr version >/dev/null 2>&1 && break
  sleep 0.1
done
chroot "$MERGED" ctr -n k8s.io images import /mnt/images.tar
kill "$child"; wait "$child" || :
"""


@dataclass(frozen=True, slots=True)
class Image:
    """An image: its names, and its files by their paths in it. `entry` is what it runs."""

    names: tuple[str, ...]
    files: Mapping[str, Path]
    entry: tuple[str, ...] = ()


def etcd_tag(spec: LabSpec) -> str:
    """The tag of etcd's image: of a line of releases, or of the release that was brought."""
    return f"{spec.etcd_line}-0"


def recipe(spec: LabSpec, ingredients: Sequence[str]) -> Recipe:
    """The recipe for a spec's images. `ingredients` are the keys of what goes into them."""
    text = repr((_EDITION, spec.etcd_line, tuple(ingredients), _LIBRARIES, _IMPORT))
    return Recipe(name=f"images-etcd-{spec.etcd_line}", text=text, room=3 * 1024**3)


def build(
    spec: LabSpec, layers: Sequence[Path], folder: Path, progress: Progress
) -> Mapping[str, str]:
    """Fill `folder`/root, a /var/lib/containerd with the images imported."""
    progress.say("making the images of the control plane and importing them into containerd")
    places = {
        "UPPER": folder / "upper",
        "WORK": folder / "work",
        "MERGED": folder / "merged",
        "ARCHIVES": folder / "archives",
        "KEPT": folder / "root",
    }
    for place in places.values():
        place.mkdir()
    write_archive(_images(spec, layers), places["ARCHIVES"] / "images.tar")
    environment = {name: str(place) for name, place in places.items()}
    environment["LAYERS"] = ":".join(str(layer) for layer in layers)
    run([*DIE_WITH_CALLER, "sh", "-c", _IMPORT], timeout=300, env=environment)
    for name in ("UPPER", "WORK", "MERGED", "ARCHIVES"):
        shutil.rmtree(places[name])
    return {"images": f"kubernetes v{Release.of(spec).version}, etcd {spec.etcd_line}"}


def furnish(kept: Path, folder: Path) -> None:
    """Make a host's /var/lib/containerd of what was kept: links to all but the databases."""
    shutil.rmtree(folder, ignore_errors=True)
    linked = ["cp", "--archive", "--link", str(kept), str(folder)]
    if not attempt(linked, timeout=60).ok:  # another file system: links cannot reach there
        shutil.rmtree(folder, ignore_errors=True)
        run(["cp", "--archive", "--sparse=always", str(kept), str(folder)], timeout=120)
    for database in kept.rglob("*.db"):
        own = folder / database.relative_to(kept)
        own.unlink()
        shutil.copy2(database, own)


def write_archive(images: Sequence[Image], path: Path) -> None:
    """Write images as `docker save` would."""
    listed = []
    with tarfile.open(path, "w") as archive:
        for image in images:
            layer = _layer(image.files)
            digest = hashlib.sha256(layer).hexdigest()
            config = json.dumps(_config(image, digest)).encode()
            name = f"{hashlib.sha256(config).hexdigest()}.json"
            _add(archive, f"{digest}/layer.tar", layer)
            _add(archive, name, config)
            listed.append(
                {"Config": name, "RepoTags": image.names, "Layers": [f"{digest}/layer.tar"]}
            )
        _add(archive, "manifest.json", json.dumps(listed).encode())


def _images(spec: LabSpec, layers: Sequence[Path]) -> list[Image]:
    def found(name: str) -> Path:
        return next(layer / name for layer in layers if (layer / name).exists())

    release = Release.of(spec)
    listed = listed_by(found("usr/bin/kubeadm"), release)
    programs = {name: f"{release.registry}/{name}:v{release.version}" for name in _COMPONENTS}
    etcd = f"{release.registry}/etcd:"
    # kubeadm's preflight pulls the add-ons even when none is asked for; nothing ever runs them.
    others = [name for name in listed if name not in programs.values() and etcd not in name]
    names = tuple(dict.fromkeys([SANDBOX, *others]))
    images = [Image(names, {"pause": found("usr/lib/pause/pause")}, ("/pause",))]
    for name, image in programs.items():
        place = f"usr/local/bin/{name}"
        images.append(Image((image,), {place: found(place)}))
    tools = [f"usr/local/bin/{name}" for name in ("etcd", "etcdctl", "etcdutl")]
    there = {tool: found(tool) for tool in tools if any((one / tool).exists() for one in layers)}
    # A release is linked statically, and its image has neither a libc nor a shell.
    libraries = _LIBRARIES if any(linked(tool) for tool in there.values()) else ()
    files = {**there, **{name: found(name) for name in libraries}}
    images.append(Image((f"{etcd}{etcd_tag(spec)}",), files))
    return images


def listed_by(kubeadm: Path, release: Release) -> list[str]:
    """The images that a kubeadm wants for its release; it asks nobody when it is told which."""
    which = ("--kubernetes-version", f"v{release.version}", "--image-repository", release.registry)
    return run([str(kubeadm), "config", "images", "list", *which], timeout=60).split()


def linked(program: Path) -> bool:
    """Whether a program needs a libc beside it: its ELF header names what loads it."""
    with program.resolve().open("rb") as file:
        return b"/lib64/ld-linux" in file.read(4096)


def _layer(files: Mapping[str, Path]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as layer:
        folders = {"tmp", "etc"}
        for name in files:
            folders |= {str(parent) for parent in Path(name).parents} - {"."}
        for name in sorted(folders):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            layer.addfile(entry)
        for name, source in files.items():
            _add(layer, name, source.resolve().read_bytes(), 0o755)
    return content.getvalue()


def _config(image: Image, digest: str) -> dict[str, object]:
    runs: dict[str, object] = {"Env": [_PATH]}
    if image.entry:
        runs["Entrypoint"] = list(image.entry)
    return {
        "architecture": "amd64",
        "os": "linux",
        "created": _CREATED,
        "config": runs,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created": _CREATED, "created_by": "drrun lab"}],
    }


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), mode
    archive.addfile(entry, io.BytesIO(content))
