"""The keys of a cluster: saved apart, and compared with the hosts before a restore."""

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

from .conftest import Matrix

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]
PKI = "/etc/kubernetes/pki"


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
    """A snapshot with its manifest, and the archive of keys, as the words of a restore name them."""
    files = ("-e", f"to={tmp_path}/snapshot.db", "-e", f"keys_to={tmp_path}/keys.tar")
    plan = ("--dry-run", "--out", str(tmp_path / "state" / "plan.drrun"))
    (tmp_path / "state").mkdir()
    for words in (plan, ("--yes", "--no-input")):
        done = operator.drrun("etcd-backup.yaml", *files, *words)
        assert done.returncode == 0, done.stdout + done.stderr
    return ("-e", f"snapshot={tmp_path}/snapshot.db")


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
        private = secrets(tmp_path / "keys.tar")
        assert len(private) == 5
        assert (tmp_path / "keys.tar").stat().st_mode & 0o777 == 0o600
        kept = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
        assert kept
        assert not [p for p in kept for key in private if key in p.read_bytes()]
        manifest = json.loads((tmp_path / "snapshot.db.json").read_text())
        uid = fresh.kubectl("get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}")
        assert manifest["cluster_uid"] == uid.stdout
        said = fresh.ssh("cp1", f"sha256sum <{PKI}/sa.pub; ls /var/backups/drrun").stdout.split()
        assert manifest["keys"]["sa.pub"] == said[0]
        assert not [name for name in said[1:] if "keys" in name]
        other = f"openssl ecparam -name prime256v1 -genkey -noout >{PKI}/sa.key"
        rehearsal.each(fresh, other, ["cp2"])
        before = rehearsal.processes(fresh)
        words = ("restore-cluster.yaml", *backup, "-e", "accept_loss=1000")
        refused = operator.drrun(*words, "--yes", "--no-input")
        told = refused.stdout + refused.stderr
        assert refused.returncode == 5, told
        assert "cp2: not what the snapshot's manifest says: sa.pub" in told
        assert "accept_keys=sa.pub" in told
        assert rehearsal.processes(fresh) == before
        assert not [e for e in operator.journal(operator.newest()) if e.type == "change.intended"]
        accepted = operator.drrun(*words, "-e", "accept_keys=sa.pub", "--dry-run")
        assert accepted.returncode == 0, accepted.stdout + accepted.stderr
        remarks.append("by file, before any stop; no key in plan, journal or report")
