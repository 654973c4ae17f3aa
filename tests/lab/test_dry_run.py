"""A dry-run reads and nothing else: traced on every host, from sshd down."""

from __future__ import annotations

import base64
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from drrun_lab import Lab, Progress, rehearsal
from drrun_lab.operator import Operator
from drrun_lab.packages import install_missing
from drrun_lab.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

CALLS = (
    "execve,open,openat,openat2,creat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,"
    "link,linkat,symlink,symlinkat,truncate,ftruncate,chmod,fchmod,fchmodat,chown,fchown,lchown,"
    "fchownat,mknod,mknodat,setxattr,kill"
)
"""What could leave a trace on a disk or in another process."""
LINE = re.compile(r"^(?P<pid>\d+)<(?P<comm>[^>]*)> +(?P<call>\w+)\((?P<args>.*)")
WRITES = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND")
NOWHERE = re.compile(
    r'"/dev/(null|tty|stdout|stderr|fd/\d+|pts/\d+)"|"/proc/self/fd/\d+"|"/run/motd\.'
)
"""Opened for writing, but no file of ours: a redirection to nothing or to where it came from, and
PAM's message of the day, which sshd has made before it starts what was asked for."""
OWN = ("sshd", "sudo", "unix_chkpwd")
"""Their own records of a log-in (journal, wtmp, lastlog) are theirs: hazard H17's list."""


@contextmanager
def traced(lab: Lab, folder: Path) -> Iterator[dict[str, Path]]:
    """Follow sshd and whatever it starts, on every member, for the length of a block."""
    install_missing({"strace": "strace"}, Progress())
    files, tracers = {}, []
    for host in lab.layout.members:
        files[host.name] = folder / f"{host.name}.strace"
        pid = _listener(lab, host.name)
        words = ["strace", "-f", "-Y", "-qqq", "-s", "300", "-e", f"trace={CALLS}"]
        tracers.append(subprocess.Popen([*words, "-p", str(pid), "-o", str(files[host.name])]))
        until(partial(_is_traced, pid), timeout=10, awaiting=f"strace on {host.name}")
    try:
        yield files
    finally:
        for tracer in tracers:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(timeout=20)


def _listener(lab: Lab, host: str) -> int:
    """The process id, on this machine, of the sshd that listens on a host."""
    candidates = []
    for pid in lab.machine(host).cgroup.members():
        status = _status(pid)
        if status.get("Name") == "sshd":
            candidates.append((int(status["NSpid"].split()[-1]), pid))
    assert candidates, f"no sshd on {host}"
    return min(candidates)[1]


def _status(pid: int) -> dict[str, str]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        return {}
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _is_traced(pid: int) -> bool:
    return _status(pid).get("TracerPid", "0") != "0"


def writes(trace: Path) -> list[str]:
    """The lines of a trace in which a descendant of sshd, not sshd itself, could change something."""
    found = []
    for line in trace.read_text(errors="replace").splitlines():
        match = LINE.match(line)
        if match is None or match["comm"] in OWN or match["call"] == "execve":
            continue
        opens = match["call"] in {"open", "openat", "openat2"}
        if opens and (not WRITES.search(match["args"]) or NOWHERE.search(match["args"])):
            continue
        if match["call"] == "kill" and re.match(r"\d+[^,]*, 0\b", match["args"]):
            continue
        found.append(line)
    return found


def test_a_dry_run_leaves_no_file_and_no_process(
    fresh: Lab, operator: Operator, tmp_path: Path
) -> None:
    """No descendant of its sshd opens a file for writing; no job or lock folder; nobody stays."""
    snapshot = tmp_path / "snapshot.db"
    hosts = [host.name for host in fresh.layout.members]
    etcdctl = f"{rehearsal.ETCDCTL} snapshot save /root/s.db >&2 && cat /root/s.db | base64"
    snapshot.write_bytes(base64.b64decode(rehearsal.each(fresh, etcdctl, ["cp1"])["cp1"]))
    words = ("restore-cluster.yaml", "-e", f"snapshot={snapshot}")
    refused = operator.drrun(*words, "--dry-run")
    loss = re.search(r"accept_loss=(\d+)", refused.stdout)
    assert loss, refused.stdout + refused.stderr
    before = rehearsal.processes(fresh)
    with traced(fresh, tmp_path) as traces:
        done = operator.drrun(*words, "-e", f"accept_loss={loss[1]}", "--dry-run")
    assert done.returncode == 0, done.stdout + done.stderr
    for host in hosts:
        text = traces[host].read_text(errors="replace")
        assert "execve(" in text, f"{host} was not traced"
        assert writes(traces[host]) == [], host
    left = rehearsal.each(fresh, "ls -d /var/lib/drrun /run/drrun* 2>/dev/null || echo none", hosts)
    assert left == dict.fromkeys(hosts, "none\n")
    mine = "ps -eo args | grep -E '[d]rrun|^(/bin/)?sh -s' || echo none"
    assert rehearsal.each(fresh, mine, hosts) == dict.fromkeys(hosts, "none\n")
    assert rehearsal.processes(fresh) == before
    assert operator.runs() == []
