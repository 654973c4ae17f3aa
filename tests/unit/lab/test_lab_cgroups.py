"""Who belongs to a host is read from a tree that changes while it is read."""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path

import pytest

from drrun_lab import cgroups


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> cgroups.HostCgroup:
    """A host's cgroup in one hierarchy, which is a plain folder here."""
    monkeypatch.setattr(cgroups, "_hierarchies", lambda: (tmp_path,))
    return cgroups.HostCgroup("m")


def test_members_are_those_of_all_cgroups_below(host: cgroups.HostCgroup) -> None:
    """A unit's processes belong to the host as much as its init does."""
    host.create()
    unit = host.folders[0] / "payload" / "etcd.service"
    unit.mkdir(parents=True)
    (host.folders[0] / "cgroup.procs").write_text("10\n")
    (unit / "cgroup.procs").write_text("12\n0\n")
    assert host.members() == {10, 12}


def test_a_host_that_never_ran_has_no_members(host: cgroups.HostCgroup) -> None:
    """Asking is fine before anything was made."""
    assert host.members() == set()
    host.remove()
    assert not host.left()


def test_cgroups_that_vanish_while_being_read_are_nobodys(host: cgroups.HostCgroup) -> None:
    """A booting host replaces its cgroup: looking at that moment must not fail."""
    done = threading.Event()

    def churn() -> None:
        while not done.is_set():
            host.create()
            with suppress(OSError):
                (host.folders[0] / "below").mkdir()
            host.remove()

    churning = threading.Thread(target=churn)
    churning.start()
    try:
        for _ in range(3000):
            assert host.members() == set()
    finally:
        done.set()
        churning.join()


def test_remove_takes_the_cgroups_below_as_well(host: cgroups.HostCgroup) -> None:
    """The kernel refuses to remove a cgroup that has others below it: deepest first."""
    (host.folders[0] / "payload" / "system.slice").mkdir(parents=True)
    host.remove()
    assert not host.left()
