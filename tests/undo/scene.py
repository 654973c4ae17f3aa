"""A cluster on which runs are failed at one change, and undone; and how it stands before and after."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.restoring import Screen, job, run_of

from drrun.values import digest
from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Happened, Operator
from drrun_lab.waiting import until

WRITER = "gitops"
"""A unit that writes into the cluster, on cp1: what `-e writers=` names."""
_UNIT = "[Service]\\nExecStart=/bin/sleep infinity\\n"
_PORTS = {"094B": "2379", "094C": "2380", "192B": "6443", "2811": "10257", "2813": "10259"}
_STANDS = r"""
for s in etcd kube-apiserver kube-controller-manager kube-scheduler gitops haproxy kubelet; do
  echo "unit $s $(systemctl is-active $s)"
  echo "runs $s $(ls -l /proc/[0-9]*/exe 2>/dev/null | grep -c "/$s\$")"
done
awk '$4 == "0A" { sub(/.*:/, "", $2); print "port", $2 }' /proc/net/tcp /proc/net/tcp6 | sort -u
for d in /etc/systemd/system/*.d /etc/kubernetes/manifests /var/lib/drrun/stopped /var/lib/drrun/aside /var/lib/etcd; do
  [ ! -d "$d" ] || ls -A "$d" | sed "s|^|in $d: |"
done
ls -d /var/lib/etcd* $(ls -d /var/lib/drrun-*/* 2>/dev/null) | sed 's/^/beside /'
stat -c 'owner %n %U:%G %a' /var/lib/etcd /var/lib/etcd/member 2>/dev/null
sha256sum /etc/default/etcd /etc/systemd/system/*.service /etc/kubernetes/manifests/* /etc/kubernetes/*.conf \
  $(find /etc/kubernetes/pki -type f) /usr/local/bin/etcd 2>/dev/null
{ nft list tables; iptables -S; } 2>/dev/null | grep -i drrun
true
"""
"""Sh: services, ports, holds, manifests, directories, settings, keys, closed ports: a line each."""
_BALANCED = """perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new("/run/haproxy/admin.sock");
print $s "show stat\\n"; $s->flush; print while <$s>' | awk -F, '$1 == "control_plane" && $2 ~ /^cp/ { print "serves", $2, $18 }'"""


@dataclass(frozen=True, slots=True)
class At:
    """One change of a run: that of a step on a host; of a group's step as well."""

    step: str
    change: str
    host: str
    group: bool = False

    @property
    def unit(self) -> str:
        """The unit that makes it."""
        return self.step if self.group else f"{self.step}@{self.host}"

    def __str__(self) -> str:
        return f"{self.step} {self.change} {self.host}"

    def token(self, run: str) -> str:
        """The job's name on its host, in the unit's first attempt."""
        seed = [run, self.unit, self.change, self.host, 1, False, 1]
        return f"c-{digest(seed)[:20]}"


@dataclass(slots=True)
class Scene:
    """A lab in use, its objects, and a snapshot of it."""

    lab: Lab
    folder: Path
    operator: Operator = field(init=False)
    objects: Mapping[str, str] = field(default_factory=dict)
    revision: int = 0
    """Of etcd, right before the snapshot."""
    dirty: bool = True
    """Whether a case left something: it is made anew for the next one."""

    def __post_init__(self) -> None:
        """Runs are kept in its folder."""
        self.operator = Operator(self.lab.inventory, self.folder / "state")

    @property
    def snapshot(self) -> Path:
        """The snapshot's file."""
        return self.folder / "snapshot.db"

    @property
    def hosts(self) -> list[str]:
        """The control plane's hosts."""
        return [host.name for host in self.lab.layout.members]

    def made(self) -> None:
        """As it was right after its first boot, with objects, a writer and a snapshot."""
        self.lab.reset()
        write = f"printf '{_UNIT}' >/etc/systemd/system/{WRITER}.service; systemctl daemon-reload; systemctl start {WRITER}"
        rehearsal.each(self.lab, write, self.hosts[:1])
        self.objects = rehearsal.write_objects(self.lab, "before", 10)
        self.revision = rehearsal.members(self.lab)[0].revision
        for old in self.folder.glob("snapshot.db*"):
            old.unlink()
        done = self.drrun("etcd-backup.yaml", "-e", f"to={self.snapshot}", "--yes", "--no-input")
        assert done.returncode == 0, done.stdout + done.stderr
        self.dirty = False

    def drrun(self, *words: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        """A drrun to its end."""
        return self.operator.drrun(*words, timeout=timeout)

    @property
    def restore(self) -> tuple[str, ...]:
        """The command line of a restore that accepts what was written since the snapshot."""
        loss = rehearsal.members(self.lab)[0].revision - self.revision + 200
        said = (
            "-e",
            f"snapshot={self.snapshot}",
            "-e",
            f"accept_loss={loss}",
            "-e",
            f"writers={WRITER}",
        )
        return ("restore-cluster.yaml", *said, "--yes", "--no-input")

    # -- failing --------------------------------------------------------------------------------

    def failed(self, at: At, words: Sequence[str]) -> str:
        """Run until one change cannot be begun on its host: a file is where its job's folder goes. The run's id."""
        screen = Screen.of(self.operator, *words)
        try:
            run = run_of(screen.until(" run="))
            place = job(self.lab, at.host, run, at.token(run))
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text("in the way\n")
            code = screen.end(900)
        finally:
            screen.kill()
        assert (code, self.bad_ends(run)) == (1, [at.unit]), screen.told[-4000:]
        return run

    def bad_ends(self, run: str, *, undo: bool = False) -> list[str]:
        """The units that ended badly, forward or back; the last word of each counts."""
        last: dict[str, Happened] = {}
        for event in self.operator.journal(run):
            if event.type == "unit.finished" and event.body["undo"] == undo:
                last[event.body["unit"]] = event
        good = {"changed", "already", "skipped", "undone"}
        return [unit for unit, event in last.items() if event.body["outcome"] not in good]

    def undone(self, run: str) -> tuple[int, str]:
        """Undo it: exit code, and all that was said."""
        done = self.drrun("abort", run, "--undo", "--no-input")
        return done.returncode, done.stdout + done.stderr

    # -- how it stands --------------------------------------------------------------------------

    def stands(self) -> dict[str, frozenset[str]]:
        """Host -> what is said of it, line by line."""
        told = rehearsal.each(self.lab, _STANDS, self.hosts)
        balancers = [h.name for h in self.lab.layout.hosts if h.role == "load_balancer"]
        told |= rehearsal.each(self.lab, _BALANCED, balancers)
        return {host: frozenset(_lines(text)) for host, text in told.items()}

    def whole(self) -> bool:
        """Whether the objects are there, and the members are one cluster."""
        try:
            if rehearsal.read_objects(self.lab) != self.objects:
                return False
            return rehearsal.disagreement(rehearsal.members(self.lab)) == ""
        except Exception:  # noqa: BLE001 - whatever it says, it is not whole yet
            return False

    def back(self, before: Mapping[str, frozenset[str]]) -> None:
        """Everything stands as before, and clients find what was there; a balancer needs some seconds to see it."""
        now = self.stands()
        wrong = [line for line in differences(before, now) if "serves" not in line]
        assert not wrong, "\n".join(wrong)
        until(
            lambda: differences(before, self.stands()) == [],
            timeout=20,
            awaiting="the balancer to see every API server",
        )
        until(self.whole, timeout=60, awaiting="the objects, through the load balancer")

    @contextmanager
    def case(self) -> Iterator[dict[str, frozenset[str]]]:
        """How it stood before; made anew first where the last case left something."""
        if self.dirty:
            self.made()
        self.still()
        self.dirty = True
        yield self.stands()
        self.dirty = False

    def still(self) -> None:
        """Wait until everything is as a sound cluster is."""
        until(self.settled, timeout=90, awaiting="everything to stand still")

    def settled(self) -> bool:
        """Whether every API server is let in and all services run."""
        told = self.stands()
        serving = [line for lines in told.values() for line in lines if line.startswith("serves")]
        return self.whole() and len(serving) == 3 and all(line.endswith(" UP") for line in serving)


def _lines(text: str) -> Iterator[str]:
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "port":
            if rest in _PORTS:
                yield f"port {_PORTS[rest]}"
        elif line.strip():
            yield line


def differences(
    before: Mapping[str, frozenset[str]], after: Mapping[str, frozenset[str]]
) -> list[str]:
    """`cp2: was: unit etcd active` and `cp2: now: unit etcd failed`, in order."""
    return [
        f"{host}: {when}: {line}"
        for host in before
        for when, lines in (
            ("was", before[host] - after[host]),
            ("now", after[host] - before[host]),
        )
        for line in sorted(lines)
    ]
