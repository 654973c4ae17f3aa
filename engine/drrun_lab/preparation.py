"""Getting ready what a lab is made of: this machine's tools and the cache's entries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from drrun_lab import base, brought, etcd, images, kubernetes, node_binaries, node_layer
from drrun_lab.cache import Cache, Recipe
from drrun_lab.layout import LabSpec
from drrun_lab.packages import BUILD_TOOLS, RUN_TOOLS, install_missing
from drrun_lab.places import cache_folder
from drrun_lab.progress import Progress

_Build = Callable[[Path, Progress], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Ingredients:
    """Read-only layers of the hosts' disks, uppermost first, and the versions in them."""

    layers: tuple[Path, ...]
    versions: Mapping[str, str]
    images: Path | None = None
    """What containerd of a kubeadm host begins with."""


def prepare(spec: LabSpec, progress: Progress) -> Ingredients:
    """Return the layers for a spec; build those that are missing, at the same time.

    Raises LabError when a tool cannot be installed or a build fails.
    """
    install_missing(RUN_TOOLS, progress)
    cache = Cache(cache_folder(), progress)
    wanted = _wanted(spec)
    if not all(cache.find(recipe) for recipe, _ in wanted):
        install_missing(BUILD_TOOLS, progress)
        progress.say(f"filling the cache in {cache.root}: this happens once")

    def obtain(item: tuple[Recipe, _Build]) -> tuple[Path, Mapping[str, str]]:
        recipe, build = item
        entry = cache.obtain(recipe, lambda folder: build(folder, progress))
        return entry.folder / "root", entry.record

    with ThreadPoolExecutor(len(wanted)) as pool:
        made = list(pool.map(obtain, wanted))
    versions = {name: version for _, record in made for name, version in record.items()}
    if not spec.etcd_from:
        etcd.check(spec.etcd, versions["etcd-server"])
    layers = tuple(layer for layer, _ in made)
    if spec.layout == "kubeadm":
        return _with_nodes(spec, cache, Ingredients(layers, versions), progress)
    return Ingredients(layers, versions)


def etcd_release(line: str, progress: Progress) -> tuple[Path, str]:
    """The folder with the programs of a release of etcd, built if need be, and its version as 3.5.30."""
    cache = Cache(cache_folder(), progress)
    made = cache.obtain(etcd.recipe(line), lambda folder: etcd.build(line, folder, progress))
    return made.folder / "root/usr/local/bin", made.record["etcd-server"].partition("-")[0]


def _with_nodes(spec: LabSpec, cache: Cache, below: Ingredients, progress: Progress) -> Ingredients:
    """Add what stands on the others: the layer of nodes over the base, and images of them all."""
    *upper, lowest = below.layers
    node = cache.obtain(
        node_layer.RECIPE, lambda folder: node_layer.build(lowest, folder, progress)
    )
    layers = (*upper, node.folder / "root", lowest)
    kept = cache.obtain(
        images.recipe(spec, [layer.parent.name for layer in layers]),
        lambda folder: images.build(spec, layers, folder, progress),
    )
    versions = {**below.versions, **node.record, **kept.record}
    return Ingredients(layers, versions, kept.folder / "root")


def _wanted(spec: LabSpec) -> list[tuple[Recipe, _Build]]:
    """Recipes with their builds; the first is the uppermost layer."""

    def build_etcd(folder: Path, progress: Progress) -> Mapping[str, str]:
        return etcd.build(spec.etcd, folder, progress)

    def ours_or_brought(ours: tuple[Recipe, _Build], own: brought.Programs | None) -> None:
        wanted.append((own.recipe, own.build) if own else ours)

    wanted: list[tuple[Recipe, _Build]] = []
    own_etcd = brought.etcd(spec) if spec.etcd_from else None
    ours_or_brought((etcd.recipe(spec.etcd), build_etcd), own_etcd)
    if spec.kube:
        own = brought.control_plane(spec) if spec.kube_from else None
        ours_or_brought((kubernetes.RECIPE, kubernetes.build), own)
    if spec.layout == "kubeadm":
        own = brought.node(spec) if spec.kube_from else None
        ours_or_brought((node_binaries.RECIPE, node_binaries.build), own)
    wanted.append((base.RECIPE, base.build))
    return wanted
