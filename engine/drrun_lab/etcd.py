"""etcd's binaries, from Debian's packages: two lines of releases to rehearse on, and a newer one.

3.5 has `etcdutl` and restores with `--bump-revision`; 3.4 has neither, which a runbook must
cope with. Trixie's build runs on bookworm's libc. Versions in a suite move: the newest available
is taken and recorded.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from drrun.errors import LabError
from drrun_lab.cache import Recipe
from drrun_lab.packages import Archive
from drrun_lab.progress import Progress

NEWEST = "sid"
"""Whatever sid has: what members are upgraded to, and a line of the lab while it is a 3.5."""
SUITES: Mapping[str, str] = {"3.5": "trixie", "3.4": "bookworm", NEWEST: "sid"}
DEFAULT = "3.5"
_PACKAGES = ("etcd-server", "etcd-client")
_EDITION = "1"


def recipe(line: str) -> Recipe:
    """The recipe of a release line, `3.5`, `3.4` or `sid`. Raises LabError for another."""
    if line not in SUITES:
        known = ", ".join(SUITES)
        raise LabError(f"no etcd {line} for the lab", hint=f"choose one of: {known}")
    text = repr((_EDITION, line, SUITES[line], _PACKAGES))
    return Recipe(name=f"etcd-{line}", text=text, room=1024**3)


def check(line: str, version: str) -> None:
    """Refuse a line of the lab that Debian does not have any more, with a LabError."""
    wanted = "3.5." if line == NEWEST else f"{line}."
    if not version.startswith(wanted):
        raise LabError(
            f"{SUITES[line]} has etcd {version}, and no {wanted}x",
            hint="`--etcd 3.5` and `--etcd 3.4` are there; or bring your own: --etcd-from FOLDER",
        )


def build(line: str, folder: Path, progress: Progress) -> Mapping[str, str]:
    """Fill `folder` with root/usr/local/bin/etcd*; return the package versions."""
    work = folder / "work"
    progress.say(f"etcd {line}: downloading from {SUITES[line]}")
    versions = Archive(work / "apt", SUITES[line]).unpack(_PACKAGES, work / "root")
    if line != NEWEST:  # which members are upgraded to, whatever it is by now
        check(line, versions["etcd-server"])
    out = folder / "root" / "usr" / "local" / "bin"
    out.mkdir(parents=True)
    for binary in (work / "root" / "usr" / "bin").glob("etcd*"):
        shutil.copy2(binary, out / binary.name)
    shutil.rmtree(work)
    return versions
