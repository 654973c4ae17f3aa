"""Labs of programs that somebody brings, and of the etcd of Debian sid, on real hosts.

What is brought are copies of Debian's programs: no release that Debian lacks is there to be tried.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from drrun.errors import LabError
from drrun_lab import Lab, LabSpec, Progress, brought, rehearsal
from drrun_lab.kubernetes import BINARIES
from drrun_lab.preparation import prepare

pytestmark = [
    pytest.mark.lab,
    pytest.mark.long,
    pytest.mark.skipif(os.geteuid() != 0, reason="booting hosts needs root"),
    pytest.mark.timeout(900),
]


def copied(spec: LabSpec, names: tuple[str, ...], folder: Path) -> str:
    """A folder with programs of a spec's own layers, as one unpacks a release."""
    folder.mkdir()
    layers = prepare(spec, Progress(quiet=True)).layers
    for name in names:
        places = (
            layer / place / name for layer in layers for place in ("usr/local/bin", "usr/bin")
        )
        shutil.copy2(next(place for place in places if place.exists()), folder / name)
    return str(folder)


def test_a_cluster_of_brought_programs(tmp_path: Path) -> None:
    """kubeadm, kubelet, the images and etcd are those of the folders; a folder that is gone is told."""
    pods = LabSpec(layout="kubeadm")
    kube, etcd = tmp_path / "kube", tmp_path / "etcd"
    spec = LabSpec(
        hosts=1,
        layout="kubeadm",
        etcd_from=copied(pods, (*brought.ETCD, *brought.ETCD_TOO), etcd),
        kube_from=copied(pods, (*BINARIES, *brought.NODE), kube),
    )
    lab = Lab.up("labtest-own", spec, progress=Progress())
    try:
        told = lab.layout.spec
        assert told.kube_version == "1.20.2"
        assert told.etcd_version.startswith("3.5.")
        manifest = lab.ssh("cp1", "cat /etc/kubernetes/manifests/etcd.yaml").stdout
        assert f"k8s.gcr.io/etcd:{told.etcd_version}-0" in manifest
        assert rehearsal.write_objects(lab, "own", 3) == rehearsal.read_objects(lab)
        assert Lab.up("labtest-own", spec, progress=Progress(quiet=True)).layout == lab.layout
        shutil.rmtree(etcd)
        with pytest.raises(LabError, match="has no etcd"):
            Lab.up("labtest-own", spec, progress=Progress(quiet=True))
        lab.reset()
        assert rehearsal.read_objects(lab) == {}
    finally:
        lab.down()


def test_the_etcd_of_sid() -> None:
    """A 3.5 that is newer than trixie's; once sid has another, that is printed."""
    try:
        prepare(LabSpec(etcd="sid", kube=False), Progress())
    except LabError as error:
        pytest.skip(error.message)
    lab = Lab.up("labtest-sid", LabSpec(etcd="sid", kube=False), progress=Progress())
    try:
        assert rehearsal.disagreement(rehearsal.members(lab)) == ""
        version = lab.ssh("cp1", "etcd --version | head -n1").stdout.split()[-1]
        assert lab.record.versions["etcd-server"].startswith(version)
        print(f"\nsid: etcd {version}")
    finally:
        lab.down()
