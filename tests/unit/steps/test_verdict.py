"""The verdict: a table of disasters, and what must hold for all of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drrun_steps.etcd.disk import DataDir
from drrun_steps.etcd.live import Status
from drrun_steps.etcd.verdict import Accepted, Seen, decide

_DEAD = Status(answers=False, why="connection refused")
_SNAPSHOT = 1000


def live(revision: int, *alarms: str) -> Seen:
    """A member that answers."""
    return Seen(Status(answers=True, revision=revision, alarms=alarms), DataDir("in-use"))


def stopped(revision: int) -> Seen:
    """A member that is stopped, its data readable."""
    return Seen(_DEAD, DataDir("readable", revision=revision))


_EMPTY = Seen(_DEAD, DataDir("empty"))
_GONE = Seen(_DEAD, DataDir("missing"))
_TORN = Seen(_DEAD, DataDir("unreadable", why="invalid database"))
_HUNG = Seen(Status(answers=False, why="no answer in time"), DataDir("in-use"))
_EXPIRED = Seen(_DEAD, DataDir("readable", revision=900), expired=("peer.crt: notAfter=Jan 1",))

_NO, _YES = Accepted(), Accepted(loss=0)


@pytest.mark.parametrize(
    ("members", "accepted", "quorum", "ruling", "words"),
    [
        pytest.param([_EMPTY, _GONE, _EMPTY], _NO, False, "restore", "no host has any", id="all"),
        pytest.param(
            [stopped(900), _GONE, _GONE], _NO, False, "restore", "nothing newer", id="old"
        ),
        pytest.param(
            [stopped(1040), _GONE, _GONE], _NO, False, "refuse", "accept_loss=40", id="new"
        ),
        pytest.param(
            [stopped(1040), _GONE, _GONE], Accepted(40), False, "restore", "40 rev", id="named"
        ),
        pytest.param(
            [stopped(1040), _GONE, _GONE], Accepted(41), False, "refuse", "=41 was said", id="wrong"
        ),
        pytest.param([live(2000)] * 3, _NO, True, "refuse", "accept_loss=1000", id="healthy"),
        pytest.param([live(2000)] * 3, Accepted(900), True, "restore", "1000 rev", id="moved-on"),
        pytest.param([live(9000)] * 3, Accepted(10), True, "refuse", "8000 rev", id="far-off"),
        pytest.param([live(1000), live(1000), _GONE], _NO, True, "refuse", "replace", id="member"),
        pytest.param([stopped(900)] * 3, _NO, False, "refuse", "starting etcd", id="only-stopped"),
        pytest.param([live(900, "NOSPACE")] * 3, _NO, True, "refuse", "out of space", id="nospace"),
        pytest.param([_EXPIRED] * 3, _NO, False, "refuse", "certificates", id="expired"),
        pytest.param([_TORN, _GONE, _GONE], _NO, False, "refuse", "accept_unreadable=a", id="torn"),
        pytest.param([_HUNG, _GONE, _GONE], _NO, False, "refuse", "systemctl stop", id="hung"),
        pytest.param(
            [_TORN, _GONE, _GONE],
            Accepted(unreadable=("a",)),
            False,
            "restore",
            "no host has any",
            id="torn-accepted",
        ),
    ],
)
def test_each_disaster_has_its_ruling(
    members: list[Seen], accepted: Accepted, ruling: str, words: str, *, quorum: bool
) -> None:
    """The ruling, and the number or the move that the operator needs."""
    seen = dict(zip("abc", members, strict=True))
    verdict = decide(_SNAPSHOT, seen, accepted, quorum=quorum)
    assert verdict.ruling == ruling
    assert words in f"{verdict.text} || {verdict.hint}"


def test_an_unreadable_host_makes_the_measure_incomplete() -> None:
    """The bump must then be a thousand million: nobody knows what clients have seen."""
    seen = {"a": _TORN, "b": _GONE}
    assert not decide(1, seen, Accepted(unreadable=("a",)), quorum=False).complete


_SEEN = st.one_of(
    st.integers(1, 3000).map(live),
    st.integers(1, 3000).map(stopped),
    st.sampled_from([_EMPTY, _GONE, _TORN, _HUNG]),
)
_CLUSTERS = st.lists(_SEEN, min_size=1, max_size=5).map(
    lambda members: {f"h{n}": seen for n, seen in enumerate(members)}
)


@given(_CLUSTERS, st.booleans())
def test_nothing_newer_is_thrown_away_without_a_word(seen: dict[str, Seen], quorum: bool) -> None:  # noqa: FBT001
    """Without accept_loss a restore is ruled only when no host can hold a newer revision (H1)."""
    verdict = decide(_SNAPSHOT, seen, _NO, quorum=quorum)
    if verdict.ruling == "restore":
        assert not quorum
        assert verdict.gap == 0
        assert verdict.complete


@given(_CLUSTERS, st.integers(0, 4000), st.booleans())
def test_an_accepted_loss_is_the_measured_one(
    seen: dict[str, Seen],
    loss: int,
    quorum: bool,  # noqa: FBT001
) -> None:
    """A number that somebody made up does not open the door; on a dead cluster it is exact.

    On a live one it may cover what is written while a large snapshot is staged.
    """
    verdict = decide(_SNAPSHOT, seen, Accepted(loss), quorum=quorum)
    if verdict.ruling == "restore":
        moving = any(it.status.answers for it in seen.values())
        below, above = (verdict.gap // 10 + 1000, 100_000) if moving else (0, 0)
        assert -below <= loss - verdict.gap <= above
        assert verdict.limit >= _SNAPSHOT + verdict.gap
        if not moving:
            assert verdict.limit == max(verdict.newest, _SNAPSHOT)


@given(_CLUSTERS, st.booleans())
def test_every_refusal_names_the_next_move(seen: dict[str, Seen], quorum: bool) -> None:  # noqa: FBT001
    """At 3 a.m. a no alone helps nobody."""
    verdict = decide(_SNAPSHOT, seen, _NO, quorum=quorum)
    assert verdict.text
    assert verdict.ruling == "restore" or verdict.hint


@given(_CLUSTERS)
def test_saying_what_the_refusal_names_is_enough(seen: dict[str, Seen]) -> None:
    """The hint is not a riddle: with the named hosts and the measured gap, the ruling is yes."""
    dark = tuple(h for h, it in seen.items() if it.data.state == "unreadable" or it is _HUNG)
    gap = decide(_SNAPSHOT, seen, _NO, quorum=False).gap
    assert decide(_SNAPSHOT, seen, Accepted(gap, dark), quorum=False).ruling == "restore"
