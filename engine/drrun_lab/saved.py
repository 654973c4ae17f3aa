"""A cluster that took minutes to make, kept in the cache so that the next lab boots a copy of it.

Rule 1: certificates hold addresses, so that a saved cluster belongs to one shape and one subnet.
Rule 2: what is kept is a lab's pristine disks, and what is needed to reach it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from drrun_lab.cache import Cache, Entry, Recipe
from drrun_lab.commands import run
from drrun_lab.layout import Layout

FILES = ("id_ed25519", "id_ed25519.pub", "known_hosts", "ca.crt", "admin.conf")
"""Who a lab is and how it is reached: the same in every copy."""
UID = "cluster_uid"
_EDITION = "2"


def recipe(layout: Layout, ingredients: str) -> Recipe:
    """The recipe of a lab's cluster. `ingredients` name all that its hosts are made of."""
    text = repr((_EDITION, layout.spec, str(layout.subnet), ingredients))
    return Recipe(name=f"cluster-{layout.spec.layout}", text=text, room=2 * 1024**3)


def find(cache: Cache, layout: Layout, ingredients: str) -> Entry | None:
    """The saved cluster of this shape and subnet, if one was kept."""
    return cache.find(recipe(layout, ingredients))


def keep(cache: Cache, layout: Layout, ingredients: str, folder: Path, uid: str) -> None:
    """Keep a lab's pristine disks and identity in the cache."""

    def build(entry: Path) -> Mapping[str, str]:
        copy([*(folder / name for name in FILES), folder / "pristine"], entry)
        return {UID: uid}

    cache.obtain(recipe(layout, ingredients), build)


def unpack(entry: Entry, folder: Path) -> str:
    """Put a saved cluster's disks and identity into a lab's folder; return its uid."""
    copy([*(entry.folder / name for name in FILES), entry.folder / "pristine"], folder)
    return entry.record[UID]


def copy(sources: list[Path], to: Path) -> None:
    """Copy files and disks as they are; holes stay holes."""
    words = [str(source) for source in sources]
    run(["cp", "--archive", "--sparse=always", "--reflink=auto", *words, str(to)], timeout=300)
