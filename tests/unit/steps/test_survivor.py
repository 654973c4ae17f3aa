"""Whom a rescue saves from, and whom nobody may take for corrupt: pure judgements, as tables."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drrun.spi import Fact, Refused
from drrun.testing import FakeGroup, FakeHost
from drrun_steps.etcd.config import Config, EtcdConfig
from drrun_steps.etcd.corrupt import odd_ones
from drrun_steps.etcd.disk import DataDir, EtcdDataDir
from drrun_steps.etcd.live import EtcdStatus, Status
from drrun_steps.etcd.replay import Replay
from drrun_steps.etcd.ruling import FENCED
from drrun_steps.etcd.snapshot import HostSnapshot, Snapshot
from drrun_steps.etcd.survivor import choose
from drrun_steps.etcd.verdict import Seen

_DEAD = Status(answers=False, why="connection refused")
_GONE = Seen(_DEAD, DataDir("empty"))
_HUNG = Seen(Status(answers=False, why="no answer in time"), DataDir("in-use"))


def live(revision: int) -> Seen:
    """A member that answers."""
    return Seen(Status(answers=True, revision=revision), DataDir("in-use"))


def stopped(revision: int) -> Seen:
    """A member that is stopped, its data readable."""
    return Seen(_DEAD, DataDir("readable", revision=revision))


@pytest.mark.parametrize(
    ("members", "host", "alive"),
    [
        ([_GONE, live(7), FENCED], "1", True),
        ([_GONE, _GONE, stopped(7)], "2", False),
        ([live(7), stopped(9), _GONE, _GONE, _GONE], "1", False),
        ([live(9), stopped(9), _GONE, FENCED, FENCED], "0", True),
    ],
)
def test_the_survivor_is_the_one_with_the_greatest_revision(
    members: list[Seen], host: str, *, alive: bool
) -> None:
    """Of two that are equally far, the one that answers: its log needs no replay."""
    choice = choose(dict(zip("01234", members, strict=False)), quorum=False)
    assert (choice.host, choice.live, choice.why) == (host, alive, "")


@pytest.mark.parametrize(
    ("members", "quorum", "words"),
    [
        ([live(7), live(7), _GONE], True, "a quorum of etcd answers"),
        ([live(7), stopped(7), _GONE], False, "2 of 3 members have their data"),
        ([live(7), _HUNG, _GONE], False, "1: etcd runs but does not answer"),
        ([_GONE, _GONE, FENCED], False, "no member that can be asked has any data left"),
    ],
)
def test_nobody_is_rescued_who_is_not_lost(
    members: list[Seen], words: str, *, quorum: bool
) -> None:
    """A quorum that answers, or comes back when it is started, is left alone."""
    choice = choose(dict(zip("012", members, strict=True)), quorum=quorum)
    assert words in choice.why
    assert choice.hint
    assert not choice.host


@pytest.mark.parametrize(
    ("hashes", "odd", "silent"),
    [
        ({"a": "x", "b": "x", "c": "x"}, (), ()),
        ({"a": "x", "b": "y", "c": "x"}, ("b",), ()),
        ({"a": "x", "b": "", "c": "x"}, (), ("b",)),
        ({"a": "x", "b": "y", "c": "x", "d": "z", "e": "x"}, ("b", "d"), ()),
    ],
)
def test_the_odd_one_is_who_differs_from_the_majority(
    hashes: dict[str, str], odd: tuple[str, ...], silent: tuple[str, ...]
) -> None:
    """One that says nothing is not said to differ."""
    found = odd_ones(hashes, len(hashes))
    assert (found.odd, found.silent, found.why) == (odd, silent, "")


@given(st.lists(st.sampled_from(["", "x", "y", "z"]), min_size=1, max_size=7), st.integers(0, 3))
def test_without_a_majority_of_all_members_nobody_is_named(said: list[str], unseen: int) -> None:
    """Members that nobody asked count as well: two of four that agree are no majority."""
    members = len(said) + unseen
    found = odd_ones({str(n): value for n, value in enumerate(said)}, members)
    most = max(said.count(value) for value in "xyz")
    assert bool(found.why) == (2 * most <= members)
    if found.why:
        assert found.odd == ()


def replaying(**states: DataDir | Status) -> FakeGroup:
    """Hosts with stopped members, or with one that answers."""
    hosts = []
    for name, found in states.items():
        live = isinstance(found, Status)
        status, data = (found, DataDir("in-use")) if live else (_DEAD, found)
        config = Config(found=True, name=name, data_dir="/var/lib/etcd")
        answers: dict[Fact[Any], Any] = {
            EtcdStatus(): status,
            EtcdConfig(): config,
            EtcdDataDir(): data,
            HostSnapshot("/var/backups/drrun/stopped-r-test.db"): Snapshot("", revision=9),
        }
        hosts.append(FakeHost(name, answers))
    return FakeGroup(hosts)


def test_a_stopped_cluster_is_saved_from_the_one_that_is_furthest_ahead() -> None:
    """The greatest revision of those that can be read; those that cannot are told by name."""
    group = replaying(
        a=DataDir("readable", revision=7), b=DataDir("readable", revision=9), c=DataDir("missing")
    )
    out = Replay(fetch_to="/s.db").run(group)
    assert (out["host"], group["b"].change_names) == ("b", ["replay", "fetch", "fetch-manifest"])
    assert any(note.startswith("c: not read") for note in group.notes)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (Status(answers=True), "etcd answers on a: a snapshot of a live member holds more"),
        (DataDir("in-use"), "a: etcd runs but does not answer"),
        (DataDir("unreadable", why="noise"), "no member has data that can be read"),
    ],
)
def test_nothing_is_replayed_beside_an_etcd_that_runs_or_from_nothing(
    state: DataDir | Status, words: str
) -> None:
    """Live, hung, or broken: refused with the next move, and nothing was changed."""
    group = replaying(a=state)
    with pytest.raises(Refused, match=words):
        Replay(fetch_to="/s.db").run(group)
    assert group["a"].change_names == []
