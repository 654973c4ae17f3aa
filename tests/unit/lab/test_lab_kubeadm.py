"""What a kubeadm lab is made of: settings, images, links to them, and what its shape allows."""

from __future__ import annotations

import hashlib
import json
import tarfile
from ipaddress import IPv4Network
from pathlib import Path

import pytest
import yaml

from drrun.errors import LabError
from drrun_lab import images, kubeadm, saved
from drrun_lab.images import Image
from drrun_lab.inventory import inventory_text
from drrun_lab.keys import SshKey
from drrun_lab.layout import LabSpec, Layout
from drrun_lab.provision import Credentials, host_files
from drrun_lab.record import LabRecord

LAYOUT = Layout("lab", LabSpec(layout="kubeadm"), IPv4Network("10.70.1.0/24"))
TOKENS = kubeadm.Tokens("abcdef.0123456789abcdef", "a" * 64)


def test_the_first_host_makes_the_cluster_and_the_others_join_it() -> None:
    """Every kubeadm is told its own address, and reaches the others through the load balancer."""
    first, second = LAYOUT.members[:2]
    new = list(yaml.safe_load_all(kubeadm.settings(LAYOUT, first, TOKENS)))
    assert [part["kind"] for part in new] == [
        "InitConfiguration",
        "ClusterConfiguration",
        "KubeletConfiguration",
    ]
    assert new[1]["controlPlaneEndpoint"] == f"{LAYOUT.haproxy_address}:6443"
    (joined,) = yaml.safe_load_all(kubeadm.settings(LAYOUT, second, TOKENS))
    assert joined["kind"] == "JoinConfiguration"
    told = joined["controlPlane"]
    assert told["localAPIEndpoint"]["advertiseAddress"] == second.address
    assert told["certificateKey"] == new[0]["certificateKey"]


def test_a_node_gets_no_certificate_and_no_unit_of_the_control_plane() -> None:
    """Those are kubeadm's to make; the load balancer is the same as in the other layout."""
    credentials = Credentials.new()
    paths = {f.path for f in host_files(LAYOUT, LAYOUT.members[0], credentials, SshKey.new())}
    assert "root/kubeadm.yaml" in paths
    wanted = "etc/systemd/system/multi-user.target.wants"
    assert {f"{wanted}/{name}.service" for name in kubeadm.SERVICES} <= paths
    assert not [path for path in paths if "pki" in path or "etcd" in path]
    balancer = {f.path for f in host_files(LAYOUT, LAYOUT.hosts[-1], credentials, SshKey.new())}
    assert "etc/haproxy/haproxy.cfg" in balancer


def test_a_spare_has_a_runtime_and_nothing_of_a_cluster() -> None:
    """Containerd begins at boot; kubelet does not, and there is no token, no key, no settings."""
    layout = Layout("lab", LabSpec(layout="kubeadm", spares=1), LAYOUT.subnet)
    files = host_files(layout, layout.spares[0], Credentials.new(), SshKey.new())
    paths = {file.path for file in files}
    wanted = "etc/systemd/system/multi-user.target.wants"
    assert {f"{wanted}/{name}.service" for name in kubeadm.RUNTIME} <= paths
    assert f"{wanted}/kubelet.service" not in paths
    assert not [path for path in paths if "kube" in path]


def test_a_cluster_without_spares_is_the_one_that_was_kept() -> None:
    """Its recipe is named by its shape, as before there were spares of kubeadm."""
    shape = "LabSpec(hosts=3, etcd='3.5', kube=True, spares=0, layout='kubeadm')"
    assert shape in saved.recipe(LAYOUT, "").text


def test_what_kubeadm_cannot_make_is_refused() -> None:
    """Before anything is built."""
    with pytest.raises(LabError, match="kubeadm"):
        LabSpec(layout="kubeadm", kube=False)


def test_the_inventory_names_the_layout(tmp_path: Path) -> None:
    """An operator reads there who runs the control plane."""
    assert yaml.safe_load(inventory_text(LAYOUT, tmp_path))["layout"] == "static-pod"


def test_the_images_are_found_again(tmp_path: Path) -> None:
    """A lab that was powered off boots with the same containerd."""
    record = LabRecord(LAYOUT, (Path("/cache/a"),), {}, Path("/cache/images"))
    record.write(tmp_path)
    assert LabRecord.read(tmp_path) == record


def test_an_image_is_one_layer_named_by_its_content(tmp_path: Path) -> None:
    """As `docker save` writes it, which containerd imports."""
    program = tmp_path / "pause"
    program.write_bytes(b"program")
    path = tmp_path / "images.tar"
    images.write_archive([Image(("r/pause:1",), {"usr/bin/pause": program}, ("/pause",))], path)
    with tarfile.open(path) as archive:
        names = archive.getnames()
        (listed,) = json.load(archive.extractfile("manifest.json"))  # type: ignore[arg-type]
        config = json.load(archive.extractfile(listed["Config"]))  # type: ignore[arg-type]
        layer = archive.extractfile(listed["Layers"][0])
        assert layer is not None
        digest = hashlib.sha256(layer.read()).hexdigest()
        layer.seek(0)
        with tarfile.open(fileobj=layer) as files:
            found = files.getmember("usr/bin/pause")
            assert (found.mode, found.size) == (0o755, 7)
    assert listed["RepoTags"] == ["r/pause:1"]
    assert config["rootfs"]["diff_ids"] == [f"sha256:{digest}"]
    assert f"{digest}/layer.tar" in names


def test_a_host_shares_images_but_no_database(tmp_path: Path) -> None:
    """Blobs are links; what containerd writes is the host's own. What was there before is gone."""
    kept, own = tmp_path / "kept", tmp_path / "own"
    (kept / "metadata").mkdir(parents=True)
    (kept / "blob").write_text("blob")
    (kept / "metadata" / "meta.db").write_text("db")
    own.mkdir()
    (own / "container").touch()
    images.furnish(kept, own)
    assert (own / "blob").stat().st_ino == (kept / "blob").stat().st_ino
    (own / "metadata" / "meta.db").write_text("changed")
    assert (kept / "metadata" / "meta.db").read_text() == "db"
    assert not (own / "container").exists()


def test_a_saved_cluster_belongs_to_its_shape_its_subnet_and_its_parts() -> None:
    """Certificates hold addresses, disks lie over layers; the lab's name is in neither."""
    key = saved.recipe(LAYOUT, "parts").key
    other = IPv4Network("10.70.2.0/24")
    assert saved.recipe(Layout("else", LAYOUT.spec, LAYOUT.subnet), "parts").key == key
    assert saved.recipe(Layout("lab", LAYOUT.spec, other), "parts").key != key
    assert saved.recipe(LAYOUT, "other parts").key != key
    one = Layout("lab", LabSpec(hosts=1, layout="kubeadm"), LAYOUT.subnet)
    assert saved.recipe(one, "parts").key != key
