"""What a live etcd says: its own status, its members, whether a quorum answers, agreement.

Rule 1: an etcd that is dead, unreachable or in a panic is an answer, not an error.
Rule 2: health is not consistency. Three members restored from different snapshots are all
healthy (recovery.md 0.2, measured); only equal revision and hash tell.
"""

from __future__ import annotations

import contextlib
import json
import re
from dataclasses import dataclass
from typing import Any, ClassVar

from drrun.spi import Command, Fact, Json, Reply
from drrun_steps.etcd.access import MemberFact


@dataclass(frozen=True, slots=True)
class Status:
    """A member about itself. `why` says why it does not answer; ids are in hex."""

    answers: bool
    why: str = ""
    cluster: str = ""
    member: str = ""
    revision: int = 0
    leads: bool = False
    has_leader: bool = False
    learner: bool = False
    lag: int = 0
    version: str = ""
    size: int = 0
    in_use: int = 0
    alarms: tuple[str, ...] = ()
    barred: str = ""
    """Why it does not let us in, though it is there; empty for one that is down, or that answers."""


def status_of(entry: dict[str, Any]) -> Status:
    """One entry of `etcdctl endpoint status -w json`."""
    status = entry["Status"]
    header = status["header"]
    leader = status.get("leader", 0)
    errors = " ".join(status.get("errors", ()))
    return Status(
        answers=True,
        cluster=f"{header['cluster_id']:x}",
        member=f"{header['member_id']:x}",
        revision=header.get("revision", 0),
        leads=leader == header["member_id"],
        has_leader=leader != 0 and "no leader" not in errors,
        learner=status.get("isLearner", False),
        lag=status.get("raftIndex", 0) - status.get("raftAppliedIndex", 0),
        version=status.get("version", ""),
        size=status.get("dbSize", 0),
        in_use=status.get("dbSizeInUse", 0),
        alarms=tuple(kind for kind in ("NOSPACE", "CORRUPT") if kind in errors),
    )


_BARRED = re.compile(
    r"tls: [^\"\\\\]+|x509: [^\"\\\\]+|auth: [^\"\\\\]+|etcdserver: user name is empty|etcdserver: permission denied"
    r"|etcdserver: invalid auth token|etcdserver: authentication failed[^\"\\\\]*|write: broken pipe"
)


def not_let_in(reply: Reply) -> str:
    """Why a member that is there does not let us in: certificate or login; empty where that is not the reason.

    etcdctl gives up by its own time limit and ends with that; the reason stands in its warnings before.
    """
    found = _BARRED.search(reply.stderr.decode("utf-8", "replace"))
    if found is None:
        return ""
    why = found[0].strip(" :.\n")
    return "it breaks off: it takes no certificate of ours" if "broken pipe" in why else why[:300]


def why_not(reply: Reply) -> str:
    """The reason in a failed etcdctl's words, without its JSON decoration."""
    text = reply.complaint
    if text.startswith("{"):
        with contextlib.suppress(ValueError):
            text = str(json.loads(text).get("error", text))
    if barred := not_let_in(reply):
        return barred
    if reply.exit == 124:
        return "no answer in time"
    return text.removeprefix("Error: ").removeprefix("drrun: ")[:300] or f"exit {reply.exit}"


@dataclass(frozen=True, slots=True)
class EtcdStatus(MemberFact[Status]):
    """What the member on this host says of itself. Works without quorum (measured)."""

    name: ClassVar[str] = "etcd.status"

    def about(self) -> tuple[str, ...]:
        """The service here, and what all members have agreed on."""
        return (f"service:{self.service}", f"@{self.service}")

    def ask(self) -> Command:
        """One `endpoint status` to its own client address."""
        return self._client("own endpoint status -w json")

    def parse(self, reply: Reply) -> Status:
        """Not answering is an answer."""
        if reply.exit != 0 or not reply.text.strip().startswith("["):
            return Status(answers=False, why=why_not(reply), barred=not_let_in(reply))
        return status_of(json.loads(reply.text)[0])

    def pinned(self, answer: Status) -> Json:
        """Which cluster and which member; one that does not answer is neither."""
        return {"cluster": answer.cluster, "member": answer.member}


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of the member list. `name` is empty for one that never started."""

    id: str
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    learner: bool = False


@dataclass(frozen=True, slots=True)
class Members:
    """The members as one of them tells, and whether a linearizable read passed (a quorum)."""

    answers: bool
    quorum: bool = False
    cluster: str = ""
    members: tuple[Member, ...] = ()
    why: str = ""
    barred: str = ""
    """Why it does not let us read, though it is there."""


@dataclass(frozen=True, slots=True)
class EtcdMembers(MemberFact[Members]):
    """The member list, and whether a quorum answers a linearizable read."""

    name: ClassVar[str] = "etcd.members"

    def about(self) -> tuple[str, ...]:
        """The service here, and what all members have agreed on."""
        return (f"service:{self.service}", f"@{self.service}")

    def ask(self) -> Command:
        """`member list` is linearizable in 3.5, not in 3.4: the read of a key is in both."""
        return self._client(
            "own member list -w json || exit 3\n"
            "own get drrun/quorum --keys-only >/dev/null && echo quorum\ntrue"
        )

    def parse(self, reply: Reply) -> Members:
        """Not answering is an answer."""
        lines = reply.text.strip().splitlines()
        if reply.exit != 0 or not lines or not lines[0].startswith("{"):
            return Members(answers=False, why=why_not(reply), barred=not_let_in(reply))
        listed = json.loads(lines[0])
        return Members(
            answers=True,
            quorum="quorum" in lines[1:],
            cluster=f"{listed['header']['cluster_id']:x}",
            members=tuple(member_of(entry) for entry in listed.get("members", ())),
            barred="" if "quorum" in lines[1:] else not_let_in(reply),
        )

    def pinned(self, answer: Members) -> Json:
        """Which cluster, and who is in it, in no order; client URLs come only when one starts."""
        members: dict[str, Json] = {
            member.id: {
                "name": member.name,
                "peer_urls": sorted(member.peer_urls),
                "learner": member.learner,
            }
            for member in answer.members
        }
        return {"cluster": answer.cluster, "members": members}


def member_of(entry: dict[str, Any]) -> Member:
    """One entry of `etcdctl member list -w json`."""
    return Member(
        id=f"{entry['ID']:x}",
        name=entry.get("name", ""),
        peer_urls=tuple(entry.get("peerURLs", ())),
        client_urls=tuple(entry.get("clientURLs", ())),
        learner=entry.get("isLearner", False),
    )


@dataclass(frozen=True, slots=True)
class EtcdHealthy(MemberFact[bool]):
    """Whether the member here answers a linearizable read: it is up, and a quorum is with it."""

    name: ClassVar[str] = "etcd.healthy"

    def about(self) -> tuple[str, ...]:
        """The service here, and what all members have agreed on."""
        return (f"service:{self.service}", f"@{self.service}")

    def ask(self) -> Command:
        """What `endpoint health` asks, without its alarms: a full member carries its vote."""
        return self._client("own get drrun/health --keys-only >/dev/null")

    def parse(self, reply: Reply) -> bool:
        """Not answering is an answer."""
        return reply.exit == 0


@dataclass(frozen=True, slots=True)
class Agreement:
    """What all the endpoints of a cluster say, side by side. `why` is empty when all answered."""

    statuses: tuple[Status, ...] = ()
    hashes: tuple[str, ...] = ()
    """One hash of all keys at the lowest revision, an endpoint; equal on a sound cluster."""
    members: tuple[Member, ...] = ()
    alarms: tuple[str, ...] = ()
    quorum: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class EtcdAgreement(MemberFact[Agreement]):
    """Status, hash of all keys at one revision, members and alarms of the whole cluster."""

    name: ClassVar[str] = "etcd.agreement"
    timeout: ClassVar[float] = 300.0
    endpoints: tuple[str, ...] = ()

    def about(self) -> tuple[str, ...]:
        """The service here, and what all members have agreed on."""
        return (f"service:{self.service}", f"@{self.service}")

    def ask(self) -> Command:
        """All endpoints are asked for the hash at one revision: writers do not disturb it."""
        return self._client(_AGREEMENT, ALL=",".join(self.endpoints))

    def parse(self, reply: Reply) -> Agreement:
        """A part that failed is in `why`; what was read is kept."""
        return agreement_of(reply)


def agreement_of(reply: Reply, *, hashed: bool = True) -> Agreement:
    """The parts of the answer put together; what failed is in `why`, what was read is kept."""
    wanted = ("status", "members", "hash", "alarms") if hashed else ("status", "members", "alarms")
    parts: dict[str, str] = {}
    for line in reply.text.splitlines():
        if line.startswith("== "):
            parts[line[3:]] = ""
        elif parts:
            parts[next(reversed(parts))] += line
    failed = [name for name in wanted if not parts.get(name)]
    if not parts.get("status") or not parts.get("members"):
        return Agreement(why=why_not(reply))
    statuses = tuple(status_of(entry) for entry in json.loads(parts["status"]))
    listed = json.loads(parts["members"]).get("members", ())
    return Agreement(
        statuses=statuses,
        hashes=tuple(hash_of(e) for e in json.loads(parts.get("hash") or "[]")),
        members=tuple(member_of(entry) for entry in listed),
        alarms=_alarms(parts.get("alarms", "")),
        quorum="quorum" in parts,
        why=f"no answer for: {', '.join(failed)}: {why_not(reply)}" if failed else "",
    )


_AGREEMENT = r"""
ALL=${ALL:-$own}
all() { ctl --endpoints="$ALL" --command-timeout="${WAIT:-5s}" "$@"; }
status=$(all endpoint status -w json)
echo '== status'; printf '%s\n' "$status"
low=$(printf '%s' "$status" | tr ',{}' '\n\n\n' | sed -n 's/^"revision":\([0-9]*\)$/\1/p' | sort -n | head -n 1)
up=$(printf '%s' "$status" | tr ',{}' '\n\n\n' | sed -n 's/^"Endpoint":"\(.*\)"$/\1/p' | paste -s -d , -)
# A hash reads every key, a second a GB or more: every member that answers at all at the same time.
if [ -z "$UNHASHED" ]; then
  echo '== hash'; limit=280
  for e in $(printf '%s' "$up" | tr , ' '); do
    ctl --endpoints="$e" --command-timeout=270s endpoint hashkv --rev="${low:-0}" -w json &
  done | tr -d '\n' | sed 's/\]\[/,/g'
  echo
  limit=${LIMIT:-20}
fi
echo '== members'; own member list -w json
echo '== alarms'; own alarm list -w json
own get drrun/quorum --keys-only >/dev/null && echo '== quorum'
true
"""


def hash_of(entry: dict[str, Any]) -> str:
    """One entry of `etcdctl endpoint hashkv -w json`, as `hash@compacted`."""
    found = entry.get("Hash") or entry.get("HashKV") or {}
    # Members may have compacted at different revisions: the hash covers what is above.
    return f"{found.get('hash', 0):x}@{found.get('compact_revision', 0)}"


def _alarms(text: str) -> tuple[str, ...]:
    names = {1: "NOSPACE", 2: "CORRUPT"}
    entries = json.loads(text).get("alarms", ()) if text else ()
    return tuple(
        f"{names.get(e.get('alarm', 0), 'unknown')} on {e.get('memberID', 0):x}" for e in entries
    )


def disagreements(
    said: Agreement,
    members: int,
    cluster: str = "",
    alarms: tuple[str, ...] = (),
    *,
    writers: bool = False,
    hashed: bool = True,
) -> tuple[str, ...]:
    """Everything that keeps this from being one sound cluster, in words."""
    found = [said.why] if said.why else []
    clusters = {status.cluster for status in said.statuses}
    if len(said.statuses) != members:
        found.append(f"{len(said.statuses)} of {members} members answer")
    if len(clusters) > 1 or (cluster and clusters and clusters != {cluster}):
        found.append(f"cluster ids {', '.join(sorted(clusters))}, expected {cluster or 'one'}")
    if len(said.members) != members:
        found.append(f"the member list has {len(said.members)} entries, not {members}")
    found += [f"member {m.id} never started" for m in said.members if not m.name]
    found += [f"{m.name} is a learner" for m in said.members if m.learner]
    if not writers and len({status.revision for status in said.statuses}) > 1:
        found.append(f"revisions differ: {[status.revision for status in said.statuses]}")
    if hashed and (len(said.hashes) != members or len(set(said.hashes)) != 1):
        found.append(f"hashes differ: {list(said.hashes)}")
    if not all(status.has_leader for status in said.statuses) or not said.quorum:
        found.append("no quorum answers")
    found += [alarm for alarm in said.alarms if alarm.split()[0] not in alarms]
    return tuple(found)


@dataclass(frozen=True, slots=True)
class EtcdDisagreement(MemberFact[tuple[str, ...]]):
    """What keeps the members from being one sound cluster, in words; empty when they are.

    `writers`: clients write meanwhile, so that revisions may differ between two readings; the
    hashes at one revision may not. `hashed`: whether all keys are hashed and the hashes compared.
    """

    name: ClassVar[str] = "etcd.disagreement"
    timeout: ClassVar[float] = 300.0
    members: int = 0
    cluster: str = ""
    alarms: tuple[str, ...] = ()
    writers: bool = False
    hashed: bool = True
    endpoints: tuple[str, ...] = ()

    def about(self) -> tuple[str, ...]:
        """The service here, and what all members have agreed on."""
        return (f"service:{self.service}", f"@{self.service}")

    def ask(self) -> Command:
        """The same question as etcd.agreement."""
        unhashed = "" if self.hashed else "yes"
        return self._client(_AGREEMENT, ALL=",".join(self.endpoints), UNHASHED=unhashed)

    def parse(self, reply: Reply) -> tuple[str, ...]:
        """Everything at once, so that nobody repairs one thing at a time."""
        return disagreements(
            agreement_of(reply, hashed=self.hashed),
            self.members,
            self.cluster,
            self.alarms,
            writers=self.writers,
            hashed=self.hashed,
        )


FACTS: tuple[type[Fact[Any]], ...] = (
    EtcdStatus,
    EtcdMembers,
    EtcdHealthy,
    EtcdAgreement,
    EtcdDisagreement,
)
