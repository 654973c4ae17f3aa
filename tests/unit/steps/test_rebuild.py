"""A control plane on new hosts: its keys and certificates, that the old one is gone, what is left (H13)."""

from __future__ import annotations

import base64
import getpass
import grp
import os
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.unit.steps.recorded_answers import said, snapshot

from drrun.spi import Done, DoneChange, Fact, Refused
from drrun.testing import FakeGroup, FakeHost
from drrun_lab.pki import Authorities
from drrun_steps.etcd.config import Config, EtcdConfig
from drrun_steps.kube.gone import Answering, Former, OldGone, SnapshotHosts
from drrun_steps.kube.install_keys import InstallKeys
from drrun_steps.kube.keys import PUBLIC, Keys, KubeKeys
from drrun_steps.kube.moved import Moved
from drrun_steps.kube.plan_pods import PodPlan
from drrun_steps.kube.servers import EtcdServers
from drrun_steps.kube.strays import KubeAllNodes, Node
from drrun_steps.service.facts import ServiceState
from drrun_steps.service.flags import ServiceFlag

SUMS = {name: name[0] * 64 for name in PUBLIC} | {"encryption": "e" * 64}
OWNER = f"{getpass.getuser()}:{grp.getgrgid(os.getgid()).gr_name}"
CONFIG = Config(
    found=True,
    name="sp1",
    peer_urls="https://10.0.0.31:2380",
    client_url="https://sp1.example:2379",
    owner=OWNER,
)
UNITS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")


def _machine(pki: str, encryption: str, **states: str) -> FakeHost:
    """A new machine with all units, of which nothing runs; its keys are there once they are installed."""

    def keys(host: FakeHost) -> Keys:
        return Keys(SUMS) if "install" in host.change_names else Keys()

    answers: dict[Fact[Any], Any] = {
        EtcdConfig(): CONFIG,
        ServiceFlag("kube-apiserver", "encryption-provider-config"): (encryption,),
        KubeKeys(pki): Keys(),
        KubeKeys(pki, encryption): keys,
    }
    for unit in UNITS:
        answers[ServiceState(unit)] = states.get(unit.replace("-", "_"), "stopped")
    return FakeHost("sp1", answers, address="10.0.0.31")


def _step(folder: Path) -> InstallKeys:
    (folder / "keys.tar").touch()
    return InstallKeys(
        archive=str(folder / "keys.tar"),
        fingerprints=SUMS,
        pki=str(folder / "k/pki"),
        stage_dir=str(folder / "stage"),
    )


def test_a_machine_that_is_not_new_or_not_ready_is_left_alone(tmp_path: Path) -> None:
    """Without units, with an API server that runs, without openssl, without the flag for the settings."""
    step, pki, there = _step(tmp_path), str(tmp_path / "k/pki"), "/e.yaml"
    bare = _machine(pki, there, kube_scheduler="missing")
    busy = _machine(pki, there, kube_apiserver="running")
    mute = _machine(pki, there)
    mute.answers[KubeKeys(pki)] = Keys(proved=False)
    blind = _machine(pki, there)
    blind.answers[ServiceFlag("kube-apiserver", "encryption-provider-config")] = ()
    blind.answers[EtcdConfig()] = CONFIG
    for host, words in (
        (bare, "has no kube-scheduler"),
        (busy, "kube-apiserver runs there"),
        (mute, "has no openssl"),
        (blind, "is told of none"),
    ):
        with pytest.raises(Refused, match=words):
            step.run(host)
        assert "install" not in host.change_names


@pytest.fixture(scope="module")
def lost() -> Authorities:
    """The authorities of a cluster whose hosts are gone."""
    return Authorities.new()


def _archive(path: Path, lost: Authorities) -> None:
    """What kube.keys.save made of it, of a host 10.0.0.11 behind 10.0.0.10."""
    import io

    own = lost.host_files("cp1", "10.0.0.11", "10.0.0.10")["apiserver.crt"]
    files = {f"pki/{name}": content for name, content in lost.shared_files().items()}
    files |= {"pki/apiserver.crt": own, "encryption.yaml": b"settings"}
    path.parent.mkdir(parents=True)
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def _installed(folder: Path, lost: Authorities, shell: tuple[str, ...]) -> FakeHost:
    """Run what the step would run, on this machine."""
    step, host = (
        _step(folder),
        _machine(str(folder / "k/pki"), str(folder / "k/e.yaml")),
    )
    step.run(host)
    _archive(folder / "stage/r-test/keys.tar", lost)
    _sent(host, "install", shell)
    return host


def _sent(host: FakeHost, name: str, shell: tuple[str, ...]) -> None:
    change = next(change for change in host.changes if change.name == name)
    done = subprocess.run(
        shell,
        input=change.command.script(),
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()


def _tree(folder: Path) -> Mapping[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_new_machine_gets_the_keys_and_certificates_of_its_own(
    tmp_path: Path, lost: Authorities, shell: tuple[str, ...]
) -> None:
    """Signed by the authorities of before, for its own addresses and for those of the load balancer."""
    _installed(tmp_path, lost, shell)
    pki = tmp_path / "k/pki"
    for name, content in lost.shared_files().items():
        assert (pki / name).read_bytes() == content, name
    server = x509.load_pem_x509_certificate((pki / "apiserver.crt").read_bytes())
    server.verify_directly_issued_by(lost.cluster.certificate)
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = {str(a) for a in names.get_values_for_type(x509.IPAddress)}
    assert {"10.0.0.31", "127.0.0.1", "10.0.0.10", "10.96.0.1"} <= addresses
    assert {"sp1", "sp1.example", "kubernetes.default.svc"} <= set(
        names.get_values_for_type(x509.DNSName)
    )
    peer = x509.load_pem_x509_certificate((pki / "etcd/peer.crt").read_bytes())
    peer.verify_directly_issued_by(lost.etcd.certificate)
    uses = peer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(uses) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    key = load_pem_private_key((pki / "etcd/peer.key").read_bytes(), None)
    assert key.public_key() == peer.public_key()
    client = x509.load_pem_x509_certificate((pki / "front-proxy-client.crt").read_bytes())
    client.verify_directly_issued_by(lost.front_proxy.certificate)
    modes = {p.name: p.stat().st_mode & 0o777 for p in pki.rglob("*")}
    assert (modes["ca.key"], modes["sa.key"], modes["apiserver.key"]) == (0o600,) * 3
    assert (modes["peer.key"], modes["server.crt"]) == (0o640, 0o644)
    config = (tmp_path / "k/admin.conf").read_text()
    assert 'server: "https://10.0.0.31:6443"' in config
    assert (tmp_path / "k/admin.conf").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "k/e.yaml").read_bytes() == b"settings"
    assert not (tmp_path / "stage/r-test").exists()
    assert {p.name for p in (tmp_path / "k").iterdir()} == {
        *("pki", "admin.conf", "controller-manager.conf", "scheduler.conf", "e.yaml")
    }


def test_a_host_of_static_pods_gets_a_kubeconfig_for_its_kubelet(
    tmp_path: Path, lost: Authorities, shell: tuple[str, ...]
) -> None:
    """As a node of that name, signed by the cluster's authority; undone, it is gone with the others."""
    plan = PodPlan(
        node="sp1.example",
        address="10.0.0.31",
        old=(),
        old_node="cp1",
        image="i",
        settings={},
        data_dir="/d",
        mount=False,
    )
    step = _step(tmp_path).model_copy(update={"pods": {"sp1": plan}})
    host = _machine(str(tmp_path / "k/pki"), str(tmp_path / "k/e.yaml"))
    step.run(host)
    _archive(tmp_path / "stage/r-test/keys.tar", lost)
    _sent(host, "install", shell)
    config = yaml.safe_load((tmp_path / "k/kubelet.conf").read_text())
    raw = base64.b64decode(config["users"][0]["user"]["client-certificate-data"])
    certificate = x509.load_pem_x509_certificate(raw)
    certificate.verify_directly_issued_by(lost.cluster.certificate)
    assert certificate.subject.rfc4514_string() == "CN=system:node:sp1.example,O=system:nodes"
    step.undo(host, Done((DoneChange("make-folder", "sp1", {}),), {}))
    _sent(host, "put-back", shell)
    assert _tree(tmp_path / "k") == {}


def test_what_was_there_is_kept_and_comes_back(
    tmp_path: Path, lost: Authorities, shell: tuple[str, ...]
) -> None:
    """Sent twice it does nothing more; undone, the folder is what it was, to the byte."""
    (tmp_path / "k/pki").mkdir(parents=True)
    (tmp_path / "k/pki/ca.crt").write_text("another authority")
    (tmp_path / "k/admin.conf").write_text("another administrator")
    before = _tree(tmp_path / "k")
    host = _installed(tmp_path, lost, shell)
    assert (tmp_path / "k/pki.old-r-test/ca.crt").read_text() == "another authority"
    after = _tree(tmp_path / "k")
    _sent(host, "install", shell)
    assert _tree(tmp_path / "k") == after
    _step(tmp_path).undo(host, Done((DoneChange("make-folder", "sp1", {}),), {}))
    _sent(host, "put-back", shell)
    assert _tree(tmp_path / "k") == before


def test_where_the_members_were_is_in_the_snapshot(tmp_path: Path) -> None:
    """By name and host; a real one, of a single member on loopback."""
    path = tmp_path / "s.db"
    path.write_bytes(snapshot("35"))
    found = SnapshotHosts(str(path)).look()
    assert found
    assert all(former.name and former.at for former in found)


FORMER = (Former("cp1", ("10.0.0.11",)), Former("cp2", ("10.0.0.12", "10.0.0.31")))


def test_a_control_plane_that_lives_is_not_built_a_second_time() -> None:
    """Any answer refuses; a host's own address, and one that something else has now, are left out."""
    host = FakeHost("sp1", {SnapshotHosts("/s"): FORMER}, address="10.0.0.31")
    both = Answering(("10.0.0.11", "10.0.0.12"))
    host.answers[both] = ("10.0.0.12:2379",)
    with pytest.raises(Refused, match=r"10\.0\.0\.12:2379 answers sp1") as caught:
        OldGone(snapshot="/s").run(host)
    assert "accept_address" in caught.value.hint
    host.answers[Answering(("10.0.0.11",))] = ()
    OldGone(snapshot="/s", accept_address=("10.0.0.12",)).run(host)
    assert host.notes == ["sp1: nobody answers at 10.0.0.11"]


def test_nobody_to_ask_is_not_silence() -> None:
    """Without curl it is not known whether the old hosts are gone."""
    with pytest.raises(ValueError, match="cannot ask whether"):
        Answering(("10.0.0.11",)).parse(said("", code=127, err="no curl"))
    assert Answering(("a",)).parse(said("a:2379\na:6443\n")) == ("a:2379", "a:6443")


def test_what_the_move_leaves_is_told() -> None:
    """Nodes of old hosts by name or address, the others apart, and where clients have to go."""
    nodes = (
        Node("cp2", ready=False),
        Node("old", ready=False, addresses=("10.0.0.11", "old")),
        Node("sp1", ready=True, addresses=("10.0.0.31", "sp1")),
        Node("worker", ready=True, addresses=("10.0.0.50",)),
    )
    answers: dict[Fact[Any], Any] = {SnapshotHosts("/s"): FORMER, KubeAllNodes(): nodes}
    group = FakeGroup([FakeHost("sp1", answers, address="10.0.0.31")])
    told = Moved(snapshot="/s").run(group)
    assert told == {"gone": ["cp2", "old", "worker"], "backends": ["10.0.0.31:6443"]}
    assert [note for note in group.notes if "kubectl delete node" in note] == [
        "Node cp2 is of a host that is gone: kubectl delete node cp2",
        "Node old is of a host that is gone: kubectl delete node old",
    ]
    assert "Node worker: its kubelet must find" in group.notes[2]
    assert "10.0.0.31:6443 now" in group.notes[3]


def test_where_one_host_was_replaced_its_node_alone_is_told() -> None:
    """The others' Nodes and the workers' are as they were: nobody has moved but one."""
    nodes = (
        Node("cp1", True, ("10.0.0.11",)),
        Node("cp2", False, ("10.0.0.12",)),
        Node("worker", True, ("10.0.1.1",)),
    )
    host = FakeHost("cp1", {KubeAllNodes(): nodes}, address="10.0.0.11")
    failed = FakeHost("cp2", {}, address="10.0.0.12")
    group = FakeGroup([host, FakeHost("sp1", {}, address="10.0.0.31")], roles={"failed": [failed]})
    told = Moved(failed="failed").run(group)
    assert told == {"gone": ["cp2"], "backends": ["10.0.0.11:6443", "10.0.0.31:6443"]}
    assert [note for note in group.notes if "Node " in note] == [
        "Node cp2 is of a host that is gone: kubectl delete node cp2"
    ]


def test_an_api_server_that_is_stopped_is_told_and_not_started() -> None:
    """It starts later, once etcd does."""
    flag = ServiceFlag("kube-apiserver", "etcd-servers")
    host = FakeHost("sp1", {flag: ("https://10.0.0.11:2379",)}, address="10.0.0.31")
    EtcdServers(endpoints=("https://10.0.0.31:2379",), restart=False).run(host)
    assert host.change_names == ["set"]


@pytest.mark.parametrize(
    ("said", "changes"),
    [
        (("https://127.0.0.1:2379",), []),
        (("https://10.0.0.11:2379,https://10.0.0.13:2379",), []),
        (("https://10.0.0.11:2379,https://10.0.0.12:2379",), ["set"]),
        (("https://10.0.0.12:2379,https://127.0.0.1:2379",), ["set"]),
        ((), ["set"]),
    ],
)
def test_an_api_server_that_knows_no_other_member_is_left_alone_where_that_is_enough(
    said: tuple[str, ...], changes: list[str]
) -> None:
    """As kubeadm starts it, with its own member alone: no restart for a member that it never asked."""
    flag = ServiceFlag("kube-apiserver", "etcd-servers")
    members = ("https://10.0.0.11:2379", "https://10.0.0.13:2379")
    host = FakeHost("cp1", {flag: said}, address="10.0.0.11")
    EtcdServers(endpoints=members, complete=False, restart=False).run(host)
    assert host.change_names == changes
    away = FakeHost("cp2", {flag: ("https://127.0.0.1:2379",)}, address="10.0.0.12")
    EtcdServers(endpoints=members, complete=False, restart=False).run(away)
    assert away.change_names == ["set"], "its own member is the one that goes"
