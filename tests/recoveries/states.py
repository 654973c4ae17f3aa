"""Bringing a real cluster into the trouble that a stock runbook is for, and looking at it."""

from __future__ import annotations

import json
import shutil

from drrun_lab import Lab, Progress, rehearsal
from drrun_lab.preparation import etcd_release
from drrun_lab.waiting import until

MEMBERS = ["cp1", "cp2", "cp3"]
LOST = ["cp2", "cp3"]
QUIET = "systemctl stop kube-apiserver kube-controller-manager kube-scheduler"
BARE = (
    "rm -rf /etc/kubernetes/pki /etc/kubernetes/*.conf /etc/kubernetes/encryption.yaml /root/.kube"
)
"""What the lab gives its spares, and a new machine has not."""
GONE = f"{QUIET} etcd; rm -rf /var/lib/etcd/member; {BARE}"
"""Nothing is left of a control plane on a host."""
QUOTA = 24 * 1024**2


def dies(lab: Lab, host: str) -> None:
    """A member's etcd is killed."""
    rehearsal.each(lab, "systemctl kill -s KILL etcd; systemctl stop etcd", [host])


def stops_one_by_one(lab: Lab) -> dict[str, str]:
    """Every member is killed, cp1 long before the others: it lacks what was written since.

    Returns all the objects that there are.
    """
    objects = rehearsal.write_objects(lab, "before", 10)
    dies(lab, "cp1")
    lab.wait_ready(controllers=False)
    objects |= rehearsal.write_objects(lab, "since", 10)
    rehearsal.each(lab, "systemctl kill -s KILL etcd; systemctl stop etcd", ["cp2", "cp3"])
    return objects


def dies_with_its_data(lab: Lab, host: str) -> None:
    """A member's etcd is killed and its data wiped."""
    dies(lab, host)
    rehearsal.each(lab, "rm -rf /var/lib/etcd/member", [host])


INSTALL = "install -m 0755 /root/etcd/etcd* /usr/local/bin/"
"""What puts a release that was laid ready in the place of the one that runs."""


def laid_ready(lab: Lab, line: str) -> str:
    """Put another release of etcd into a folder of each member's host; return its version."""
    programs, version = etcd_release(line, Progress())
    for host in MEMBERS:
        folder = lab.machine(host).root / "root/etcd"
        folder.mkdir(exist_ok=True)
        for program in programs.iterdir():
            shutil.copy2(program, folder)
    return version


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


def dies_for_good(lab: Lab) -> None:
    """Two of three members are killed and wiped: no quorum comes back by itself."""
    script = "systemctl kill -s KILL etcd; systemctl stop etcd; rm -rf /var/lib/etcd/member"
    rehearsal.each(lab, script, LOST)


def knows_one_member(lab: Lab) -> None:
    """Every API server was told of cp1's etcd alone, as by a hand that forgot the others."""
    script = (
        "sed -i 's,--etcd-servers=[^ \\\\]*,--etcd-servers={},' "
        "$(systemctl show --value -p FragmentPath kube-apiserver)"
    )
    only = script.format(urls(lab, "cp1"))
    rehearsal.each(
        lab, f"{only}; systemctl daemon-reload; systemctl restart kube-apiserver", MEMBERS
    )
    lab.wait_ready()


def urls(lab: Lab, *names: str) -> str:
    """The client URLs of hosts, in order of text."""
    return ",".join(sorted(f"https://{lab.layout.host(name).address}:2379" for name in names))


# -- members that differ ----------------------------------------------------------------------


def diverges(lab: Lab, bad: str) -> None:
    """One member holds a key that the others do not, and all call themselves healthy."""
    rehearsal.each(lab, QUIET, MEMBERS)
    good = saved(lab, "good")
    put(lab, f"/only/{bad}")
    restore_each(lab, {**dict.fromkeys(MEMBERS, good), bad: saved(lab, "bad")})
    rehearsal.each(lab, QUIET.replace("stop", "start"), MEMBERS)
    lab.wait_ready()


def restore_each(lab: Lab, snapshots: dict[str, str]) -> None:
    """By hand, as a hurried operator does: each host from a snapshot of its own, one token for all."""
    cluster = ",".join(f"{h.name}=https://{h.address}:2380" for h in lab.layout.members)
    rehearsal.each(lab, "systemctl stop etcd", MEMBERS)
    for host in lab.layout.members:
        content = lab.ssh("cp1", f"base64 {snapshots[host.name]}").stdout
        lab.ssh(host.name, "base64 -d >/root/restore.db", stdin=content)
        script = (
            "mv /var/lib/etcd /var/lib/etcd.before\n"
            "T=$(command -v etcdutl || command -v etcdctl); ETCDCTL_API=3 $T snapshot restore /root/restore.db "
            f"--name {host.name} --initial-cluster {cluster} --initial-cluster-token same "
            f"--initial-advertise-peer-urls https://{host.address}:2380 --data-dir /var/lib/etcd\n"
            "chown -R etcd:etcd /var/lib/etcd && chmod 700 /var/lib/etcd"
        )
        rehearsal.each(lab, f"set -e\n{script}", [host.name])
    rehearsal.each(lab, "systemctl start --no-block etcd", MEMBERS)
    until(lambda: healthy(lab), timeout=60, awaiting="all members to call themselves healthy")


def healthy(lab: Lab) -> bool:
    """What `etcdctl endpoint health --cluster` says of all of them."""
    told = lab.ssh("cp1", f"{rehearsal.ETCDCTL} endpoint health --cluster 2>&1")
    return told.returncode == 0 and told.stdout.count("is healthy") == 3


def saved(lab: Lab, name: str) -> str:
    """A snapshot on cp1, by hand, and its path."""
    path = f"/root/{name}.db"
    rehearsal.each(lab, f"rm -f {path}; {rehearsal.ETCDCTL} snapshot save {path}", ["cp1"])
    return path


def put(lab: Lab, key: str) -> None:
    """One key, written through cp1."""
    rehearsal.each(lab, f"{rehearsal.ETCDCTL} put {key} value", ["cp1"])


DEAD = "10.255.255.1"
"""An address that nobody has."""


def announces_a_dead_server(lab: Lab) -> None:
    """A dead API server is announced by a key without a lease, as copies of keys leave it."""
    endpoints = {
        "kind": "Endpoints",
        "apiVersion": "v1",
        "metadata": {"name": ""},
        "subsets": [{"addresses": [{"ip": DEAD}]}],
    }
    put = f"{rehearsal.ETCDCTL} put /registry/masterleases/{DEAD} '{json.dumps(endpoints)}'"
    rehearsal.each(lab, put, ["cp1"])


def announced(lab: Lab) -> set[str]:
    """The addresses that are announced as API servers."""
    listed = lab.ssh("cp1", f"{rehearsal.ETCDCTL} get /registry/masterleases/ --prefix --keys-only")
    return {key.rpartition("/")[2] for key in listed.stdout.split()}
