"""Whose snapshot it is and which keys it needs, told before anything is stopped (H11, H12)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.unit.steps.recorded_answers import said, snapshot

from drrun.spi import CONTROLLER, Command, Fact, Refused, Reply
from drrun.testing import FakeHost
from drrun_steps.etcd.config import Config, EtcdConfig
from drrun_steps.kube.keys import Keys, KubeKeys
from drrun_steps.kube.manifest import Manifest, SnapshotManifest
from drrun_steps.kube.origin import (
    ClusterHeld,
    EncryptionKeys,
    Fits,
    Origin,
    ReadOrigin,
    SnapshotOrigin,
)
from drrun_steps.service.facts import ServiceState
from drrun_steps.service.flags import ServiceFlag

UID = "b0fb6dbd-6008-4f08-9a5f-049ba07dc6c3"
KEYS = ("aescbc:key1", "kms:vault")
ANSWERS = {"cp1": {"etcd.data_dir": "/srv/etcd", "ready:etcd": "as it must be"}}
SUMS = {"sa.pub": "a" * 64, "ca.crt": "c" * 64}


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """What a real etcd saved: a real kube-system, values of five providers, some of them replaced."""
    path = tmp_path / "kube.db"
    path.write_bytes(snapshot("kube"))
    return path


def _run(shell: tuple[str, ...], command: Command) -> Reply:
    done = subprocess.run(
        shell,
        input=command.script(),
        capture_output=True,
        env={"PATH": os.environ["PATH"]},
        check=False,
    )
    return Reply(done.returncode, done.stdout, done.stderr)


def test_a_snapshot_says_whose_it_is_and_which_keys_it_needs(recorded: Path) -> None:
    """The newest value of each key counts: not one replaced, deleted, or that speaks of a key."""
    assert SnapshotOrigin(str(recorded)).look() == Origin(UID, KEYS)


def test_a_snapshot_without_kubernetes_is_refused(tmp_path: Path, recorded: Path) -> None:
    """Sound, sealed, and of something else; or under another prefix than was said."""
    plain = tmp_path / "plain.db"
    plain.write_bytes(snapshot("35"))
    for fact in (SnapshotOrigin(str(plain)), SnapshotOrigin(str(recorded), "/other")):
        found = fact.look()
        assert found.uid == ""
        host = FakeHost(CONTROLLER, {fact: found})
        with pytest.raises(Refused, match="no namespace kube-system under"):
            ReadOrigin(path=fact.path, prefix=fact.prefix).run(host)


def test_what_was_set_up_otherwise_when_the_snapshot_was_taken_is_told(recorded: Path) -> None:
    """By host and setting; what is as it was is not told, and a manifest of before says that it holds none."""
    fact = SnapshotOrigin(str(recorded))
    manifest = SnapshotManifest(fact.path)
    host = FakeHost(CONTROLLER, {fact: fact.look(), manifest: Manifest("ab", SUMS, ANSWERS)})
    outputs = ReadOrigin(path=fact.path, digest="ab").run(host)
    assert outputs["answers"] == ANSWERS
    old = FakeHost(CONTROLLER, {fact: fact.look(), manifest: Manifest("ab", SUMS)})
    ReadOrigin(path=fact.path, digest="ab").run(old)
    assert any("of before answers were kept" in note for note in old.notes)
    member = _host("same")
    Fits(uid=UID, keys=KEYS, answers={member.name: ANSWERS["cp1"]}).run(member)
    assert [note for note in member.notes if "otherwise than when" in note] == [
        f"otherwise than when the snapshot was taken: {member.name}: etcd.data_dir was /srv/etcd, is /var/lib/etcd"
    ]


@pytest.mark.field("13")
def test_namespaces_that_are_encrypted_are_no_other_cluster() -> None:
    """What cannot be read is said, and accepted by name; it is not refused as a snapshot of something else."""
    fact = SnapshotOrigin("s.db")
    answers: dict[Fact[Any], Any] = {
        fact: Origin("", ("aescbc:key1",), hidden=True),
        SnapshotManifest("s.db"): Manifest(),
    }
    told = ReadOrigin(path="s.db").run(FakeHost(CONTROLLER, answers))
    assert (told["uid"], told["keys"]) == ("unproved", ["aescbc:key1"])
    step = Fits(uid="unproved", keys=KEYS)
    with pytest.raises(Refused, match="not proved") as refused:
        step.run(_host("none"))
    word = refused.value.hint.rpartition("accept_cluster=")[2]
    host = _host("none")
    Fits(uid="unproved", keys=KEYS, accept_cluster=word).run(host)
    assert any("as accepted" in note for note in host.notes)


@pytest.mark.field("13")
def test_an_encrypted_namespace_is_seen_in_the_file(recorded: Path) -> None:
    """The stored kube-system begins as every encrypted value does: same bytes, other content."""
    data, found = recorded.read_bytes(), SnapshotOrigin(str(recorded)).look()
    assert not found.hidden
    at = data.rindex(b"/registry/namespaces/kube-system")
    value = data.index(b"k8s\x00", at)
    recorded.write_bytes(data[:value] + b"k8s:enc:" + data[value + 8 :])
    assert SnapshotOrigin(str(recorded)).look().hidden


def test_what_was_read_is_given_to_the_steps_behind(recorded: Path) -> None:
    """As the proof takes it."""
    fact = SnapshotOrigin(str(recorded))
    host = FakeHost(CONTROLLER, {fact: fact.look(), SnapshotManifest(fact.path): Manifest()})
    told = {"uid": UID, "keys": list(KEYS), "fingerprints": {}, "answers": {}}
    assert ReadOrigin(path=fact.path).run(host) == told


@pytest.mark.parametrize(
    ("manifest", "said", "believed"),
    [
        (Manifest("ab", SUMS, ANSWERS), "", SUMS),
        (Manifest(), "no manifest lies beside", {}),
        (Manifest("cd", SUMS), "is of another file", {}),
        (Manifest("ab", {}, ANSWERS), "names no keys", {}),
    ],
    ids=["its-own", "none", "of-another", "without-keys"],
)
def test_a_manifest_is_believed_of_its_own_snapshot_alone(
    recorded: Path, manifest: Manifest, said: str, believed: dict[str, str]
) -> None:
    """What cannot be compared is said, not guessed."""
    fact = SnapshotOrigin(str(recorded))
    host = FakeHost(CONTROLLER, {fact: fact.look(), SnapshotManifest(fact.path): manifest})
    outputs = ReadOrigin(path=fact.path, digest="ab").run(host)
    assert outputs["fingerprints"] == believed
    assert [said in note for note in host.notes] == ([True] if said else [])


@pytest.mark.parametrize(
    ("content", "held"),
    [
        (b"pages\n" + snapshot("kube"), "same"),
        (snapshot("kube").replace(UID.encode(), b"0" * 36), "other"),
        (snapshot("35"), "none"),
        (b"", "none"),
        (None, "none"),
    ],
    ids=["same", "other", "no-kubernetes", "empty", "missing"],
)
def test_a_data_directory_tells_whose_it_is_without_etcd(
    tmp_path: Path, shell: tuple[str, ...], content: bytes | None, held: str
) -> None:
    """The UID stands in the pages of the database, whether etcd runs or not."""
    if content is not None:
        (tmp_path / "member/snap").mkdir(parents=True)
        (tmp_path / "member/snap/db").write_bytes(content)
    fact = ClusterHeld(UID, str(tmp_path))
    assert fact.parse(_run(shell, fact.ask())) == held


_YAML = """\
apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
  - resources: [secrets, configmaps]  # name: comment
    providers:
      # - name: off
      - aescbc:
          keys:
            - name: key1
              secret: c2VjcmV0IGlzIHNlY3VyZQ==
            - secret: >-
                bW9yZQ==
              name: "key2"
      - kms:
          apiVersion: v2
          name: vault
          endpoint: unix:///run/kms.sock
      - identity: {}
"""
_JSON = (
    '{"kind":"EncryptionConfiguration","resources":[{"resources":["secrets"],"providers":'
    '[{"secretbox":{"keys":[{"name":"box","secret":"c2VjcmV0"}]}},{"identity":{}}]}]}'
)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (_YAML, ("aescbc:key1", "aescbc:key2", "kms:vault")),
        (_JSON, ("secretbox:box",)),
        ("resources: []\n", ()),
        (None, ()),
    ],
    ids=["yaml", "json", "none", "missing"],
)
def test_names_of_keys_leave_the_host_and_no_key_does(
    tmp_path: Path, shell: tuple[str, ...], text: str | None, names: tuple[str, ...]
) -> None:
    """However the file is written, also with a secret on a line of its own."""
    path = tmp_path / "encryption.yaml"
    if text is not None:
        path.write_text(text)
    fact = EncryptionKeys(str(path))
    reply = _run(shell, fact.ask())
    assert fact.parse(reply) == names
    for secret in (b"c2Vj", b"bW9y"):
        assert secret not in reply.stdout + reply.stderr


OVERRIDES = "/events#https://10.0.0.9:2379"


def _host(
    held: str,
    *,
    state: str = "running",
    file: str = "/e.yaml",
    keys: tuple[str, ...] = KEYS,
    overrides: tuple[str, ...] = (),
) -> FakeHost:
    answers: dict[Fact[Any], object] = {
        EtcdConfig(): Config(found=bool(held), data_dir="/var/lib/etcd"),
        ClusterHeld(UID, "/var/lib/etcd"): held,
        ServiceState("kube-apiserver"): state,
        ServiceFlag("kube-apiserver", "encryption-provider-config"): (file,) if file else (),
        ServiceFlag("kube-apiserver", "etcd-servers-overrides"): overrides,
        EncryptionKeys(file): keys,
    }
    return FakeHost("cp1", answers)


def test_a_host_of_the_same_cluster_with_its_keys_fits() -> None:
    """Also one that is no member, one without data (said), and one without an API server."""
    step = Fits(uid=UID, keys=KEYS)
    for host in (_host("same"), _host(""), _host("same", state="missing", keys=())):
        step.run(host)
        assert not host.notes
    empty = _host("none")
    step.run(empty)
    assert "nothing that tells whose it is" in empty.notes[0]


def test_another_clusters_data_is_not_replaced_without_a_word() -> None:
    """The word is the snapshot's UID: one that was copied from an older run does not do."""
    with pytest.raises(Refused, match="of another cluster than the snapshot") as caught:
        Fits(uid=UID, keys=KEYS).run(_host("other"))
    assert f"accept_cluster={UID}" in caught.value.hint
    with pytest.raises(Refused):
        Fits(uid=UID, keys=KEYS, accept_cluster="0" * 36).run(_host("other"))
    host = _host("other")
    Fits(uid=UID, keys=KEYS, accept_cluster=UID).run(host)
    assert "as accepted" in host.notes[0]


@pytest.mark.parametrize(
    ("host", "where"),
    [
        (_host("same", keys=("aescbc:key1",)), "/e.yaml"),
        (_host("same", file="", keys=()), "no --encryption-provider-config"),
    ],
    ids=["another-key", "no-settings"],
)
def test_a_key_that_is_gone_is_found_before_the_stop(host: FakeHost, where: str) -> None:
    """By name, with the file; the same keys in another API server's file are no help here."""
    with pytest.raises(Refused, match="kms:vault") as caught:
        Fits(uid=UID, keys=KEYS).run(host)
    assert where in str(caught.value)


def test_a_snapshot_without_encrypted_values_asks_for_no_keys() -> None:
    """Whatever the settings are."""
    Fits(uid=UID, keys=()).run(_host("same", keys=()))


def test_a_second_etcd_is_not_forgotten() -> None:
    """Events in an etcd of their own are in no snapshot of this one: accepted by name, or refused."""
    with pytest.raises(Refused, match="in another etcd") as caught:
        Fits(uid=UID, keys=KEYS).run(_host("same", overrides=(OVERRIDES,)))
    assert f"accept_overrides='{OVERRIDES}'" in caught.value.hint
    host = _host("same", overrides=(OVERRIDES,))
    Fits(uid=UID, keys=KEYS, accept_overrides=OVERRIDES).run(host)
    assert "stays as it is, as accepted" in host.notes[0]


def test_other_keys_than_the_manifests_are_found_before_the_stop() -> None:
    """By file, with what is lost by it; accepted by name, and by that name alone."""
    other = Keys({"sa.pub": "0" * 64, "ca.crt": "c" * 64})
    host = _host("same")
    host.answers[KubeKeys(encryption="/e.yaml")] = other
    step = Fits(uid=UID, keys=KEYS, fingerprints=SUMS)
    with pytest.raises(Refused, match=r"cp1: .*sa\.pub \(no token of a service account") as caught:
        step.run(host)
    assert "accept_keys=sa.pub" in caught.value.hint
    with pytest.raises(Refused):
        step.model_copy(update={"accept_keys": ("ca.crt",)}).run(host)
    step.model_copy(update={"accept_keys": ("sa.pub",)}).run(host)
    assert "as accepted" in host.notes[0]
    host.answers[KubeKeys(encryption="/e.yaml")] = Keys(SUMS)
    host.notes.clear()
    step.run(host)
    assert host.notes == []


def test_an_answer_that_broke_off_is_no_answer() -> None:
    """Neither `none` nor an empty list is guessed."""
    with pytest.raises(ValueError, match="cannot read"):
        ClusterHeld(UID, "/x").parse(said("", code=124))
    with pytest.raises(ValueError, match="cannot read"):
        EncryptionKeys("/x").parse(said("", code=124))
