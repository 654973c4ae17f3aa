"""What was done on real hosts, from sshd down, by strace; and what drrun leaves behind on them."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from drrun_lab import Lab, Progress, rehearsal
from drrun_lab.packages import install_missing
from drrun_lab.waiting import until

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
FAILED = re.compile(r"\) += -1 E[A-Z]+ \(")
"""What was refused changed nothing: a cache below /dev/null cannot be made."""
OWN = ("sshd", "sudo", "unix_chkpwd")
"""Their own records of a log-in (journal, wtmp, lastlog) are theirs: hazard H17's list."""


@contextmanager
def traced(lab: Lab, hosts: Iterable[str], folder: Path) -> Iterator[dict[str, Path]]:
    """Follow sshd and whatever it starts, on hosts, for the length of a block."""
    install_missing({"strace": "strace"}, Progress())
    files, tracers = {}, []
    for host in hosts:
        files[host] = folder / f"{host}.strace"
        pid = _listener(lab, host)
        words = ["strace", "-f", "-Y", "-qqq", "-s", "300", "-e", f"trace={CALLS}"]
        tracers.append(subprocess.Popen([*words, "-p", str(pid), "-o", str(files[host])]))
        until(partial(_is_traced, pid), timeout=10, awaiting=f"strace on {host}")
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
        if FAILED.search(line):
            continue
        opens = match["call"] in {"open", "openat", "openat2"}
        if opens and (not WRITES.search(match["args"]) or NOWHERE.search(match["args"])):
            continue
        if match["call"] == "kill" and re.match(r"\d+[^,]*, 0\b", match["args"]):
            continue
        found.append(line)
    return found


def touched(traces: Mapping[str, Path]) -> set[str]:
    """The hosts on which sshd started anything at all: an empty trace proves nothing."""
    return {
        host for host, trace in traces.items() if "execve(" in trace.read_text(errors="replace")
    }


def written(traces: Mapping[str, Path]) -> dict[str, list[str]]:
    """Host -> what its trace shows to have been written there; hosts without are left out."""
    found = {host: writes(trace) for host, trace in traces.items()}
    return {host: lines for host, lines in found.items() if lines}


LEFT = """
find /var/lib/[d]rrun /run/[d]rrun* 2>/dev/null | sort
ps -eo args | grep -E '[d]rrun|^(/bin/)?sh -s' || true
"""
"""Written so that it does not find itself."""


def left(lab: Lab, hosts: Iterable[str]) -> dict[str, str]:
    """Host -> drrun's own files there, and its processes; an empty text where there is nothing."""
    return rehearsal.each(lab, LEFT, hosts)
