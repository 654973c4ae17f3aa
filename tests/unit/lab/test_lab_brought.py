"""A lab of programs that somebody brings: believed by what they say, kept by what they hold."""

from __future__ import annotations

import json
import sys
import tarfile
from collections.abc import Mapping
from ipaddress import IPv4Network
from pathlib import Path

import pytest
import yaml

from drrun.errors import LabError
from drrun_lab import brought, cli, etcd, images, kubeadm, units
from drrun_lab.layout import LabSpec, Layout
from drrun_lab.preparation import _wanted
from drrun_lab.progress import Progress
from drrun_lab.record import LabRecord
from drrun_lab.release import Release

SAYS = {
    "etcd": "etcd Version: {}\nGit SHA: 0",
    "etcdctl": "etcdctl version: {}\nAPI version: 3.6",
    "etcdutl": "etcdutl version: {}\nAPI version: 3.6",
    "kube-apiserver": "Kubernetes v{}",
    "kube-controller-manager": "Kubernetes v{}",
    "kube-scheduler": "Kubernetes v{}",
    "kubectl": "Client Version: v{}\nKustomize Version: v5.7.1",
    "kubelet": "Kubernetes v{}",
    "kubeadm": "v{}",
}
"""What programs of today print when they are asked for their version."""
LISTED = """\
registry.k8s.io/kube-apiserver:v1.36.3
registry.k8s.io/kube-controller-manager:v1.36.3
registry.k8s.io/kube-scheduler:v1.36.3
registry.k8s.io/kube-proxy:v1.36.3
registry.k8s.io/coredns/coredns:v1.14.2
registry.k8s.io/pause:3.10.2
registry.k8s.io/etcd:3.6.8-0"""
"""`kubeadm config images list` of 1.36.3."""


def bring(folder: Path, version: str, *names: str, **others: str) -> Path:
    """A folder with programs that say this version."""
    folder.mkdir(exist_ok=True)
    for name in names:
        told = SAYS[name].format(others.get(name.replace("-", "_"), version))
        (folder / name).write_text(
            f"#!/bin/sh\ncase $* in *images*) cat <<X\n{LISTED}\nX\n;; *) cat <<X\n{told}\nX\nesac\n"
        )
        (folder / name).chmod(0o755)
    return folder


KUBE = tuple(name for name in SAYS if name.startswith("kube"))
ETCD = tuple(name for name in SAYS if name.startswith("etcd"))


def test_the_versions_are_what_the_programs_say(tmp_path: Path) -> None:
    """Of both folders, put into the spec: nobody types them."""
    own = LabSpec(
        layout="kubeadm",
        etcd_from=str(bring(tmp_path / "etcd", "3.6.14", *ETCD)),
        kube_from=str(bring(tmp_path / "kube", "1.36.3", *KUBE)),
    )
    told = brought.told(own)
    assert (told.etcd_version, told.kube_version) == ("3.6.14", "1.36.3")
    assert (told.etcd_line, Release.of(told).minor) == ("3.6.14", 36)
    assert f"etcd 3.6.14 of {tmp_path / 'etcd'}" in told.described


def test_without_folders_nothing_is_another() -> None:
    """A lab of Debian's programs asks nobody."""
    assert brought.told(LabSpec()) == LabSpec()
    assert LabSpec().described == repr(LabSpec())
    assert LabSpec().etcd_line == "3.5"


@pytest.mark.parametrize("name", ["etcdctl", "kubelet", "kube-scheduler"])
def test_a_program_that_is_missing_is_named(tmp_path: Path, name: str) -> None:
    """With all that a lab of one's own programs needs; before anything is built."""
    folder = bring(tmp_path / "own", "1.36.3", *SAYS)
    (folder / name).unlink()
    spec = LabSpec(layout="kubeadm", etcd_from=str(folder), kube_from=str(folder))
    with pytest.raises(LabError, match=f"has no {name}") as caught:
        brought.told(spec)
    assert name in caught.value.hint


def test_a_lab_of_units_needs_no_kubelet(tmp_path: Path) -> None:
    """Nor kubeadm."""
    folder = bring(tmp_path, "1.36.3", *(n for n in KUBE if n not in {"kubelet", "kubeadm"}))
    assert brought.told(LabSpec(kube_from=str(folder))).kube_version == "1.36.3"


def test_programs_of_two_releases_are_refused(tmp_path: Path) -> None:
    """A folder into which two releases were unpacked makes a cluster of neither."""
    folder = bring(tmp_path, "1.36.3", *KUBE, kubelet="1.35.6")
    with pytest.raises(LabError, match=r"kube-apiserver is 1\.36\.3, but kubelet 1\.35\.6"):
        brought.told(LabSpec(layout="kubeadm", kube_from=str(folder)))


def test_a_program_that_says_no_version_is_refused(tmp_path: Path) -> None:
    """It is something else."""
    folder = bring(tmp_path, "(devel)", *ETCD)
    with pytest.raises(LabError, match="names no version"):
        brought.told(LabSpec(kube=False, etcd_from=str(folder)))


def test_a_program_of_another_machine_is_a_lab_error(tmp_path: Path) -> None:
    """One that cannot run here could not run in the lab."""
    folder = bring(tmp_path, "3.6.14", *ETCD)
    (folder / "etcd").write_bytes(b"\x7fELF\x02\x01")
    with pytest.raises(LabError, match="does not run on this machine"):
        brought.told(LabSpec(kube=False, etcd_from=str(folder)))


def test_the_cache_knows_programs_by_their_content(tmp_path: Path) -> None:
    """Another build in the same folder is another entry; the same one elsewhere is the same."""
    one, two = (bring(tmp_path / name, "3.6.14", *ETCD) for name in ("one", "two"))
    first = brought.etcd(LabSpec(etcd_from=str(one))).recipe
    assert brought.etcd(LabSpec(etcd_from=str(two))).recipe.key == first.key
    with (one / "etcdctl").open("a") as file:
        file.write("# another build\n")
    assert brought.etcd(LabSpec(etcd_from=str(one))).recipe.key != first.key


def test_the_programs_are_copied(tmp_path: Path) -> None:
    """Runnable, under the version that they say: whatever becomes of the folder then."""
    folder = bring(tmp_path / "own", "3.6.14", *ETCD)
    (folder / "etcdutl").chmod(0o600)
    (tmp_path / "entry").mkdir()
    own = brought.etcd(LabSpec(etcd_from=str(folder)))
    versions = own.build(tmp_path / "entry", Progress(quiet=True))
    assert versions == {"etcd-server": "3.6.14"}
    made = tmp_path / "entry" / "root" / "usr" / "local" / "bin"
    assert sorted(path.name for path in made.iterdir()) == sorted(ETCD)
    assert {path.stat().st_mode & 0o777 for path in made.iterdir()} == {0o755}


def test_a_lab_is_built_of_what_was_brought(tmp_path: Path) -> None:
    """Every other part is as before, and a lab without folders builds none of it."""
    folder = str(bring(tmp_path, "1.36.3", *SAYS))
    own = LabSpec(layout="kubeadm", etcd_from=folder, kube_from=folder)
    names = [recipe.name.rpartition("-")[0] or recipe.name for recipe, _ in _wanted(own)]
    assert names == ["brought", "brought", "brought-kubernetes", "base"]
    assert not [r for r, _ in _wanted(LabSpec(layout="kubeadm")) if r.name.startswith("brought")]


def test_what_was_brought_is_remembered_with_the_lab(tmp_path: Path) -> None:
    """`up` compares it: another release is another lab. A record from before has none."""
    spec = LabSpec(kube=False, etcd_from="/opt/etcd", etcd_version="3.6.14")
    subnet = IPv4Network("10.70.1.0/24")
    LabRecord(Layout("lab", spec, subnet), (), {}).write(tmp_path)
    found = LabRecord.read(tmp_path)
    assert found is not None
    assert found.layout.spec == spec != LabSpec(kube=False)
    path = tmp_path / "lab.json"
    content = json.loads(path.read_text())
    content["spec"] = {"hosts": 3, "etcd": "3.5", "kube": False, "spares": 0, "layout": "systemd"}
    path.write_text(json.dumps(content))
    old = LabRecord.read(tmp_path)
    assert old is not None
    assert old.layout.spec == LabSpec(kube=False)


def test_a_control_plane_for_a_lab_without_one_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is built, with the next move."""
    assert cli.up(kube=False, kube_from=str(tmp_path)) != 0
    assert "leave --no-kube out" in capsys.readouterr().err


# -- what is said differently to each release ---------------------------------------------------


def settings(version: str) -> tuple[Mapping[str, object], ...]:
    """Kubeadm's settings of the first host for a release."""
    spec = LabSpec(layout="kubeadm", kube_version=version, etcd_version="3.6.14")
    layout = Layout("lab", spec, IPv4Network("10.70.1.0/24"))
    tokens = kubeadm.Tokens("abcdef.0123456789abcdef", "a" * 64)
    new = kubeadm.settings(layout, layout.members[0], tokens)
    joined = kubeadm.settings(layout, layout.members[1], tokens)
    return tuple(yaml.safe_load_all(f"{new}---\n{joined}"))


def test_kubeadm_of_today_is_told_in_its_own_words() -> None:
    """v1beta4 with a list of arguments, a URL for the socket, cgroups of version 1 allowed."""
    init, cluster, kubelet, join = settings("1.36.3")
    assert {part["apiVersion"] for part in (init, cluster, join)} == {"kubeadm.k8s.io/v1beta4"}
    assert cluster["kubernetesVersion"] == "v1.36.3"
    assert cluster["imageRepository"] == "registry.k8s.io"
    assert cluster["etcd"]["local"]["imageTag"] == "3.6.14-0"  # type: ignore[index]
    assert cluster["apiServer"]["extraArgs"] == [  # type: ignore[index]
        {"name": "encryption-provider-config", "value": kubeadm.ENCRYPTION}
    ]
    assert kubelet["failCgroupV1"] is False
    for part in (init, join):
        socket = part["nodeRegistration"]["criSocket"]  # type: ignore[index]
        assert socket == "unix:///run/containerd/containerd.sock"


def test_kubeadm_of_debian_is_told_as_before() -> None:
    """And those between have v1beta3."""
    init, cluster, kubelet, _ = settings("1.20.2")
    assert init["apiVersion"] == "kubeadm.k8s.io/v1beta2"
    assert cluster["imageRepository"] == "k8s.gcr.io"
    assert cluster["apiServer"]["extraArgs"] == {  # type: ignore[index]
        "encryption-provider-config": kubeadm.ENCRYPTION
    }
    assert "failCgroupV1" not in kubelet
    assert kubelet["evictionHard"]["memory.available"] == "1Mi"  # type: ignore[index]
    assert settings("1.25.16")[0]["apiVersion"] == "kubeadm.k8s.io/v1beta3"


def test_controllers_have_no_flag_that_is_gone() -> None:
    """`--port` went with 1.24, and a controller with a flag that it does not know does not start."""
    subnet = IPv4Network("10.70.1.0/24")
    ours = Layout("lab", LabSpec(), subnet)
    todays = Layout("lab", LabSpec(kube_version="1.36.3"), subnet)
    for unit in (units.kube_scheduler, units.kube_controller_manager):
        assert "--port=0" in unit(ours)
        assert "--port=" not in unit(todays)


def test_the_images_are_those_that_kubeadm_lists(tmp_path: Path) -> None:
    """Pause and add-ons under the names of the release; of etcd the tag that the settings name."""
    layer = tmp_path / "layer" / "root"
    for place, names in (("usr/bin", ("kubelet", "kubeadm")), ("usr/local/bin", (*ETCD, *KUBE))):
        (layer / place).mkdir(parents=True)
        bring(layer / place, "1.36.3", *names)
    (layer / "usr/lib/pause").mkdir(parents=True)
    (layer / "usr/lib/pause/pause").write_bytes(b"pause")
    spec = LabSpec(layout="kubeadm", etcd_version="3.6.14", kube_version="1.36.3")
    made = images._images(spec, [layer])
    pause, *programs, last = made
    assert {"registry.k8s.io/pause:3.10.2", images.SANDBOX} <= set(pause.names)
    assert "registry.k8s.io/coredns/coredns:v1.14.2" in pause.names
    assert [one.names for one in programs] == [
        (f"registry.k8s.io/kube-{name}:v1.36.3",)
        for name in ("apiserver", "controller-manager", "scheduler")
    ]
    assert last.names == ("registry.k8s.io/etcd:3.6.14-0",)
    # Linked statically: neither a libc nor a shell, as the real one since 3.6.5-0.
    assert set(last.files) == {f"usr/local/bin/{name}" for name in ETCD}
    images.write_archive(made, tmp_path / "images.tar")
    with tarfile.open(tmp_path / "images.tar") as archive:
        assert "manifest.json" in archive.getnames()


def test_what_a_program_is_linked_with_is_read_from_it(tmp_path: Path) -> None:
    """This Python needs a libc; a script names none."""
    assert images.linked(Path(sys.executable)) == (b"ld-linux" in _head(Path(sys.executable)))
    assert images.linked(Path("/bin/sh"))
    assert not images.linked(bring(tmp_path, "3.6.14", "etcd") / "etcd")


def _head(program: Path) -> bytes:
    with program.resolve().open("rb") as file:
        return file.read(4096)


# -- the etcd of Debian sid ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "version"), [("sid", "3.5.30-2"), ("3.5", "3.5.16-4"), ("3.4", "3.4.23-4")]
)
def test_a_line_is_taken_as_long_as_debian_has_it(line: str, version: str) -> None:
    """Of sid any 3.5."""
    etcd.check(line, version)


@pytest.mark.parametrize(("line", "version"), [("sid", "3.6.1-1"), ("3.5", "3.6.0-1")])
def test_a_line_that_moved_on_is_refused_with_the_next_move(line: str, version: str) -> None:
    """A lab of another release than its name would prove something else."""
    with pytest.raises(LabError, match=version) as caught:
        etcd.check(line, version)
    assert "--etcd-from" in caught.value.hint


def test_lab_build_goes_on_without_the_etcd_of_sid(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sid moves: what CI proves does not hang on it. It is told, and any other line is needed."""
    built: list[str] = []

    def prepare(spec: LabSpec, progress: Progress) -> None:
        if spec.etcd == refuses:
            raise LabError("no etcd there")
        built.append(spec.etcd)

    monkeypatch.setattr("drrun_lab.preparation.prepare", prepare)
    monkeypatch.setattr("drrun_lab.packages.require_root", lambda doing: None)
    refuses = "sid"
    assert cli.build() == 0
    assert built == ["3.5", "3.4"]
    assert "skipped: --etcd sid: no etcd there" in capsys.readouterr().err
    refuses = "3.4"
    assert cli.build() != 0
