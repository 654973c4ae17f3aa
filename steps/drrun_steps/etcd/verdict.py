"""Whether a restore may be done at all: facts in, one verdict out. Pure.

A restore that throws away acknowledged writes without having said so is the worst thing that
drrun can do (hazard H1). So the first word is always no, unless nothing newer than the snapshot
can exist, or the operator has named what will be lost.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from drrun_steps.etcd.disk import DataDir
from drrun_steps.etcd.live import Status

Ruling = Literal["restore", "refuse"]


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found on one host."""

    status: Status
    data: DataDir
    expired: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Accepted:
    """What the operator has said in so many words."""

    loss: int | None = None
    """Revisions that may be lost; None: nothing was said."""
    unreadable: tuple[str, ...] = ()
    """Hosts whose data may be ignored."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The ruling, why, and the next move."""

    ruling: Ruling
    text: str
    hint: str = ""
    newest: int = 0
    """The greatest revision found anywhere."""
    gap: int = 0
    """Revisions above the snapshot's: what a restore throws away."""
    complete: bool = True
    """Whether every host that may hold data was measured."""
    limit: int = 0
    """The greatest revision that may still be found when everything is down."""


def decide(snapshot: int, seen: Mapping[str, Seen], accepted: Accepted, *, quorum: bool) -> Verdict:
    """Rule on restoring a snapshot of revision `snapshot` over these hosts."""
    known = {host: _revision(it) for host, it in seen.items()}
    dark = [host for host, revision in known.items() if revision is None]
    newest = max((revision or 0 for revision in known.values()), default=0)
    gap = max(0, newest - snapshot)
    refused = (
        _certificates(seen, accepted)
        or _dark(seen, [host for host in dark if host not in accepted.unreadable])
        or _needless(seen, accepted, quorum=quorum, gap=gap)
        or _loss(known, accepted, gap=gap, snapshot=snapshot, moving=_moving(seen))
    )
    if refused is not None:
        return Verdict("refuse", *refused, newest, gap, not dark)
    limit = limit_of(snapshot, newest, accepted.loss or 0, moving=_moving(seen))
    text = _reason(seen, gap, quorum=quorum)
    return Verdict("restore", text, "", newest, gap, not dark, limit)


def _revision(seen: Seen) -> int | None:
    """The host's revision; 0 where it holds nothing; None where it could not be measured."""
    if seen.status.answers:
        return seen.status.revision
    if seen.data.state == "readable":
        return seen.data.revision
    return 0 if seen.data.state in {"missing", "empty"} and not seen.data.ran else None


def tolerance(gap: int, *, moving: bool) -> int:
    """How far the named loss may be below the measured one: 0 when nothing can write any more.

    A live cluster moves on while the operator types: by leases alone a revision a second or so.
    """
    return gap // 10 + 1_000 if moving else 0


def limit_of(snapshot: int, newest: int, named: int, *, moving: bool) -> int:
    """The greatest revision that may still be found when everything is down, `named` to be lost.

    Of what is down already, no more can be named than was measured.
    """
    return max(newest, snapshot + named) + tolerance(max(0, newest - snapshot), moving=moving)


def most(gap: int, *, moving: bool) -> int:
    """The most that may be named: a live cluster moves on while a large snapshot is staged, too.

    More than ten times the gap is no measure of this cluster; and the slack of the bump is larger than what
    is allowed here, so that nothing is staged twice.
    """
    return gap + min(max(9 * gap, 10_000), 100_000) if moving else gap


def _moving(seen: Mapping[str, Seen]) -> bool:
    return any(it.status.answers for it in seen.values())


def _certificates(seen: Mapping[str, Seen], accepted: Accepted) -> tuple[str, str] | None:
    expired = [f"{host}: {it.expired[0]}" for host, it in seen.items() if it.expired]
    if not expired or accepted.loss is not None:
        return None
    return (
        f"certificates of etcd have expired ({'; '.join(expired)}): the data is probably sound",
        "renew them on every host with kube-certs-renew; a restore repairs nothing here",
    )


def _dark(seen: Mapping[str, Seen], dark: Sequence[str]) -> tuple[str, str] | None:
    if not dark:
        return None
    host, it = dark[0], seen[dark[0]]
    names = ",".join(dark)
    if it.data.state == "in-use" and it.status.barred:
        return not_let_in(host, it.status.barred)
    if it.data.state == "in-use":
        return (
            (
                f"{host}: etcd runs but does not answer ({it.status.why}), so that its revision "
                "cannot be measured: it may hold writes that the snapshot does not have"
            ),
            (
                f"`systemctl stop etcd` on {host} and start again, so that its directory can be read, "
                f"or say -e accept_unreadable={names}"
            ),
        )
    return (
        (
            f"{host}: its data directory cannot be read ({it.data.why}): it may hold writes that the "
            "snapshot does not have"
        ),
        (
            f"try `etcdutl snapshot status` there by hand, or say -e accept_unreadable={names}; "
            "the old directory is kept in any case"
        ),
    )


def not_let_in(host: str, why: str) -> tuple[str, str]:
    """What to say of a member that runs and does not let us in: it is not down, and nothing is to be stopped."""
    return (
        f"{host}: etcd runs, and does not let drrun in ({why}): nobody can tell what it holds",
        (
            "this is no damage. Give drrun what etcd asks for, as vars of that host in the inventory: etcd_endpoint (an address "
            "of its certificate), etcd_cacert, etcd_cert and etcd_key (a client's certificate; with authentication on, of a user "
            "with the role root)"
        ),
    )


def _needless(
    seen: Mapping[str, Seen], accepted: Accepted, *, quorum: bool, gap: int
) -> tuple[str, str] | None:
    """A cluster that works, or only has to be started, is not restored by mistake."""
    if accepted.loss is not None:
        return None
    if any("NOSPACE" in it.status.alarms for it in seen.values()):
        return (
            "etcd is out of space (NOSPACE), not broken: its data is whole",
            "compact, defragment one member at a time, then `etcdctl alarm disarm`; "
            + _insist(gap),
        )
    if quorum:
        down = [host for host, it in seen.items() if not it.status.answers]
        what = f"replace the member on {', '.join(down)}" if down else "there is nothing to restore"
        return (
            (
                f"a quorum of etcd is intact, with revision {max(_live(seen), default=0)}: a restore "
                f"would throw away {gap} revisions"
            ),
            f"{what}; {_insist(gap)}",
        )
    whole = [h for h, it in seen.items() if it.status.answers or it.data.state == "readable"]
    if 2 * len(whole) > len(seen):
        return (
            (
                f"no quorum answers, but {len(whole)} of {len(seen)} members have their data "
                f"({', '.join(whole)}): starting etcd there may be all that is needed"
            ),
            "start etcd on these hosts and look at `etcdctl endpoint status`; " + _insist(gap),
        )
    return None


def _live(seen: Mapping[str, Seen]) -> list[int]:
    return [it.status.revision for it in seen.values() if it.status.answers]


def _insist(gap: int) -> str:
    return f"to restore nevertheless say -e accept_loss={gap}"


def _loss(
    known: Mapping[str, int | None],
    accepted: Accepted,
    *,
    gap: int,
    snapshot: int,
    moving: bool,
) -> tuple[str, str] | None:
    """The loss must be named as it was measured; a live cluster moves on while one types."""
    if accepted.loss is None and gap == 0:
        return None
    ahead = "; ".join(
        f"{host} has revision {revision}" for host, revision in known.items() if revision
    )
    text = (
        f"{ahead or 'no host has data'}; the snapshot has {snapshot}: {gap} revisions lie between"
    )
    if accepted.loss is None:
        rescue = "a snapshot of the host that is ahead loses less (start its etcd; etcd-backup needs no quorum)"
        return text, f"{rescue}; {_insist(gap)}"
    if gap - tolerance(gap, moving=moving) <= accepted.loss <= most(gap, moving=moving):
        return None
    return f"accept_loss={accepted.loss} was said, but {text}", f"say -e accept_loss={gap}"


def _reason(seen: Mapping[str, Seen], gap: int, *, quorum: bool) -> str:
    if gap or quorum:
        return f"restore, as accepted: {gap} revisions are given up"
    held = [host for host, it in seen.items() if _revision(it)]
    if held:
        return f"restore: nothing newer than the snapshot is left ({', '.join(held)} measured)"
    return "restore: no host has any data left"
