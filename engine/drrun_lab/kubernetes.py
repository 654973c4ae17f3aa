"""Kubernetes 1.20.2's binaries, built from Debian's source package with Debian's Go.

Debian has no binary packages of the control plane, but its source package holds the whole tree
with vendor/, so nothing but a Debian mirror is needed. Three things stand between that tree and
a working build:

- the API server's OpenAPI definitions are generated, and are not in the package;
- the version is stamped by upstream's release scripts: without it clients see v0.0.0;
- the vendored reflect2 1.0.1 panics under Go 1.18 and later as soon as JSON meets a map;
  Debian's 1.0.2 is laid over it, the tree stays as it is.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from drrun.errors import LabError
from drrun_lab.cache import Recipe
from drrun_lab.commands import DIE_WITH_CALLER, run
from drrun_lab.packages import Archive
from drrun_lab.progress import Progress

VERSION = "1.20.2"
SUITE = "bookworm"
_COMMIT = "faecb196815e248d3ecfb03c680a4507229c2a56"
BINARIES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
_REFLECT2 = "golang-github-modern-go-reflect2-dev"
_ROOT_PACKAGE = "k8s.io/kubernetes"
_NOT_GENERATED = ("code-generator", "sample-apiserver", "_examples", "test", "testing", "testdata")
_RECIPE_EDITION = "1"

RECIPE = Recipe(
    name=f"kubernetes-{VERSION}",
    text=f"{_RECIPE_EDITION} {SUITE} {VERSION} {_COMMIT} {' '.join(BINARIES)} reflect2 static",
    room=7 * 1024**3,
)


def build(folder: Path, progress: Progress) -> Mapping[str, str]:
    """Fill `folder` with root/usr/local/bin/kube*; return versions. Minutes on two cores."""
    work = folder / "work"
    go, versions = unpacked(work)
    go.generate_openapi()
    progress.say(f"kubernetes {VERSION}: source ready, compiling (about four minutes on two cores)")
    out = folder / "root" / "usr" / "local" / "bin"
    out.mkdir(parents=True)
    for binary in BINARIES:
        go.compile(f"./cmd/{binary}", out)
        progress.say(f"kubernetes {VERSION}: {binary} compiled")
    shutil.rmtree(work)
    return versions


def unpacked(work: Path) -> tuple[Go, dict[str, str]]:
    """Unpack the source and what is laid over it into `work`; return a Go for it, and versions.

    Raises LabError when the suite has another version than ours.
    """
    archive = Archive(work / "apt", SUITE)
    tree = work / "go" / "src" / _ROOT_PACKAGE
    tree.parent.mkdir(parents=True)
    versions = {"kubernetes-source": archive.source("kubernetes", tree)}
    if VERSION not in versions["kubernetes-source"]:
        raise LabError(
            f"{SUITE}'s kubernetes source is {versions['kubernetes-source']}, not {VERSION}"
        )
    versions |= archive.unpack([_REFLECT2], work / "reflect2")
    versions["go"] = run(["go", "version"]).strip()
    return Go(work, tree), versions


class Go:
    """Debian's Go in GOPATH mode, on one unpacked tree."""

    def __init__(self, work: Path, tree: Path) -> None:
        self.tree = tree
        self._overlay = work / "overlay.json"
        self._overlay.write_text(json.dumps({"Replace": _reflect2(work, tree)}))
        self._environment = {
            "GO111MODULE": "off",
            "GOPATH": str(work / "go"),
            "GOCACHE": str(work / "cache"),
            "GOTMPDIR": str(work),
            "GOFLAGS": "",
            "GOTOOLCHAIN": "local",
            "CGO_ENABLED": "0",
        }

    def compile(self, package: str, out: Path, *, cgo: bool = False) -> None:
        """Build one command with its version stamped in, statically unless it needs C."""
        command = [
            *("go", "build", "-overlay", str(self._overlay)),
            *("-ldflags", _stamp(), "-o", f"{out}/", package),
        ]
        self._run(command, timeout=1800, more={"CGO_ENABLED": "1"} if cgo else {})

    def generate_openapi(self) -> None:
        """Make pkg/generated/openapi, as the upstream Makefile does."""
        generator = self.tree.parents[3] / "openapi-gen"
        package = "./vendor/k8s.io/kube-openapi/cmd/openapi-gen"
        self._run(["go", "build", "-o", str(generator), package], timeout=600)
        license_text = "vendor/k8s.io/code-generator/hack/boilerplate.go.txt"
        command = [
            *(str(generator), "-O", "zz_generated.openapi", "-h", license_text),
            *("-p", f"{_ROOT_PACKAGE}/pkg/generated/openapi"),
            *("-r", str(generator.with_suffix(".report")), "-i", ",".join(_described(self.tree))),
        ]
        self._run(command, timeout=600)

    def _run(
        self, command: list[str], timeout: float, more: Mapping[str, str] | None = None
    ) -> None:
        polite = [*DIE_WITH_CALLER, "nice", "-n", "5", *command]
        environment = {**self._environment, **(more or {})}
        run(polite, timeout=timeout, cwd=self.tree, env=environment)


def _described(tree: Path) -> list[str]:
    """Import paths of the packages whose types appear in the API's description."""
    found: set[str] = set()
    for top in ("pkg", "cmd", "staging/src/k8s.io"):
        for source in (tree / top).rglob("*.go"):
            folder = source.parent.relative_to(tree)
            if set(folder.parts) & set(_NOT_GENERATED):
                continue
            if b"+k8s:openapi-gen=" in source.read_bytes():
                found.add(str(folder).replace("staging/src/", "vendor/", 1))
    return [f"{_ROOT_PACKAGE}/{folder}" for folder in sorted(found)]


def _reflect2(work: Path, tree: Path) -> dict[str, str]:
    """Go's overlay: Debian's reflect2 in place of the vendored one, its extra files removed."""
    new = work / "reflect2/usr/share/gocode/src/github.com/modern-go/reflect2"
    old = tree / "vendor/github.com/modern-go/reflect2"
    names = {
        path.name
        for folder in (old, new)
        for path in folder.iterdir()
        if path.suffix in {".go", ".s"} and not path.name.endswith("_test.go")
    }
    return {str(old / name): str(new / name) if (new / name).exists() else "" for name in names}


def _stamp() -> str:
    """Linker flags that upstream's release scripts would pass."""
    major, minor, _ = VERSION.split(".")
    values = {
        "gitVersion": f"v{VERSION}",
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
        "gitCommit": _COMMIT,
        "buildDate": "2021-01-13T13:20:00Z",
    }
    places = [
        f"{prefix}k8s.io/{package}"
        for prefix in (f"{_ROOT_PACKAGE}/vendor/", "")
        for package in ("component-base/version", "client-go/pkg/version")
    ]
    marks = [f"-X {place}.{name}={value}" for place in places for name, value in values.items()]
    return " ".join(["-s -w", *marks])
