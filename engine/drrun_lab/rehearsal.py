"""What a rehearsal needs besides a lab: objects to lose, a way to destroy, and proofs by reading.

Rule 1: a proof asks the cluster, never drrun: the API servers through the load balancer, etcd by
etcdctl on each host, disks by stat.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from drrun.errors import LabError
from drrun_lab.lab import Lab

NAMESPACE = "rehearsal"
ETCDCTL = (
    "P=/etc/kubernetes/pki/etcd; ETCDCTL_API=3 etcdctl --command-timeout=5s "
    "--endpoints=https://127.0.0.1:2379 --cacert=$P/ca.crt --cert=$P/server.crt --key=$P/server.key"
)
SERVICES = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """What one member of etcd says of itself and of its data."""

    host: str
    cluster: int
    member: int
    revision: int
    hash: int


@dataclass(frozen=True, slots=True, order=True)
class Kept:
    """An old data directory on a host: where it is, whose it is, and its mode."""

    host: str
    path: str
    owner: str
    mode: str


# -- objects ----------------------------------------------------------------------------------


def write_objects(lab: Lab, wave: str, count: int) -> dict[str, str]:
    """Create `count` objects, half ConfigMaps and half Secrets, through the load balancer.

    Returns what was written: `kind/name` and the value. Raises LabError when a write is refused.
    """
    items: list[dict[str, object]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    ]
    written = {}
    for number in range(count):
        kind = ("ConfigMap", "Secret")[number % 2]
        name, value = f"{wave}-{number:03}", f"{kind} {number} of the wave {wave}"
        meta = {"name": name, "namespace": NAMESPACE, "labels": {"wave": wave}}
        field = "stringData" if kind == "Secret" else "data"
        items.append({"apiVersion": "v1", "kind": kind, "metadata": meta, field: {"value": value}})
        written[f"{kind}/{name}"] = value
    told = lab.kubectl(
        "apply", "--validate=false", "-f", "-", stdin=json.dumps(_listed(items)), timeout=120
    )
    if told.returncode != 0:
        raise LabError(f"the API server did not take the objects: {told.stderr.strip()}")
    return written


def read_objects(lab: Lab) -> dict[str, str]:
    """All objects of the rehearsal as the load balancer's API servers give them, Secrets decrypted.

    Raises LabError when they cannot be read.
    """
    told = lab.kubectl(
        "get", "configmaps,secrets", "-n", NAMESPACE, "-l", "wave", "-o", "json", timeout=120
    )
    if told.returncode != 0:
        raise LabError(f"the objects cannot be read: {told.stderr.strip()}")
    return dict(_value(item) for item in json.loads(told.stdout)["items"])


def _listed(items: Sequence[Mapping[str, object]]) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "List", "items": list(items)}


def _value(item: Mapping[str, dict[str, str]]) -> tuple[str, str]:
    import base64

    kind, value = str(item["kind"]), item["data"]["value"]
    plain = base64.b64decode(value).decode() if kind == "Secret" else value
    return f"{kind}/{item['metadata']['name']}", plain


# -- destroying -------------------------------------------------------------------------------


def destroy(lab: Lab) -> None:
    """Leave nothing: etcd killed everywhere, its data wiped, on the last member noise instead.

    The noise has the files' names and sizes, so that something seems to be there. The API servers
    run on, and will be in the way.
    """
    *wiped, noisy = [host.name for host in lab.layout.members]
    each(lab, "systemctl kill --signal=KILL etcd; systemctl stop etcd", [*wiped, noisy])
    each(lab, "rm -rf /var/lib/etcd/member", wiped)
    overwrite = 'head -c "$(stat -c %s "$1")" /dev/urandom 1<>"$1"'
    each(lab, f"find /var/lib/etcd -type f -exec sh -c '{overwrite}' - {{}} ';'", [noisy])


def each(lab: Lab, script: str, hosts: Iterable[str], *, timeout: float = 60) -> dict[str, str]:
    """Run a script on hosts at once; return what each printed. Raises LabError when one fails."""
    names = list(hosts)
    with ThreadPoolExecutor(len(names) or 1) as pool:
        ran = pool.map(lambda name: lab.ssh(name, script, timeout=timeout), names)
        told = dict(zip(names, ran, strict=True))
    for name, done in told.items():
        if done.returncode != 0:
            raise LabError(f"{name}: exit {done.returncode}: {script[:80]}\n{done.stderr}")
    return {name: done.stdout for name, done in told.items()}


# -- proving ----------------------------------------------------------------------------------


def members(lab: Lab, hosts: Sequence[str] = ()) -> list[Member]:
    """Ask every member for its cluster, its revision and the hash of its data at that revision.

    The members are on the control-plane hosts, unless `hosts` are named.
    """
    names = list(hosts) or [host.name for host in lab.layout.members]
    told = each(lab, f"{ETCDCTL} endpoint status -w json", names)
    # Controllers write all the time: hashes compare only at one revision that all have reached.
    lowest = min(json.loads(text)[0]["Status"]["header"]["revision"] for text in told.values())
    # A hash reads every key: a large database takes longer than any other question.
    patient = ETCDCTL.replace("--command-timeout=5s", "--command-timeout=270s")
    hashes = each(lab, f"{patient} endpoint hashkv --rev={lowest} -w json", names, timeout=300)
    found = []
    for name in names:
        header = json.loads(told[name])[0]["Status"]["header"]
        hashed = json.loads(hashes[name])[0]["HashKV"]["hash"]
        found.append(Member(name, header["cluster_id"], header["member_id"], lowest, hashed))
    return found


def disagreement(found: Sequence[Member]) -> str:
    """Why these members are not one cluster with the same data; nothing when they are."""
    if len({member.cluster for member in found}) != 1:
        return f"cluster ids differ: {[hex(m.cluster) for m in found]}"
    if len({member.member for member in found}) != len(found):
        return f"members share an id: {[hex(m.member) for m in found]}"
    if len({member.hash for member in found}) != 1:
        return f"hashes differ at revision {found[0].revision}: {[m.hash for m in found]}"
    return ""


def kept(lab: Lab, run: str) -> list[Kept]:
    """The data directories that a run set aside, as stat sees them."""
    script = f"stat -c '%n %U:%G %a' /var/lib/etcd.old-{run}"
    told = each(lab, script, [host.name for host in lab.layout.members])
    return sorted(Kept(host, *text.split()) for host, text in told.items())


def processes(lab: Lab) -> dict[str, str]:
    """For every host its boot and the process ids of all that drrun could stop or start."""
    ask = " ".join(SERVICES)
    script = f"cat /proc/sys/kernel/random/boot_id; systemctl show -p Id -p MainPID {ask}"
    return each(lab, script, [host.name for host in lab.layout.members])
