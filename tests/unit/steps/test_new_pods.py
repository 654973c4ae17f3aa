"""Static pods on new machines: planned after an archive's manifests, laid ready held, taken away (H13)."""

from __future__ import annotations

import io
import os
import re
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.steps.recorded_answers import said

from drrun.spi import Done, DoneChange, Fact, NotKnown, NotKnownError, Refused
from drrun.testing import FakeGroup, FakeHost
from drrun_steps.etcd.image import EtcdImage
from drrun_steps.etcd.live import EtcdStatus
from drrun_steps.etcd.program import EtcdProgram, Program
from drrun_steps.etcd.save import Save
from drrun_steps.etcd.tools import EtcdTools, Tools
from drrun_steps.file import FileState, State
from drrun_steps.host import Disk, HostAddresses, HostDisk
from drrun_steps.kube.archived import PODS, Archived, ArchivedPods, swapped
from drrun_steps.kube.install_keys import InstallKeys
from drrun_steps.kube.keys import Keys, KubeKeys
from drrun_steps.kube.lay_pods import LayPods
from drrun_steps.kube.machine import KubeMachine, Machine
from drrun_steps.kube.mark_nodes import KubeMarked, MarkNodes
from drrun_steps.kube.plan_pods import PlanPods, PodPlan
from drrun_steps.kube.save_keys import SaveKeys
from drrun_steps.service.facts import ServiceState
from drrun_steps.service.flags import ServiceFlag

MANIFEST = Path(__file__).parent / "recorded" / "manifest-etcd.yaml"
SERVER = """\
metadata:
  annotations:
    kubeadm.kubernetes.io/kube-apiserver.advertise-address.endpoint: 10.89.102.11:6443
spec:
  containers:
  - command:
    - kube-apiserver
    - --advertise-address=10.89.102.11
    - --audit-policy-file=/etc/audit/policy.yaml
    - --encryption-provider-config=/etc/kubernetes/encryption.yaml
    - --etcd-servers=https://127.0.0.1:2379
    - --service-account-issuer=https://10.89.102.11:6443
    image: k8s.gcr.io/kube-apiserver:v1.20.2
    readinessProbe:
      httpGet:
        host: 10.89.102.11
  volumes:
  - hostPath:
      path: /etc/audit/policy.yaml
      type: File
  - hostPath:
      path: /etc/kubernetes/pki
      type: DirectoryOrCreate
  - hostPath:
      path: /opt/hook.sock
      type: Socket
"""
OTHER = (
    "    image: k8s.gcr.io/{0}:v1.20.2\n    - --bind-address=127.0.0.1\n        host: 127.0.0.1\n"
)
FILES = {
    "units/etc/kubernetes/manifests/etcd.yaml": MANIFEST.read_text(),
    "units/etc/kubernetes/manifests/kube-apiserver.yaml": SERVER,
    **{f"units/etc/kubernetes/manifests/{pod}.yaml": OTHER.format(pod) for pod in PODS[2:]},
    "files/etc/audit/policy.yaml": "rules",
    "kubelet/config.yaml": "clusterDNS: [10.96.0.10]\n",
    "kubelet/kubeadm-flags.env": 'A="--hostname-override=cp1 --node-ip=10.89.102.11 --x=10.89.102.110"\n',
    "pki/ca.key": "secret",
    "encryption.yaml": "secret",
}
IMAGES = ("k8s.gcr.io/etcd:3.5-0", *(f"k8s.gcr.io/{pod}:v1.20.2" for pod in PODS[1:]))
READY = Machine(node="new1", lacks=("etcdctl",), kubelet="1.20.2")
TAKEN = Tools("etcdutl", bump=True, version="3.5.30")


@pytest.fixture(name="archive")
def _archive(tmp_path: Path) -> Path:
    return packed(tmp_path / "keys.tar", FILES)


def packed(path: Path, files: Mapping[str, str]) -> Path:
    """An archive, as `tar -C FOLDER -cf FILE .` makes it."""
    with tarfile.open(path, "w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return path


def test_of_manifests_only_what_says_whose_they_are_is_read(archive: Path) -> None:
    """Images, volumes that must be there, the host's own flags; what else names it is told by its flag."""
    found = ArchivedPods(str(archive)).look()
    assert tuple(found.pods) == PODS
    assert found.addresses == ("10.89.102.11",)
    assert tuple(pod.image for pod in found.pods.values()) == IMAGES
    assert found.pods["kube-apiserver"].files == ("/etc/audit/policy.yaml", "/opt/hook.sock")
    assert "service-account-issuer" not in found.pods["kube-apiserver"].flags
    assert found.astray == ("kube-apiserver --service-account-issuer",)
    assert (found.files, found.kubelet) == (
        ("/etc/audit/policy.yaml",),
        ("config.yaml", "kubeadm-flags.env"),
    )


def test_an_archive_of_units_has_no_pods(tmp_path: Path) -> None:
    """And what is no archive says so."""
    path = packed(tmp_path / "units.tar", {"units/etc/systemd/system/etcd.service": "[Unit]"})
    assert ArchivedPods(str(path)).look() == Archived()
    path.write_bytes(b"x" * 1024)
    with pytest.raises(ValueError, match="no archive of keys"):
        ArchivedPods(str(path)).look()


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("https://10.0.0.1:2380,https://127.0.0.1:2379", "https://NEW:2380,https://127.0.0.1:2379"),
        ("10.0.0.11 110.0.0.1 10.0.0.1.5", "10.0.0.11 110.0.0.1 10.0.0.1.5"),
    ],
)
def test_an_address_within_a_longer_one_is_another(text: str, made: str) -> None:
    """Only the whole one is put in another's place."""
    assert swapped(text, "10.0.0.1", "NEW") == made


def machine(name: str, address: str, archive: Path, **states: str) -> FakeHost:
    """A new machine that has all that it needs, but for tools of etcd, which are in the image."""
    answers: dict[Fact[Any], Any] = {
        ArchivedPods(str(archive)): ArchivedPods(str(archive)).look(),
        KubeMachine(IMAGES, ("/opt/hook.sock",), "/var/lib/etcd"): Machine(
            node=name, lacks=("etcdctl",), kubelet="1.20.2"
        ),
        EtcdTools(): Tools(),
        EtcdImage(IMAGES[0]): TAKEN,
        HostDisk("/var/lib/etcd.drrun"): Disk(1 << 40, 1 << 40),
        HostAddresses(): ("127.0.0.1", address),
        **{ServiceState(pod): states.get("state", "missing") for pod in PODS},
    }
    return FakeHost(name, answers, address=address)


def group(*hosts: FakeHost) -> FakeGroup:
    """The new hosts, which are the members as well."""
    return FakeGroup(list(hosts), roles={"etcd": list(hosts)})


def planned(archive: Path) -> Mapping[str, PodPlan]:
    """The plan for two new hosts."""
    hosts = [machine("new1", "10.0.0.31", archive), machine("new2", "10.0.0.32", archive)]
    told = PlanPods(archive=str(archive)).run(group(*hosts))
    assert told["data_dirs"] == {"new1": "/var/lib/etcd", "new2": "/var/lib/etcd"}
    return {name: PodPlan(**plan) for name, plan in told["pods"].items()}


def test_each_new_host_gets_its_own_name_and_addresses(archive: Path) -> None:
    """And all of them one list of members; what is shared stays as it was."""
    plan = planned(archive)["new2"]
    cluster = "new1=https://10.0.0.31:2380,new2=https://10.0.0.32:2380"
    etcd = plan.settings["etcd"]
    assert (etcd["name"], etcd["initial-cluster"]) == ("new2", cluster)
    assert etcd["listen-client-urls"] == "https://127.0.0.1:2379,https://10.0.0.32:2379"
    assert plan.settings["kube-apiserver"]["advertise-address"] == "10.0.0.32"
    assert plan.settings["kube-apiserver"]["etcd-servers"] == "https://127.0.0.1:2379"
    assert (plan.tool, plan.bump, plan.old, plan.old_node) == (
        *("etcdutl", True),
        *(("10.89.102.11",), "cp1"),
    )


def test_hosts_with_units_are_none_of_this_steps_business(archive: Path) -> None:
    """Nothing is planned, nothing laid; half of them with units is no cluster."""
    units = machine("new1", "10.0.0.31", archive, state="stopped")
    units.answers[EtcdProgram()] = Program("unit")
    assert PlanPods(archive=str(archive)).run(group(units)) == {"pods": {}, "data_dirs": {}}
    host = FakeHost("new1", {})
    LayPods(archive=str(archive), pods={}).run(host)
    assert host.changes == []
    with pytest.raises(Refused, match="neither a unit nor a manifest"):
        PlanPods(archive=str(archive)).run(group(units, machine("new2", "10.0.0.32", archive)))


def test_what_another_run_laid_is_not_taken_over(archive: Path) -> None:
    """Manifests without a kubelet that is a node: that run is gone on with, or taken back."""
    host = machine("new1", "10.0.0.31", archive, state="stopped")
    host.answers[EtcdProgram()] = Program("pod")
    host.answers[FileState("/etc/kubernetes/kubelet.conf")] = State(exists=False)
    with pytest.raises(Refused, match="another run laid them") as caught:
        PlanPods(archive=str(archive)).run(group(host))
    assert "--undo" in caught.value.hint


UNFIT: Mapping[str, Mapping[str, Any]] = {
    "no new machine: /etc/kubernetes/kubelet.conf is there": {
        "of_cluster": ("/etc/kubernetes/kubelet.conf",)
    },
    "no new machine: 2 containers run": {"running": 2},
    "has no openssl, no kubectl": {"lacks": ("etcdctl", "openssl", "kubectl")},
    "has no image k8s.gcr.io/etcd:3.5-0": {"images": ("k8s.gcr.io/etcd:3.5-0",)},
    "has no /opt/hook.sock": {"without": ("/opt/hook.sock",)},
    "has kubelet 1.21.0, newer than the API server": {"kubelet": "1.21.0"},
}


@pytest.mark.parametrize("words", UNFIT)
def test_a_machine_that_would_not_do_is_refused_with_the_reason(archive: Path, words: str) -> None:
    """Before any change: not new, or without what provisioning gives."""
    host = machine("new1", "10.0.0.31", archive)
    fact = KubeMachine(IMAGES, ("/opt/hook.sock",), "/var/lib/etcd")
    host.answers[fact] = replace(READY, **UNFIT[words])
    with pytest.raises(Refused, match=re.escape(words)) as caught:
        PlanPods(archive=str(archive)).run(group(host))
    assert "kubeadm reset" in caught.value.hint


def test_without_room_tools_or_an_address_of_its_own_nothing_is_laid(archive: Path) -> None:
    """All that is wrong is told at once."""
    host = machine("new1", "10.0.0.31", archive)
    host.answers[EtcdImage(IMAGES[0])] = Tools()
    host.answers[HostDisk("/var/lib/etcd.drrun")] = Disk(1 << 20, 1 << 40)
    host.answers[HostAddresses()] = ("127.0.0.1",)
    with pytest.raises(Refused) as caught:
        PlanPods(archive=str(archive), size=1_000_000).run(group(host))
    for words in ("neither etcdctl and etcdutl", "1 MiB free", "does not have the address"):
        assert words in caught.value.message


@pytest.mark.parametrize("name", ["etcd", "kube-scheduler"])
def test_an_archive_with_a_part_of_the_pods_is_refused(tmp_path: Path, name: str) -> None:
    """An external etcd, or a manifest that somebody took away."""
    files = {path: text for path, text in FILES.items() if f"{name}.yaml" not in path}
    archive = packed(tmp_path / "keys.tar", files)
    with pytest.raises(Refused, match=f"but not {name}"):
        PlanPods(archive=str(archive)).run(group(machine("new1", "10.0.0.31", archive)))


def test_members_elsewhere_are_refused(archive: Path) -> None:
    """With static pods they are on the hosts of the API servers."""
    host = machine("new1", "10.0.0.31", archive)
    with pytest.raises(Refused, match="on the hosts of the API servers"):
        PlanPods(archive=str(archive)).run(FakeGroup([host], roles={"etcd": []}))


def sent(host: FakeHost, name: str, root: Path, shell: tuple[str, ...]) -> None:
    """Run a change here, with the host's folders below `root`, and a systemctl that does nothing."""
    stub = root / "bin/systemctl"
    stub.parent.mkdir(exist_ok=True)
    stub.write_text("#!/bin/sh\ncase $* in *is-*) exit 1 ;; esac\n")
    stub.chmod(0o755)
    change = next(change for change in host.changes if change.name == name)
    text = re.sub(
        rb"(?<![\w/}])/(var/lib|etc/kubernetes)",
        os.fsencode(root) + rb"/\1",
        change.command.script(),
    )
    env = {"PATH": f"{stub.parent}:{os.environ['PATH']}"}
    done = subprocess.run(shell, input=text, env=env, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def tree(folder: Path) -> Mapping[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def laid(archive: Path, root: Path, shell: tuple[str, ...]) -> FakeHost:
    """Lay the pods of new1 below `root`."""
    plan = planned(archive)["new1"].model_copy(update={"tool": ""})
    step = LayPods(archive=str(archive), pods={"new1": plan})
    host = FakeHost("new1", {}, address="10.0.0.31")
    step.run(host)
    stage = root / "var/lib/drrun-pods/r-test"
    stage.mkdir(parents=True)
    # Files of the archive go to their own places, which are below `root` here.
    audit = {f"files{root}/etc/audit/policy.yaml": "rules"}
    packed(stage / "keys.tar", {n: t for n, t in FILES.items() if n[:6] != "files/"} | audit)
    sent(host, "lay", root, shell)
    return host


def test_pods_are_laid_held_for_this_host(
    archive: Path, tmp_path: Path, shell: tuple[str, ...]
) -> None:
    """Where a stop puts them; no key leaves the archive, and no word of the old host is left but told ones."""
    root = tmp_path / "root"
    laid(archive, root, shell)
    files = tree(root / "var/lib/drrun/stopped")
    assert set(files) == {f"{pod}.yaml" for pod in PODS}
    etcd = files["etcd.yaml"].decode()
    assert "advertise-client-urls: https://10.0.0.31:2379" in etcd
    assert "--name=new1\n" in etcd
    assert "10.89.102.11" not in etcd
    server = files["kube-apiserver.yaml"].decode()
    assert "endpoint: 10.0.0.31:6443" in server
    assert "host: 10.0.0.31\n" in server
    assert server.count("10.89.102.11") == 1
    kubelet = (root / "var/lib/kubelet/kubeadm-flags.env").read_text()
    assert kubelet == 'A="--hostname-override=new1 --node-ip=10.0.0.31 --x=10.89.102.110"\n'
    assert (root / "etc/audit/policy.yaml").read_text() == "rules"
    assert not [p for p, text in tree(root).items() if b"secret" in text]
    assert (root / "etc/kubernetes/manifests").is_dir()
    assert list((root / "etc/kubernetes/manifests").iterdir()) == []


def test_what_was_there_stays_and_undo_takes_the_rest(
    archive: Path, tmp_path: Path, shell: tuple[str, ...]
) -> None:
    """Sent twice it does nothing more; undone, every file is what it was, kubelet's own among them."""
    root = tmp_path / "root"
    (root / "var/lib/kubelet").mkdir(parents=True)
    (root / "var/lib/kubelet/config.yaml").write_text("mine")
    (root / "bin").mkdir()
    before = tree(root / "var"), tree(root / "etc")
    host = laid(archive, root, shell)
    assert (root / "var/lib/kubelet/config.yaml").read_text() == "mine"
    after = tree(root / "var")
    sent(host, "lay", root, shell)
    assert tree(root / "var") == after
    (root / "var/lib/kubelet/pods/a").mkdir(parents=True)
    LayPods(archive=str(archive), pods={}).undo(
        host, Done((DoneChange("make-folder", "new1", {}),), {})
    )
    sent(host, "take-away", root, shell)
    assert (tree(root / "var"), tree(root / "etc")) == before
    assert not (root / "etc/kubernetes").exists()
    assert not (root / "var/lib/kubelet/pods").exists()


def test_a_machine_tells_what_it_is_and_what_it_lacks() -> None:
    """Good news is silence; an answer that broke off is none."""
    fact = KubeMachine((), (), "/var/lib/etcd")
    text = "node=new1\nof=/a\nlacks=curl\nsettings=yes\nkubelet=1.20.2\nwithout=/f\nmount=yes\nruns=a\nruns=b\nimage=i\n"
    assert fact.parse(said(text)) == Machine(
        "new1", ("/a",), ("curl",), ("i",), ("/f",), 2, settings=True, kubelet="1.20.2", mount=True
    )
    with pytest.raises(ValueError, match="cannot tell"):
        fact.parse(said("", code=1, err="no"))


def test_an_image_that_cannot_be_shown_has_no_tools() -> None:
    """No containerd, or no such image."""
    assert EtcdImage("i").parse(said("", code=3)) == Tools()
    text = "restore=etcdutl\nbump=yes\nversion=3.5.30\n"
    assert EtcdImage("i").parse(said(text)) == TAKEN


def test_a_new_node_gets_the_roles_of_one_of_before() -> None:
    """Once kubelet has registered it; on a host of units there is nothing to do."""
    fact = KubeMarked("new1", "cp1")
    assert [fact.parse(said(text)) for text in ("marked\n", "bare\nmarked\n", "absent\n")] == [
        *("marked", "bare", "absent"),
    ]
    assert fact.parse(said("", code=1, err="refused")) == "absent"
    plan = PodPlan(
        node="new1",
        address="10.0.0.31",
        old=(),
        old_node="cp1",
        image="i",
        settings={},
        data_dir="/d",
        mount=False,
    )
    host = FakeHost("new1", {fact: "bare"})
    MarkNodes(pods={"new1": plan}).run(host)
    assert host.change_names == ["mark"]
    assert host.answers[fact] == "marked"

    with pytest.raises(Refused, match="takes no role"):
        MarkNodes(pods={"new1": plan}).run(FakeHost("new1", {fact: "absent"}))
    other = FakeHost("new2", {})
    MarkNodes(pods={"new1": plan}).run(other)
    assert other.changes == []


def test_kubelet_is_a_node_of_the_cluster_where_pods_were_laid(archive: Path) -> None:
    """Its kubeconfig is issued with the others; where there are units it is not made."""
    plan = planned(archive)["new1"]
    step = InstallKeys(archive=str(archive), fingerprints={}, pods={"new1": plan})
    places = step._places(FakeHost("new1"), "")
    assert places["NODE"] == "new1"
    assert step._places(FakeHost("other"), "")["NODE"] == ""


def test_what_a_dry_run_cannot_tell_of_a_member_is_no_last_chance() -> None:
    """What lies ready stopped answers nobody; of one that is not known to be stopped nothing is foretold."""
    host = FakeHost("new1", {EtcdStatus(): NotKnown("lay"), ServiceState("etcd"): "stopped"})
    assert Save(optional=True).run(FakeGroup([host]))["saved"] is False
    for state, optional in (("running", True), (NotKnown("offline"), True), ("stopped", False)):
        host.answers[ServiceState("etcd")] = state
        with pytest.raises(NotKnownError):
            Save(optional=optional).run(FakeGroup([host]))


def test_what_a_host_of_static_pods_packs_is_what_pods_are_made_of(
    tmp_path: Path, shell: tuple[str, ...]
) -> None:
    """Manifests, files that they name, kubelet's settings; no kubeconfig, and no file with a private key."""
    root = tmp_path / "root"
    other = "    - --oidc-ca-file={0}/oidc.crt\n    - --tls-private-key-file={0}/own.key\n"
    there = {
        "etc/kubernetes/manifests/etcd.yaml": MANIFEST.read_text(),
        "etc/kubernetes/manifests/kube-apiserver.yaml": SERVER.replace(
            "/etc/audit", f"{root}/audit"
        )
        + other.format(root),
        "audit/policy.yaml": "rules",
        "oidc.crt": "certificate",
        "own.key": "-----BEGIN PRIVATE KEY-----",
        "etc/kubernetes/scheduler.conf": "kubeconfig",
        "var/lib/kubelet/config.yaml": "settings",
    }
    for name, text in there.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    flag = ServiceFlag("kube-apiserver", "encryption-provider-config")
    keys = KubeKeys(encryption="/etc/kubernetes/encryption.yaml")
    answers: dict[Fact[Any], Any] = {flag: (keys.encryption,), keys: Keys({"sa.pub": "s" * 64})}
    host = FakeHost("cp1", answers)
    (root / "etc/kubernetes/encryption.yaml").write_text("secret")
    SaveKeys(fetch_to=str(tmp_path / "k.tar"), folder="/var/lib/k").run(FakeGroup([host]))
    sent(host, "pack", root, shell)
    with tarfile.open(root / "var/lib/k/keys-r-test.tar") as tar:
        made = {m.name: tar.extractfile(m) for m in tar if m.isfile()}
        texts = {n.removeprefix("./"): f.read().decode() for n, f in made.items() if f}
    # A manifest's own place is below `root` here.
    texts = {n.replace(f"units{root}/", "units/"): t for n, t in texts.items()}
    found = ArchivedPods(str(packed(tmp_path / "made.tar", texts))).look()
    assert set(found.pods) == {"etcd", "kube-apiserver"}
    assert found.files == tuple(sorted((f"{root}/audit/policy.yaml", f"{root}/oidc.crt")))
    assert found.kubelet == ("config.yaml",)
