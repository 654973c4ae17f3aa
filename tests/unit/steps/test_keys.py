"""The control plane's keys: fingerprints, the archive, and what a restore makes of both (H11, pitfall 37)."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from drrun.spi import CONTROLLER, Fact, Refused, Reply
from drrun.testing import FakeGroup, FakeHost
from drrun_lab.pki import Authorities
from drrun_steps.file import FileState
from drrun_steps.kube.archive import Archive, KeyArchive
from drrun_steps.kube.fingerprints import Fingerprints
from drrun_steps.kube.keys import PUBLIC, Keys, KubeKeys
from drrun_steps.kube.manifest import Manifest, SnapshotManifest
from drrun_steps.kube.save_keys import SaveKeys
from drrun_steps.kube.verify_keys import VerifyArchive
from drrun_steps.service.flags import ServiceFlag

SUMS = {name: name[0] * 64 for name in PUBLIC} | {"encryption": "e" * 64}


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="module")
def files() -> Mapping[str, bytes]:
    """The keys of a cluster, as kubeadm lays them out."""
    return Authorities.new().shared_files()


@pytest.fixture
def pki(tmp_path: Path, files: Mapping[str, bytes]) -> Path:
    """A host's folder of them."""
    for name, content in files.items():
        path = tmp_path / "pki" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "pki"


def _asked(fact: KubeKeys, shell: tuple[str, ...]) -> tuple[Keys, bytes]:
    env = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        shell, input=fact.ask().script(), capture_output=True, env=env, check=False
    )
    reply = Reply(done.returncode, done.stdout, done.stderr)
    return fact.parse(reply), done.stdout + done.stderr


def test_a_host_tells_its_keys_and_gives_none_away(
    pki: Path, files: Mapping[str, bytes], shell: tuple[str, ...]
) -> None:
    """The sums are what `sha256sum` says of the files; no line of a private key is in the answer."""
    (pki / "encryption.yaml").write_text("secret: c2VjcmV0")
    found, said = _asked(KubeKeys(str(pki), str(pki / "encryption.yaml")), shell)
    wanted = {name: _sum(files[name]) for name in PUBLIC} | {
        "encryption": _sum(b"secret: c2VjcmV0")
    }
    assert found == Keys(wanted)
    private = [content for name, content in files.items() if name.endswith(".key")]
    lines = [line for content in private for line in content.splitlines() if len(line) > 30]
    assert lines
    assert not [line for line in lines if line in said]
    assert b"c2VjcmV0" not in said


def test_a_key_that_is_gone_or_another_ones_is_told(pki: Path, shell: tuple[str, ...]) -> None:
    """A certificate authority without its key, a token key of another cluster."""
    (pki / "front-proxy-ca.key").unlink()
    (pki / "sa.key").write_bytes(Authorities.new().shared_files()["sa.key"])
    found, _ = _asked(KubeKeys(str(pki)), shell)
    assert (found.lost, found.wrong, found.proved) == (("front-proxy-ca.key",), ("sa.key",), True)
    assert _asked(KubeKeys("/nowhere"), shell)[0] == Keys()


def test_what_differs_from_a_manifest_is_named() -> None:
    """By file; a token key that does not fit counts, new encryption settings do not."""
    assert Keys(SUMS).differing(SUMS) == ()
    assert Keys(SUMS | {"encryption": "f" * 64}).differing(SUMS) == ()
    assert Keys(SUMS | {"ca.crt": "0" * 64}).differing(SUMS) == ("ca.crt",)
    assert Keys({}).differing({"sa.pub": "s" * 64}) == ("sa.pub",)
    assert Keys(SUMS, wrong=("sa.key",)).differing(SUMS) == ("sa.pub",)
    assert Keys(SUMS, lost=("ca.key",)).differing(SUMS) == ()
    assert Keys(SUMS, lost=("sa.key",)).differing({}) == ()


def _host(name: str, keys: Keys) -> FakeHost:
    flag = ServiceFlag("kube-apiserver", "encryption-provider-config")
    answers: dict[Fact[Any], Any] = {
        flag: ("/e.yaml",),
        KubeKeys(encryption="/e.yaml"): keys,
    }
    return FakeHost(name, answers)


def test_a_backup_takes_what_all_hosts_agree_on() -> None:
    """What they differ in is told and left out: a snapshot without it is better than none."""
    other = Keys(SUMS | {"sa.pub": "0" * 64}, wrong=("sa.key",))
    group = FakeGroup([_host("cp1", Keys(SUMS)), _host("cp2", other)])
    agreed = {name: digest for name, digest in SUMS.items() if name != "sa.pub"}
    assert Fingerprints().run(group) == {"fingerprints": agreed}
    assert group.notes == [
        "cp2: /etc/kubernetes/pki/sa.key is not the key of what lies beside it",
        "sa.pub is not the same on every host: its fingerprint is left out",
    ]
    bare = FakeGroup([_host("cp1", Keys())])
    assert Fingerprints().run(bare) == {"fingerprints": {}}
    assert "names none" in bare.notes[0]


def test_the_archive_is_packed_fetched_and_removed(tmp_path: Path) -> None:
    """On the first host, in a root-only folder; the last change leaves nothing there."""
    host = _host("cp1", Keys(SUMS, lost=("ca.key",)))
    group = FakeGroup([host, _host("cp2", Keys(SUMS))])
    SaveKeys(fetch_to=str(tmp_path / "keys.tar")).run(group)
    assert host.change_names == ["pack", "fetch", "remove"]
    path = "/var/backups/drrun/keys-r-test.tar"
    assert FileState(path) in host.changes[0].sets
    assert host.changes[-1].command.env == {"FILE": path}
    assert "no certificate can be issued" in group.notes[0]
    assert "as secret as the cluster" in group.notes[1]


def test_without_a_place_for_it_no_archive_is_made_nor_proved() -> None:
    """So that a runbook's rules can ask for both steps; whoever wants a proof leaves `optional` out."""
    group = FakeGroup([_host("cp1", Keys(SUMS))])
    assert SaveKeys(fetch_to="").run(group) == {"file": "", "fingerprints": {}}
    assert group["cp1"].changes == []
    proof = VerifyArchive(path="", optional=True).run(FakeHost(CONTROLLER))
    assert proof == {"fingerprints": {}, "encryption": False}
    with pytest.raises(Refused, match="is not a file"):
        VerifyArchive(path="").run(FakeHost(CONTROLLER, {KeyArchive(""): KeyArchive("").look()}))


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (Keys(SUMS | {"ca.crt": "0" * 64}), "ca.crt is not the same on every host"),
        (Keys(SUMS, wrong=("sa.key",)), "sa.key of cp2 is not the key of what lies beside it"),
    ],
    ids=["divided", "wrong"],
)
def test_keys_that_are_not_fit_are_not_kept(second: Keys, said: str, tmp_path: Path) -> None:
    """An archive of one of two truths would be found wrong on the worst day."""
    group = FakeGroup([_host("cp1", Keys(SUMS)), _host("cp2", second)])
    with pytest.raises(Refused, match=said):
        SaveKeys(fetch_to=str(tmp_path / "keys.tar")).run(group)
    assert group["cp1"].changes == []


def _packed(host: FakeHost, pki: Path, folder: Path, shell: tuple[str, ...]) -> Path:
    """The archive that a host really makes of a folder."""
    step = SaveKeys(fetch_to=str(folder / "x"), pki=str(pki), folder=str(folder / "kept"))
    host.answers[KubeKeys(str(pki), "/e.yaml")] = Keys(SUMS)
    step.run(FakeGroup([host]))
    command = host.changes[0].command
    text = command.script().replace(b"systemctl", b": systemctl")
    done = subprocess.run(
        shell,
        input=text.replace(b"/e.yaml", str(pki / "e.yaml").encode()),
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "kept" / "keys-r-test.tar"


def test_what_a_host_packs_is_read_back(
    pki: Path, files: Mapping[str, bytes], tmp_path: Path, shell: tuple[str, ...]
) -> None:
    """Shared files and one server's certificate, never a host's own key; for root alone; nothing beside."""
    (pki / "apiserver.crt").write_text("certificate")
    (pki / "apiserver.key").write_text("private")
    (pki / "e.yaml").write_text("settings")
    path = _packed(_host("cp1", Keys(SUMS)), pki, tmp_path, shell)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    with tarfile.open(path) as tar:
        names = {name.removeprefix("./") for name in tar.getnames()}
    assert {*(f"pki/{name}" for name in files), "pki/apiserver.crt", "encryption.yaml"} < names
    assert "pki/apiserver.key" not in names
    found = KeyArchive(str(path)).look()
    assert (found.problem, found.lost) == ("", ())
    assert found.fingerprints == {name: _sum(files[name]) for name in PUBLIC} | {
        "encryption": _sum(b"settings")
    }


@pytest.mark.parametrize("content", [None, b"", b"no tar" * 999], ids=["missing", "empty", "noise"])
def test_what_is_no_archive_is_refused(content: bytes | None, tmp_path: Path) -> None:
    """With the command that makes one."""
    path = tmp_path / "keys.tar"
    if content is not None:
        path.write_bytes(content)
    fact = KeyArchive(str(path))
    host = FakeHost(CONTROLLER, {fact: fact.look()})
    with pytest.raises(Refused) as caught:
        VerifyArchive(path=str(path), complete=True).run(host)
    assert str(path) in str(caught.value)


def _verified(found: Archive, **fields: Any) -> Mapping[str, Any]:
    host = FakeHost(CONTROLLER, {KeyArchive("/k.tar"): found})
    return VerifyArchive(path="/k.tar", **fields).run(host)


def test_a_lost_authority_is_an_explained_refusal() -> None:
    """Each file that is missing with what is lost by it; without a rebuild in sight it may be missing."""
    private = ("ca.key", "front-proxy-ca.key", "etcd/ca.key", "sa.key")
    whole = Archive("", SUMS, private)
    assert _verified(whole, complete=True, keys=("aescbc:key1",))["encryption"] is True
    for name, words in (
        ("sa.key", "every token of every service account is void"),
        ("ca.key", "no certificate can be issued"),
    ):
        left = Archive("", SUMS, tuple(key for key in private if key != name))
        with pytest.raises(Refused, match=words):
            _verified(left, complete=True)
        _verified(left)
    bare = Archive("", {n: d for n, d in SUMS.items() if n != "encryption"}, private)
    assert _verified(bare, complete=True)["encryption"] is False
    with pytest.raises(Refused, match="Secrets first of all, is lost for good"):
        _verified(bare, complete=True, keys=("aescbc:key1",))


def test_an_archive_of_another_cluster_is_refused_by_name() -> None:
    """What differs, until it is accepted by name."""
    found = Archive("", SUMS | {"sa.pub": "0" * 64}, ())
    with pytest.raises(Refused, match=r"sa\.pub differ") as caught:
        _verified(found, fingerprints=SUMS)
    assert "accept_keys=sa.pub" in caught.value.hint
    _verified(found, fingerprints=SUMS, accept=("sa.pub",))


def test_a_manifest_is_read_from_beside_the_snapshot(tmp_path: Path) -> None:
    """An old one without keys, none at all, and a file that is no manifest are told apart."""
    path = tmp_path / "s.db"
    fact = SnapshotManifest(str(path))
    assert fact.look() == Manifest()
    beside = tmp_path / "s.db.json"
    beside.write_text(json.dumps({"sha256": "ab", "keys": SUMS}))
    assert fact.look() == Manifest("ab", SUMS)
    beside.write_text(json.dumps({"sha256": "ab", "keys": None}))
    assert fact.look() == Manifest("ab")
    for wrong in ("[]", "{}", "no JSON"):
        beside.write_text(wrong)
        with pytest.raises(ValueError, match=r"."):
            fact.look()


def test_members_of_a_tar_that_are_no_files_are_passed_over(tmp_path: Path) -> None:
    """A link named sa.key is no key, and nothing is followed or unpacked."""
    path = tmp_path / "k.tar"
    with tarfile.open(path, "w") as tar:
        link = tarfile.TarInfo("pki/sa.key")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/shadow"
        tar.addfile(link)
        plain = tarfile.TarInfo("pki/sa.pub")
        plain.size = 2
        tar.addfile(plain, io.BytesIO(b"ab"))
    assert KeyArchive(str(path)).look() == Archive("", {"sa.pub": _sum(b"ab")}, ())
