"""The restore of a large database: what an outage is made of when every byte has to be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.lab.test_recovery import lost_and_restored

from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Operator
from drrun_lab.waiting import until

from .conftest import Matrix
from .states import MEMBERS, sizes
from .test_static_pods import lives, restored

pytestmark = [pytest.mark.lab, pytest.mark.timeout(2400)]

QUOTA = 8 * 1024**3
"""etcd's own is 2 GiB; 8 is what its documentation has as the most for ordinary use."""
LEAST = 2 * 1000**3
FILL = f"""
set -e
v=$(mktemp)
for i in $(seq 540); do
  head -c 960000 /dev/urandom | base64 -w0 >$v
  {rehearsal.ETCDCTL} put "/filler/$(hostname)/$i" <$v >/dev/null
done
rm $v
"""
"""540 values of 1.28 MB that no compression makes small; beside Kubernetes' keys, not among them:
API servers would list them, and this is about etcd."""


def test_a_database_of_two_gigabytes_comes_back(
    fresh: Lab, operator: Operator, matrix: Matrix, tmp_path: Path
) -> None:
    """H33: everything destroyed and back; the report tells the time of proofs from that of changes."""
    quota = f"echo 'ETCD_QUOTA_BACKEND_BYTES={QUOTA}' >>/etc/default/etcd; systemctl restart etcd"
    rehearsal.each(fresh, quota, MEMBERS)
    fresh.wait_ready()
    size = _filled(fresh)
    with matrix.cell("restore a database of 2 GB", fresh) as remarks:
        outage = lost_and_restored(fresh, operator, tmp_path)
        remarks += _told_apart(operator, size, outage)


def test_a_database_of_two_gigabytes_comes_back_in_pods(
    pods: Lab, operator: Operator, matrix: Matrix, tmp_path: Path
) -> None:
    """H33: all members of a cluster that lives go back to the snapshot."""
    before = lives(pods, "etcd")
    quota = f"sed -i 's/^    - --name=/    - --quota-backend-bytes={QUOTA}\\n&/'"
    rehearsal.each(pods, f"{quota} /etc/kubernetes/manifests/etcd.yaml", MEMBERS)
    until(
        lambda: len(lives(pods, "etcd") - before) == 3,
        timeout=180,
        awaiting="etcd with the large quota",
    )
    pods.wait_ready()
    size = _filled(pods)
    with matrix.cell("restore a database of 2 GB", pods) as remarks:
        outage = restored(pods, operator, tmp_path / "snapshot.db", loss=5000)
        remarks += _told_apart(operator, size, outage)


def _filled(lab: Lab) -> int:
    """Fill a cluster from each member; the size of the smallest database, in bytes."""
    for host in MEMBERS:
        filled = lab.ssh(host, FILL, timeout=900)
        assert filled.returncode == 0, filled.stderr
    size = min(sizes(lab))
    assert size > LEAST
    return size


def _told_apart(operator: Operator, size: int, outage: float) -> list[str]:
    """What is remarked of a restore: the report tells its changes from its proofs."""
    report = json.loads(operator.drrun("report", "--format", "json").stdout)
    away, busy = report["outage_seconds"], report["outage_changing_seconds"]
    assert 0 < busy < away
    return [
        f"{size / 1e9:.2f} GB; outage {outage:.1f} s to the first write",
        f"all back after {away:.1f} s, {busy:.1f} of changes, {away - busy:.1f} of proofs and waits",
    ]
