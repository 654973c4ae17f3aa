"""Every shape of a member's directories: real mounts, a real restore, a real etcd on the result.

Field 9, 10, 11, 20 and 21. Mounts are made in a mount namespace of the test's own, which ends with it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from drrun.spi import Command, Refused, Reply, sh
from drrun.testing import FakeGroup, FakeHost
from drrun_steps.etcd.aside import ASIDE
from drrun_steps.etcd.config import Config, EtcdConfig
from drrun_steps.etcd.directories import Directories, EtcdDirectories
from drrun_steps.etcd.measure import Measure
from drrun_steps.etcd.place import INSTALL, RESTORE, SWAP_BACK, Place, Staged, staged
from drrun_steps.etcd.replay import REPLAY
from drrun_steps.etcd.tools import EtcdTools, Tools
from drrun_steps.host import Disk, HostDisk

_LAB = Path("/var/cache/drrun-lab")


def _tools() -> str:
    """A folder with etcd, etcdctl and etcdutl, or nothing."""
    found = shutil.which("etcdutl")
    if found and shutil.which("etcd") and shutil.which("etcdctl"):
        return str(Path(found).parent)
    for folder in sorted(_LAB.glob("etcd-3.*/root/usr/local/bin")):
        if (folder / "etcdutl").exists():
            return str(folder)
    return ""


_BIN = _tools()
needs_mounts = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("unshare"), reason="mounting needs root and unshare"
)
needs_etcd = pytest.mark.skipif(not _BIN, reason="no etcd, etcdctl and etcdutl on this machine")


def _free() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


_START = r"""
up() { # words: etcd with them, until it answers; then its revision and whose data it is
  etcd --name cp1 --listen-client-urls "$CLIENT" --advertise-client-urls "$CLIENT" --listen-peer-urls "$PEER" \
    --initial-advertise-peer-urls "$PEER" --initial-cluster "cp1=$PEER" --unsafe-no-fsync "$@" >"$ROOT/etcd.log" 2>&1 &
  pid=$!
  n=0
  until value=$(ETCDCTL_API=3 etcdctl --endpoints "$CLIENT" --command-timeout 1s get what --print-value-only 2>/dev/null); do
    n=$((n + 1)); [ $n -lt 60 ] && kill -0 $pid 2>/dev/null || { tail -n 3 "$ROOT/etcd.log" >&2; exit 70; }
    sleep 0.2
  done
  echo "value=$value"
}
down() { kill $pid; wait $pid || true; }
"""


@dataclass
class Site:
    """A member of one shape, in a mount namespace that a process keeps."""

    root: Path
    pid: int
    ports: tuple[int, int]
    data: str = ""
    wal: str = ""

    def sh(self, command: Command) -> Reply:
        """A script, as the host would run it."""
        words = ["nsenter", f"--mount=/proc/{self.pid}/ns/mnt", "--", "/bin/sh"]
        path = f"{_BIN}:{os.environ['PATH']}"
        done = subprocess.run(
            words,
            input=command.script(),
            capture_output=True,
            check=False,
            timeout=120,
            env={**os.environ, "PATH": path},
        )
        return Reply(done.returncode, done.stdout, done.stderr)

    def run(self, text: str, **more: object) -> str:
        """The same, which must not fail."""
        client, peer = (f"http://127.0.0.1:{port}" for port in self.ports)
        reply = self.sh(
            sh(
                f"set -e\n{text}",
                ROOT=str(self.root),
                DATA=self.data,
                WAL=self.wal,
                **{"CLIENT": client, "PEER": peer, **more},
            )
        )
        assert reply.exit == 0, reply.complaint
        return reply.text

    def etcd(self, before: str = "", after: str = "") -> str:
        """Run etcd as this member is configured."""
        words = 'up --data-dir "$DATA"' + (' --wal-dir "$WAL"' if self.wal else "")
        return self.run(f"{_START}\n{before}\n{words}\n{after}\ndown")

    def directories(self) -> Directories:
        """What the product's fact says of them."""
        fact = EtcdDirectories(self.data, self.wal)
        return fact.parse(self.sh(fact.ask()))

    def place(self) -> Place:
        """Where the product swaps."""
        d = self.directories()
        assert d.wrong == ()
        stage = str(self.root / "stage")
        return Place(d.data, d.wal, d.mount, "r1", stage, d.wal_mount, d.inside)

    def step(self, text: str, place: Place) -> Reply:
        """One of the product's scripts."""
        digest = hashlib.sha256((self.root / "stage/snapshot.db").read_bytes()).hexdigest()
        peer = f"http://127.0.0.1:{self.ports[1]}"
        return self.sh(
            sh(
                text,
                **place.environment(),
                RUN="r1",
                SHA256=digest,
                NAME="cp1",
                CLUSTER=f"cp1={peer}",
                TOKEN="t",
                PEER=peer,
                BUMP=0,
                OWNER=self.directories().owner,
                TOOL="etcdutl",
            )
        )

    def state(self, place: Place) -> Staged:
        """How far the swap is."""
        fact = staged(place)
        return fact.parse(self.sh(fact.ask()))

    def tree(self) -> str:
        """Every file of the log and the data, with its inode: what must be as before."""
        return self.run(
            'cd "$ROOT"; find -H d w etcd wal "$DATA/." ${WAL:+"$WAL/."} -name "*.wal" -printf "%p %i\\n" '
            '-o -name db -printf "%p %i\\n" 2>/dev/null | grep -v drrun-r1 | sort || true'
        )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A mount namespace; everything in it is gone when its process ends."""
    # It says a line once it is in its own namespace, and ends when its input does.
    words = ["unshare", "-m", "--propagation", "private", "sh", "-c", "echo in; read -r _"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as keeper:
        assert keeper.stdout is not None
        assert keeper.stdout.readline() == b"in\n"
        yield Site(tmp_path, keeper.pid, (_free(), _free()))
        assert keeper.stdin is not None
        keeper.stdin.close()


# shape: how it is made; the data directory; the WAL directory
_SHAPES = {
    "field-9-wal-mount": ("mkdir w; mount -t tmpfs none w; mkdir w/lost+found", "etcd", "w"),
    "field-9-both-mounts": ("mkdir d w; mount -t tmpfs none d; mount -t tmpfs none w", "d", "w"),
    "field-9-wal-mount-in-data-mount": (
        "mkdir d; mount -t tmpfs none d; mkdir d/wal; mount -t tmpfs none d/wal", "d", "d/wal",
    ),
    "field-10-wal-inside": ("", "etcd", "etcd/wal"),
    "field-10-wal-is-the-default": ("", "etcd", "etcd/member/wal"),
    "field-10-wal-inside-mount": ("mkdir d; mount -t tmpfs none d", "d", "d/wal"),
    "field-11-data-link": ("mkdir d; mount -t tmpfs none d; mkdir d/etcd; ln -s d/etcd etcd", "etcd", ""),
    "field-11-data-link-to-mount": ("mkdir d; mount -t tmpfs none d; ln -s d etcd", "etcd", ""),
    "field-11-wal-link": ("mkdir w; mkdir w/etcd; ln -s w/etcd wal", "etcd", "wal"),
    "plain": ("", "etcd", ""),
    "own-wal": ("", "etcd", "wal"),
}  # fmt: skip


def _member(site: Site, shape: str) -> Place:
    """A member with a snapshot of `then`, which has gone on to `now`; restored beside it."""
    made, data, wal = _SHAPES[shape]
    site.data, site.wal = str(site.root / data), str(site.root / wal) if wal else ""
    site.run(f'cd "$ROOT"; mkdir stage; {made}')
    ctl = 'ETCDCTL_API=3 etcdctl --endpoints "$CLIENT"'
    wal, first = site.wal, str(site.root / "first")
    if "wal-mount" in shape or "both" in shape or "wal-link" in shape:
        site.wal = first  # etcd makes its log by a rename: people move it to its place afterwards
    site.etcd(
        after=f'{ctl} put what then; {ctl} snapshot save "$ROOT/stage/snapshot.db"; {ctl} put what now'
    )
    if site.wal == first:
        site.wal = wal
        site.run('mv "$ROOT"/first/* "$WAL/"; rmdir "$ROOT/first"')
    place = site.place()
    reply = site.step(RESTORE, place)
    assert reply.exit == 0, reply.complaint
    assert site.state(place).state == "staged"
    return place


@needs_etcd
@needs_mounts
@pytest.mark.parametrize("shape", _SHAPES)
def test_each_shape_is_restored_and_put_back(site: Site, shape: str) -> None:
    """Field 9, 10, 11: etcd finds the restored data and log where it looks; undo gives back what was."""
    place = _member(site, shape)
    before = site.tree()
    assert before.count(".wal ") > 0
    reply = site.step(INSTALL, place)
    assert reply.exit == 0, reply.complaint
    assert site.state(place).state == "installed"
    assert site.step(INSTALL, place).exit == 0
    assert "value=then" in site.etcd()
    assert site.state(place).state == "installed"
    links = [path for path in site.root.iterdir() if path.is_symlink()]
    assert len(links) == ("link" in shape)
    for _ in range(2):
        reply = site.step(SWAP_BACK, place)
        assert reply.exit == 0, reply.complaint
    assert site.state(place).state == "staged"
    assert site.tree() == before
    assert "value=now" in site.etcd()


@needs_etcd
@needs_mounts
@pytest.mark.parametrize("shape", _SHAPES)
def test_a_swap_that_was_cut_is_finished_or_undone(site: Site, shape: str) -> None:
    """Cut before each of its moves, in each shape: repeating it finishes it, and undo of the cut one restores."""
    place = _member(site, shape)
    before = site.tree()
    for cut in range(6):
        dies = f'n=0; mv() {{ n=$((n + 1)); [ $n -le {cut} ] || kill -9 $$; command mv "$@"; }}\n'
        assert site.step(dies + INSTALL, place).exit != 0 or cut > 0
        reply = site.step(SWAP_BACK, place)
        assert reply.exit == 0, reply.complaint
        assert site.tree() == before
        site.step(dies + INSTALL, place)
        reply = site.step(INSTALL, place)
        assert reply.exit == 0, reply.complaint
        assert site.state(place).state == "installed"
        site.step(dies + SWAP_BACK, place)
        reply = site.step(SWAP_BACK, place)
        assert reply.exit == 0, reply.complaint
        assert site.tree() == before


@needs_mounts
@pytest.mark.parametrize(
    ("made", "wal", "said"),
    [
        ("mkdir -p etcd/member; mount -t tmpfs none etcd/member", "", "member is a mount point"),
        ("mkdir -p etcd/member/wal; mount -t tmpfs none etcd/member/wal", "", "wal is a mount point"),
        ("mkdir -p etcd/wal; mount -t tmpfs none etcd/wal", "etcd/wal", "wal is a mount point"),
        ("mkdir -p etcd/member w; ln -s ../../w etcd/member/wal", "", "member/wal is a link"),
        ("mkdir -p etcd w; ln -s ../w etcd/member", "", "member is a link"),
        ("mkdir -p w/etcd; ln -s w/etcd etcd", "w", "holds the data directory"),
        ("mkdir -p etcd/member", "etcd", "holds the data directory"),
    ],
)  # fmt: skip
def test_what_a_swap_would_carry_off_is_seen(site: Site, made: str, wal: str, said: str) -> None:
    """Field 11: a mount or a link below the data directory is named, before anything is stopped."""
    site.data, site.wal = str(site.root / "etcd"), str(site.root / wal) if wal else ""
    site.run(f'cd "$ROOT"; {made}')
    assert said in "; ".join(site.directories().wrong)


@needs_mounts
def test_the_owner_is_the_one_on_the_disk(site: Site) -> None:
    """Field 20: of member/, whoever the unit or pod names; an empty directory of root's says nothing."""
    site.data = str(site.root / "etcd")
    assert site.directories().owner == ""
    site.run('mkdir "$DATA"')
    assert site.directories().owner == ""
    site.run('mkdir "$DATA/member"; chown 2379:2380 "$DATA/member"')
    assert site.directories().owner == "2379:2380"


@needs_etcd
@needs_mounts
@pytest.mark.parametrize("shape", ["plain", "own-wal", "field-9-wal-mount"])
def test_the_label_of_before_is_kept(site: Site, shape: str) -> None:
    """Field 21: a container may not read what the policy says of the path; the old label is the right one."""
    place = _member(site, shape)
    label = b"system_u:object_r:container_file_t:s0:c1,c2\0"
    logs = Path(f"/proc/{site.pid}/root{site.wal or site.data + '/member/wal'}")
    data = Path(f"/proc/{site.pid}/root{site.data}")
    try:
        for path in (data, logs):
            os.setxattr(path, "security.selinux", label)
    except OSError as error:
        pytest.skip(f"this file system takes no label: {error}")
    assert site.step(INSTALL, place).exit == 0
    for path in (data, data / "member/snap/db", *logs.glob("*.wal")):
        assert os.getxattr(path, "security.selinux") == label


def _measured(place: Directories, disks: dict[str, int]) -> dict[str, Any]:
    """What etcd.restore.measure plans for one host whose directories are these."""
    config = Config(
        found=True,
        name="cp1",
        data_dir="/var/lib/etcd",
        wal_dir="/wal",
        peer_urls="https://1:2380",
        client_url="https://1:2379",
        owner="root:root",
    )
    answers: dict[Any, Any] = {
        EtcdConfig(): config,
        EtcdTools(): Tools("etcdutl", bump=True),
        EtcdDirectories("/var/lib/etcd", "/wal"): place,
        **{HostDisk(path): Disk(free, 1 << 40) for path, free in disks.items()},
    }
    step = Measure(revision=100, size=1000, max_revision=150)
    outputs: dict[str, Any] = dict(step.run(FakeGroup([FakeHost("cp1", answers)])))
    plan: dict[str, Any] = outputs["members"]["cp1"]
    return plan


def test_measure_plans_with_what_the_disk_says() -> None:
    """Field 9, 11, 20: the links' targets, the mounts and the owner, and the room inside the mounts."""
    place = Directories("/data", mount=True, wal="/wal", wal_mount=True, owner="2379:2379")
    plan = _measured(place, {"/data/drrun": 1 << 40, "/wal/drrun": 1 << 40})
    assert (plan["data_dir"], plan["owner"], plan["wal_mount"]) == ("/data", "2379:2379", True)
    with pytest.raises(Refused, match="1 MiB are free beside /wal"):
        _measured(place, {"/data/drrun": 1 << 40, "/wal/drrun": 1 << 20})


def test_measure_refuses_by_name_what_cannot_be_swapped() -> None:
    """Field 11: before anything is staged or stopped, with the way out."""
    place = Directories("/var/lib/etcd", wrong=("/var/lib/etcd/member is a mount point",))
    with pytest.raises(Refused, match="cp1: /var/lib/etcd/member is a mount point") as refused:
        _measured(place, {})
    assert "--wal-dir" in str(refused.value.hint)


@needs_mounts
@pytest.mark.parametrize("kind", ["link", "wal-mount"])
def test_a_dead_members_data_is_set_aside_in_each_shape(site: Site, kind: str) -> None:
    """Field 9, 11: a link stays a link, and the files of a WAL mount move within it."""
    site.data, site.wal = str(site.root / "etcd"), str(site.root / "w")
    mount = "mount -t tmpfs none w" if kind == "wal-mount" else ":"
    site.run(f'cd "$ROOT"; mkdir -p d/member w; ln -s d etcd; {mount}; echo old >w/0.wal')
    site.run(ASIDE, DIR=site.data, MOUNT="no", RUN="r1")
    assert Path(site.data).is_symlink()
    kept = "w/old-r1/0.wal" if kind == "wal-mount" else "w.old-r1/0.wal"
    assert site.run(f'cd "$ROOT"; cat {kept}; ls -d d.old-r1/member') == "old\nd.old-r1/member\n"


@needs_etcd
@needs_mounts
@pytest.mark.parametrize("kind", ["member-wal-link", "wal-link"])
def test_a_replay_never_writes_into_what_a_link_names(site: Site, kind: str) -> None:
    """Field 11: the copy of a stopped member holds its files, not links to them; the member stays as it is."""
    site.data, site.wal = str(site.root / "etcd"), ""
    site.etcd(after='ETCDCTL_API=3 etcdctl --endpoints "$CLIENT" put what now')
    link = "etcd/member/wal" if kind == "member-wal-link" else "wal"
    site.run(f'cd "$ROOT"; mv etcd/member/wal w; ln -s "$ROOT/w" {link}')
    site.wal = str(site.root / "wal") if kind == "wal-link" else ""
    sums = 'cd "$ROOT"; find w etcd/member -type f -exec sha256sum {} + | sort'
    before = site.run(sums)
    root = str(site.root)
    site.run(f"mount --bind {_BIN} /usr/local/bin")  # where the product looks for etcd
    site.run(
        REPLAY,
        FOLDER=f"{root}/scratch/drrun-r1",
        FILE=f"{root}/out/s.db",
        RUN="r1",
        HOST="cp1",
        NAME="cp1",
        LIMIT=60,
        LIVES=60,
        CLIENT_PORT=_free(),
        PEER_PORT=_free(),
        SERVICE="etcd",
    )
    assert site.run(sums) == before
    assert (site.root / "out/s.db").stat().st_size > 0
