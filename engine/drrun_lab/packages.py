"""Debian packages: the tools this machine lacks, and archives of other suites to unpack.

Rule 1: other suites are read with a sources list and state of their own; this machine's apt
configuration is never changed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from drrun.errors import LabError
from drrun_lab.commands import run
from drrun_lab.progress import Progress

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_DEFAULT_MIRROR = "http://deb.debian.org/debian"

RUN_TOOLS = {
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "nft": "nftables",
    "ssh": "openssh-client",
}
"""Commands that a running lab needs, and the packages they come from."""

BUILD_TOOLS = {
    "debootstrap": "debootstrap",
    "dpkg-source": "dpkg-dev",
    "go": "golang-go",
    "xz": "xz-utils",
    "patch": "patch",
    "gcc": "gcc",
}
"""Commands that filling the cache needs besides."""


def require_root(doing: str) -> None:
    """Refuse an ordinary user. Raises LabError that names what root is needed for."""
    if os.geteuid() != 0:
        raise LabError(
            f"{doing} needs root: it mounts host disks, makes a network bridge and boots "
            "machines with systemd-nspawn",
            hint="run the same command with sudo",
        )


def install_missing(tools: dict[str, str], progress: Progress) -> None:
    """Install the packages of those tools that are not in PATH. Prints what it installs."""
    missing = sorted({package for tool, package in tools.items() if not shutil.which(tool)})
    if not missing:
        return
    require_root("installing " + ", ".join(missing))
    command = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    progress.say("installing what is missing: " + " ".join(command))
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    lock = ["-o", "DPkg::Lock::Timeout=300"]
    run(["apt-get", *lock, "-q", "update"], timeout=300, env=quiet)
    run([command[0], *lock, "-q", *command[1:]], timeout=900, env=quiet)


def mirror() -> str:
    """The Debian mirror this machine uses, so that a local mirror serves the lab as well."""
    listed = run(["apt-get", "indextargets", "--format", "$(SITE)"], timeout=60).split()
    sites = [site for site in listed if site.rstrip("/").endswith("/debian")]
    return sites[0] if sites else _DEFAULT_MIRROR


class Archive:
    """One suite of Debian, read through apt with its own sources list and state."""

    def __init__(self, folder: Path, suite: str) -> None:
        self.suite = suite
        self._files = folder / "files"
        for part in ("lists/partial", "cache/archives/partial", "files"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        sources = folder / "sources.list"
        site = mirror()
        sources.write_text(
            "".join(
                f"{kind} [signed-by={KEYRING}] {site} {suite} main\n" for kind in ("deb", "deb-src")
            )
        )
        self._options = [
            *("-q", "-o", f"Dir::Etc::sourcelist={sources}", "-o", "Dir::Etc::sourceparts=-"),
            *("-o", f"Dir::State::Lists={folder}/lists", "-o", f"Dir::Cache={folder}/cache"),
            *("-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=3"),
        ]
        run(["apt-get", *self._options, "update"], timeout=300)

    def unpack(self, packages: Sequence[str], into: Path) -> dict[str, str]:
        """Download packages and unpack their files; return the versions, newest in the suite."""
        versions: dict[str, str] = {}
        for package in packages:
            run(["apt-get", *self._options, "download", package], timeout=300, cwd=self._files)
            deb = next(self._files.glob(f"{package}_*.deb"))
            versions[package] = unquote(deb.name.split("_")[1])
            run(["dpkg", "-x", str(deb), str(into)], timeout=120)
        return versions

    def source(self, package: str, into: Path) -> str:
        """Download a source package and unpack it with Debian's patches; return its version."""
        fetch = ["apt-get", *self._options, "source", "--download-only", package]
        run(fetch, timeout=600, cwd=self._files)
        dsc = next(self._files.glob(f"{package}_*.dsc"))
        run(["dpkg-source", "--no-check", "-x", str(dsc), str(into)], timeout=300, cwd=self._files)
        return unquote(dsc.stem.split("_", 1)[1])
