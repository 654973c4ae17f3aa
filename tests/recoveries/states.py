"""Bringing a real cluster into the trouble that a stock runbook is for, and looking at it."""

from __future__ import annotations

import json

from drrun_lab import Lab, rehearsal

MEMBERS = ["cp1", "cp2", "cp3"]
QUOTA = 24 * 1024**2


def dies(lab: Lab, host: str) -> None:
    """A member's etcd is killed."""
    rehearsal.each(lab, "systemctl kill -s KILL etcd; systemctl stop etcd", [host])


def dies_with_its_data(lab: Lab, host: str) -> None:
    """A member's etcd is killed and its data wiped."""
    dies(lab, host)
    rehearsal.each(lab, "rm -rf /var/lib/etcd/member", [host])


def sizes(lab: Lab) -> list[int]:
    """The size of each member's database, in bytes."""
    told = rehearsal.each(lab, f"{rehearsal.ETCDCTL} endpoint status -w json", MEMBERS)
    return [json.loads(text)[0]["Status"]["dbSize"] for text in told.values()]


def fill(lab: Lab, times: int = 200) -> str:
    """Write one key again and again, or until etcd refuses: history, which compaction can free.

    Returns what etcd said when it refused.
    """
    script = (
        f"put() {{ {rehearsal.ETCDCTL} put junk; }}\n"
        "v=$(head -c 500000 /dev/zero | tr '\\0' x)\n"
        f"for i in $(seq {times}); do "
        'printf %s "$v" | put >/dev/null 2>/tmp/e || { cat /tmp/e; break; }; done'
    )
    return lab.ssh("cp1", script, timeout=120).stdout


def runs_out_of_space(lab: Lab) -> None:
    """A small quota, and writes until etcd raises NOSPACE."""
    quota = f"echo 'ETCD_QUOTA_BACKEND_BYTES={QUOTA}' >>/etc/default/etcd"
    # All at once, and waited for: one that restarts later would cut the writes off.
    rehearsal.each(lab, f"{quota}; systemctl restart etcd", MEMBERS)
    lab.wait_ready()
    said = fill(lab)
    assert "database space exceeded" in said, said


def is_full_of_holes(lab: Lab) -> None:
    """Much was written, and its history compacted: the databases hold more than is in use."""
    said = fill(lab, 40)
    assert said == "", said
    ask = f"{rehearsal.ETCDCTL} endpoint status -w json"
    revision = json.loads(lab.ssh("cp1", ask).stdout)[0]["Status"]["header"]["revision"]
    lab.ssh("cp1", f"{rehearsal.ETCDCTL} compact --physical {revision}")
