"""The keys of a cluster: saved apart, compared before a restore, and a control plane rebuilt from them."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from drrun_lab import Lab, LabSpec, Progress, rehearsal
from drrun_lab.layout import EtcdLine
from drrun_lab.operator import Operator
from drrun_lab.waiting import until

from .conftest import Matrix
from .states import BARE

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]
PKI = "/etc/kubernetes/pki"
SPARES = ["sp1", "sp2", "sp3"]
NEW = ("-e", "role.etcd=spare", "-e", "role.control_plane=spare")
STATE = "find /etc/kubernetes /etc/default/etcd /etc/systemd/system /var/lib/etcd -type f | sort | xargs sha256sum"
NODE = """
apiVersion: v1
kind: Node
metadata: {name: cp2}
"""


@pytest.fixture(scope="module", name="booted", params=["3.5", "3.4"])
def _booted(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """Three control-plane hosts, a load balancer, and three more hosts that run nothing."""
    if os.geteuid() != 0:
        pytest.skip("booting hosts needs root")
    line: EtcdLine = request.param
    lab = Lab.up(
        f"rebuild{line.replace('.', '')}", LabSpec(etcd=line, spares=3), progress=Progress()
    )
    yield lab
    if not os.environ.get("DRRUN_KEEP_LAB"):
        lab.down()


@pytest.fixture(name="backup")
def _backup(fresh: Lab, operator: Operator, tmp_path: Path) -> tuple[str, ...]:
    return backed_up(operator, tmp_path)


def backed_up(operator: Operator, folder: Path) -> tuple[str, ...]:
    """A snapshot with its manifest, and the archive of keys, as the words of a restore name them."""
    files = ("-e", f"to={folder}/snapshot.db", "-e", f"keys_to={folder}/keys.tar")
    plan = ("--dry-run", "--out", str(folder / "state" / "plan.drrun"))
    (folder / "state").mkdir()
    for words in (plan, ("--yes", "--no-input")):
        done = operator.drrun("etcd-backup.yaml", *files, *words)
        assert done.returncode == 0, done.stdout + done.stderr
    return ("-e", f"snapshot={folder}/snapshot.db")


def keys_saved(operator: Operator, folder: Path) -> Path:
    """The archive of a running control plane's keys, with a snapshot beside it."""
    files = ("-e", f"to={folder}/snapshot.db", "-e", f"keys_to={folder}/keys.tar")
    done = operator.drrun("etcd-backup.yaml", *files, "--yes", "--no-input")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "keys.tar"


def secrets(archive: Path) -> list[bytes]:
    """A line of every private key in an archive, and the key that encrypts Secrets."""
    found = []
    with tarfile.open(archive) as tar:
        for member in tar:
            content = tar.extractfile(member)
            if content is not None and member.name.endswith(".key"):
                found.append(content.read().splitlines()[1])
            elif content is not None and member.name.endswith("encryption.yaml"):
                found.append(content.read().partition(b"secret: ")[2].partition(b"}")[0])
    return found


def test_keys_are_saved_apart_and_others_are_refused(
    fresh: Lab, operator: Operator, backup: tuple[str, ...], matrix: Matrix, tmp_path: Path
) -> None:
    """No key is in a plan, a journal or a report; a host with another sa.key is refused before a stop."""
    with matrix.cell("keys saved apart; a host with others is refused", fresh) as remarks:
        kept_apart(fresh, tmp_path)
        before = rehearsal.processes(fresh)
        others_refused(fresh, operator, backup)
        assert rehearsal.processes(fresh) == before
        remarks.append("by file, before any stop; no key in plan, journal or report")


def kept_apart(lab: Lab, folder: Path) -> None:
    """Five private keys are in the archive and nowhere else; the manifest names whose they are."""
    private = secrets(folder / "keys.tar")
    assert len(private) == 5
    assert (folder / "keys.tar").stat().st_mode & 0o777 == 0o600
    kept = [path for path in (folder / "state").rglob("*") if path.is_file()]
    assert kept
    assert not [p for p in kept for key in private if key in p.read_bytes()]
    manifest = json.loads((folder / "snapshot.db.json").read_text())
    uid = lab.kubectl("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")
    assert manifest["cluster_uid"] == uid.stdout
    said = lab.ssh("cp1", f"sha256sum <{PKI}/sa.pub; ls /var/backups/drrun").stdout.split()
    assert manifest["keys"]["sa.pub"] == said[0]
    assert not [name for name in said[1:] if "keys" in name]


def others_refused(lab: Lab, operator: Operator, backup: tuple[str, ...]) -> None:
    """cp2 gets another sa.key: a restore is refused for it before any change, or takes it by name."""
    other = f"openssl ecparam -name prime256v1 -genkey -noout >{PKI}/sa.key"
    rehearsal.each(lab, other, ["cp2"])
    words = ("restore-cluster.yaml", *backup, "-e", "accept_loss=1000")
    refused = operator.drrun(*words, "--yes", "--no-input")
    told = refused.stdout + refused.stderr
    assert refused.returncode == 5, told
    assert "cp2: not what the snapshot's manifest says: sa.pub" in told
    assert "accept_keys=sa.pub" in told
    assert not [e for e in operator.journal(operator.newest()) if e.type == "change.intended"]
    accepted = operator.drrun(*words, "-e", "accept_keys=sa.pub", "--dry-run")
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr


def rebuild(operator: Operator, folder: Path, *words: str) -> tuple[int, str]:
    """The runbook on the three new hosts: exit code and what was said."""
    files = ("-e", f"snapshot={folder}/snapshot.db", "-e", f"keys={folder}/keys.tar")
    asked = (
        "rebuild-control-plane.yaml",
        *NEW,
        *files,
        "-e",
        "accept_unlisted=cp1,cp2,cp3",
        *words,
    )
    done = operator.drrun(*asked, timeout=600)
    return done.returncode, done.stdout + done.stderr


def balance(lab: Lab) -> None:
    """What the last step tells the operator to do: the load balancer gets the new backends."""
    swap = "; ".join(
        f"s/ {old.address}:6443/ {new.address}:6443/"
        for old, new in zip(lab.layout.members, lab.layout.spares, strict=True)
    )
    rehearsal.each(
        lab, f"sed -i '{swap}' /etc/haproxy/haproxy.cfg; systemctl restart haproxy", ["lb"]
    )
    ready = "the load balancer to send clients to the new API servers"
    until(
        lambda: lab.kubectl("get", "--raw", "/readyz").returncode == 0, timeout=60, awaiting=ready
    )


def without(archive: Path, name: str) -> None:
    """The archive, as it would be had somebody forgotten a file."""
    whole = archive.rename(archive.with_suffix(".whole"))
    with tarfile.open(whole) as old, tarfile.open(archive, "w") as new:
        for member in old:
            if member.name.removeprefix("./") != name:
                new.addfile(member, old.extractfile(member) if member.isfile() else None)


def test_a_control_plane_is_rebuilt_on_other_hosts(
    fresh: Lab, operator: Operator, matrix: Matrix, tmp_path: Path
) -> None:
    """H13: three hosts are gone for good; three others have its objects, Secrets and tokens again."""
    objects = rehearsal.write_objects(fresh, "before", 40)
    assert fresh.kubectl("create", "-f", "-", stdin=NODE).returncode == 0
    uid = fresh.kubectl("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}").stdout
    token = "kubectl get secret -n default -o jsonpath='{.items[0].data.token}' | base64 -d"
    token = rehearsal.each(fresh, token, ["cp1"])["cp1"]
    rehearsal.each(fresh, BARE, SPARES)
    keys_saved(operator, tmp_path)
    rehearsal.write_objects(fresh, "after", 10)
    before = rehearsal.each(fresh, STATE, SPARES)
    code, told = rebuild(operator, tmp_path, "--yes", "--no-input")
    assert code == 5, told
    assert "the old cluster is not gone" in told
    assert rehearsal.each(fresh, STATE, SPARES) == before
    for host in fresh.layout.members:
        fresh.power_cut(host.name)
    with matrix.cell("all hosts gone: rebuilt on others from keys and snapshot", fresh) as remarks:
        code, told = rebuild(operator, tmp_path, "--stage", "--yes", "--no-input")
        assert code == 0, told
        undone = operator.drrun("abort", operator.newest(), "--undo", "--no-input", timeout=600)
        assert undone.returncode == 8, undone.stdout + undone.stderr
        assert rehearsal.each(fresh, STATE, SPARES) == before
        code, told = rebuild(operator, tmp_path, "--yes", "--no-input")
        assert code == 0, told
        assert "kubectl delete node cp2" in told
        balance(fresh)
        assert rehearsal.read_objects(fresh) == objects
        assert rehearsal.disagreement(rehearsal.members(fresh, SPARES)) == ""
        again = fresh.kubectl("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")
        assert again.stdout == uid
        whoami = fresh.kubectl("create", "-f", "-", "-o", "jsonpath={.status}", stdin=review(token))
        assert '"authenticated":true' in whoami.stdout, whoami.stdout + whoami.stderr
        assert fresh.kubectl("create", "configmap", "anew").returncode == 0
        own = f"openssl x509 -in {PKI}/apiserver.crt -noout -ext subjectAltName"
        for host in fresh.layout.spares:
            names = fresh.ssh(host.name, own).stdout
            assert f"IP Address:{host.address}" in names
            assert f"IP Address:{fresh.haproxy_address}" in names
        remarks.append(
            "40 objects of the snapshot, none of 10 later ones; tokens of before are valid; staged and undone first"
        )


def review(token: str) -> str:
    """The question whether a token is anybody's."""
    kind = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview"}
    return json.dumps({**kind, "spec": {"token": token}})


@pytest.mark.parametrize("name", ["pki/sa.key", "pki/ca.key", "encryption.yaml"])
def test_what_was_not_saved_is_not_made_up(
    fresh: Lab, operator: Operator, backup: tuple[str, ...], tmp_path: Path, name: str
) -> None:
    """Without an authority, sa.key or the encryption settings: refused, with what that means."""
    without(tmp_path / "keys.tar", name)
    before = rehearsal.each(fresh, STATE, SPARES)
    code, told = rebuild(operator, tmp_path, "--yes", "--no-input")
    assert code == 5, told
    file = name.removeprefix("pki/").replace("encryption.yaml", "encryption")
    assert f"keys.tar lacks {file}: without {file}, " in told
    assert rehearsal.each(fresh, STATE, SPARES) == before
