"""Facts about a machine, from procfs as the kernel prints it."""

from __future__ import annotations

import pytest
from tests.unit.steps.recorded_answers import said

from drrun_steps.host import (
    Disk,
    HostBusy,
    HostClock,
    HostDisk,
    HostListening,
    HostMemory,
    HostOutsiders,
)

_EXES = """== exe
lrwxrwxrwx 1 root root 0 Nov 22 23:39 /proc/36/exe -> /usr/local/bin/etcd
lrwxrwxrwx 1 root root 0 Nov 22 23:39 /proc/43/exe -> /usr/local/bin/kube-apiserver
lrwxrwxrwx 1 root root 0 Nov 22 23:39 /proc/50/exe -> /opt/backup (deleted)
"""
_FDS = """== fd
/proc/36/fd:
lrwx------ 1 etcd etcd 64 Nov 22 23:39 7 -> socket:[100]
lrwx------ 1 etcd etcd 64 Nov 22 23:39 8 -> socket:[101]
/proc/43/fd:
lrwx------ 1 root root 64 Nov 22 23:39 9 -> socket:[102]
/proc/50/fd:
lrwx------ 1 root root 64 Nov 22 23:39 3 -> socket:[103]
"""


def _line(local: str, peer: str, state: str, inode: int) -> str:
    return f"   0: {local} {peer} {state} 00000000:00000000 00:00000000 00000000 0 0 {inode} 1 0\n"


_HEAD = "== tcp\n  sl  local_address rem_address   st tx_queue rx_queue\n"
_LOCAL = "0100007F"


def test_etcd_that_talks_to_itself_is_nobody() -> None:
    """Its own gateway connects to 2379 on loopback; that must not count as a client."""
    table = _line(f"{_LOCAL}:094B", f"{_LOCAL}:A000", "01", 100)
    table += _line(f"{_LOCAL}:A000", f"{_LOCAL}:094B", "01", 101)
    found = HostBusy((), (), (2379,)).parse(said(_EXES + _FDS + _HEAD + table))
    assert found == ()


def test_a_forgotten_client_is_named_by_program_or_by_address() -> None:
    """What is on this host by pid, what is elsewhere by address (a fourth, unlisted API server)."""
    table = _line(f"{_LOCAL}:094B", f"{_LOCAL}:A001", "01", 101)
    table += _line(f"{_LOCAL}:A001", f"{_LOCAL}:094B", "01", 103)
    table += _line("0BD3460A:094B", "63D3460A:A002", "01", 0) * 2
    found = HostBusy((), (), (2379,)).parse(said(_EXES + _FDS + _HEAD + table))
    assert found == (
        "backup (pid 50) on this host is connected to port 2379",
        "10.70.211.99 is connected to port 2379 (2 times)",
    )


def test_processes_and_listeners_are_found_whatever_started_them() -> None:
    """By the program behind /proc/PID/exe, not by a name that anybody can choose."""
    table = _line("00000000:192B", "00000000:0000", "0A", 102)
    found = HostBusy(("kube-apiserver",), (6443,)).parse(said(_EXES + _FDS + _HEAD + table))
    assert found == (
        "kube-apiserver runs as pid 43",
        "port 6443 is listened on by kube-apiserver (pid 43)",
    )


_CONTROL_PLANE = HostOutsiders(("kube-apiserver", "kube-scheduler"), (6443,), (2379,))


@pytest.mark.field("35")
def test_another_client_of_etcd_is_seen_while_everything_runs() -> None:
    """The control plane's own connections are no finding; a program of the host that is none of it is one."""
    own = _line("00000000:192B", "00000000:0000", "0A", 102)
    own += _line(f"{_LOCAL}:094B", f"{_LOCAL}:A001", "01", 101)
    own += _line(f"{_LOCAL}:A001", f"{_LOCAL}:094B", "01", 102)
    own += _line(
        "0BD3460A:094B", "63D3460A:A002", "01", 101
    )  # from elsewhere: kube.all_listed asks whose
    assert _CONTROL_PLANE.parse(said(_EXES + _FDS + _HEAD + own)) == ()
    other = own + _line(f"{_LOCAL}:094B", f"{_LOCAL}:A003", "01", 101)
    other += _line(f"{_LOCAL}:A003", f"{_LOCAL}:094B", "01", 103)
    found = _CONTROL_PLANE.parse(said(_EXES + _FDS + _HEAD + other))
    assert found == ("backup (pid 50) is connected to port 2379",)


@pytest.mark.field("19")
def test_a_balancer_on_the_api_servers_port_is_seen_before_the_stop() -> None:
    """Nobody stops it: the proof that the port is silent would fail in the outage."""
    table = _line("00000000:192B", "00000000:0000", "0A", 103)
    found = _CONTROL_PLANE.parse(said(_EXES + _FDS + _HEAD + table))
    assert found == ("port 6443 is listened on by backup (pid 50)",)


def test_closed_connections_do_not_count() -> None:
    """TIME_WAIT (06) lingers for a minute after a clean stop."""
    table = _line("0BD3460A:094B", "63D3460A:A002", "06", 0)
    assert HostBusy((), (), (2379,)).parse(said(_EXES + _FDS + _HEAD + table)) == ()


def test_ipv6_and_mapped_addresses_are_read() -> None:
    """Go listens on [::]; the kernel prints four words in host order."""
    mapped = "0000000000000000FFFF00000BD3460A"
    table = _line(f"{mapped}:094B", "0000000000000000FFFF000063D3460A:A002", "01", 0)
    found = HostBusy((), (), (2379,)).parse(said("== exe\n== fd\n" + _HEAD + table))
    assert found == ("10.70.211.99 is connected to port 2379",)
    everywhere = _line("0" * 32 + ":094B", "0" * 32 + ":0000", "0A", 1)
    assert HostListening(2379).parse(said(everywhere))


def test_busy_depends_on_the_services_of_all_hosts() -> None:
    """Stopping an API server anywhere makes the answer not known, so that a dry-run is honest."""
    about = HostBusy(("kube-apiserver",)).about()
    assert about == ("service:kube-apiserver", "@kube-apiserver")


def test_disk_memory_and_clock() -> None:
    """Bytes and seconds."""
    df = "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/a 1000 400 600 40% /\n"
    assert HostDisk("/var").parse(said(df)) == Disk(free=600 * 1024, size=1000 * 1024)
    assert HostMemory().parse(said("MemAvailable:   2048 kB\n")) == 2048 * 1024
    assert HostClock().parse(said("1795390924.25\n")) == 1795390924.25
