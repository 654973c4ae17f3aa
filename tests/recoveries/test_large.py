"""The restore of a large database: what an outage is made of when every byte has to be read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.lab.test_recovery import lost_and_restored

from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Operator

from .conftest import Matrix
from .states import MEMBERS, sizes

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
    for host in MEMBERS:
        filled = fresh.ssh(host, FILL, timeout=900)
        assert filled.returncode == 0, filled.stderr
    size = min(sizes(fresh))
    assert size > LEAST
    with matrix.cell("restore a database of 2 GB", fresh) as remarks:
        outage = lost_and_restored(fresh, operator, tmp_path)
        report = json.loads(operator.drrun("report", "--format", "json").stdout)
        away, busy = report["outage_seconds"], report["outage_changing_seconds"]
        assert 0 < busy < away
        remarks.append(f"{size / 1e9:.2f} GB; outage {outage:.1f} s to the first write")
        remarks.append(
            f"all back after {away:.1f} s, {busy:.1f} of changes, {away - busy:.1f} of proofs and waits"
        )
