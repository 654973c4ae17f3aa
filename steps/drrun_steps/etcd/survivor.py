"""The step that saves what the last member holds, when the quorum is lost for good.

Rule 1: a quorum that may come back is not rescued: it is started. A rescue is for members whose
data is gone, or whose hosts a person has fenced by name.
Rule 2: a member that answers is asked for a snapshot, which works without quorum (recovery.md 0.7,
measured). One that is stopped is copied, log and all, and the copy is replayed: its database alone
lags its log (pitfall 9).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from drrun.spi import Demand, Effect, Group, Outputs, Refused, Repeat, Rule, step_done
from drrun_steps.etcd.access import ask_each, overrides
from drrun_steps.etcd.live import EtcdMembers, EtcdStatus
from drrun_steps.etcd.replay import Replaying
from drrun_steps.etcd.ruling import FENCED, data_fact
from drrun_steps.etcd.verdict import Seen


@dataclass(frozen=True, slots=True)
class Choice:
    """Whom to save from, and how; or why nobody is rescued, with the next move."""

    host: str = ""
    live: bool = False
    why: str = ""
    hint: str = ""


def choose(seen: Mapping[str, Seen], *, quorum: bool) -> Choice:
    """The member with the greatest revision, once the quorum is lost for good. Pure."""
    held = {host: revision for host, it in seen.items() if (revision := _held(it))}
    if quorum:
        return Choice(
            why="a quorum of etcd answers: nothing is lost that a rescue could bring back",
            hint="replace dead members one at a time with etcd-member-replace",
        )
    busy = [h for h, it in seen.items() if not it.status.answers and it.data.state == "in-use"]
    if busy:
        return Choice(
            why=f"{', '.join(busy)}: etcd runs but does not answer, so that its revision is not known",
            hint="`systemctl stop etcd` there and start again: its directory is read then",
        )
    if 2 * len(held) > len(seen):
        return Choice(
            why=f"{len(held)} of {len(seen)} members have their data ({', '.join(held)}): the quorum "
            "is not lost for good",
            hint="start etcd on these hosts: they elect a leader and go on by themselves",
        )
    if not held:
        return Choice(
            why="no member that can be asked has any data left",
            hint="restore the newest backup with restore-cluster",
        )
    best = max(held, key=lambda host: (held[host], seen[host].status.answers, host))
    return Choice(best, live=seen[best].status.answers)


def _held(it: Seen) -> int:
    if it.status.answers:
        return it.status.revision
    return it.data.revision if it.data.state == "readable" else 0


class SurvivorSave(Replaying):
    """Save what the last member holds, once the quorum is proved to be lost for good.

    Refused while a quorum answers, or while so many members still have their data that starting
    them is all that is needed. Of those that are left the one with the greatest revision is
    taken: live, by a snapshot; stopped, by a copy of its directory, log included, that an etcd on
    loopback replays (`--force-new-cluster`, on the copy only). The member itself is not changed.
    """

    uses = "etcd.survivor.save"
    effect = Effect.CHANGE
    repeat = Repeat.SAFE

    def rules(self) -> Sequence[Demand]:
        """Before this runbook stops etcd: a survivor that answers is better than its disk."""
        done = step_done("service.stop", service=self.service)
        because = "a survivor that answers gives all that it holds; it is stopped afterwards"
        return [Rule(done, "", value=False, because=because)]

    def run(self, group: Group) -> Outputs:
        """Ask everybody, choose once, save, fetch."""
        hosts = group.hosts
        statuses = ask_each(group, hosts, lambda h: EtcdStatus(**overrides(h, self.service)))
        data = ask_each(group, hosts, lambda h: data_fact(h, self.service))
        seen = {h.name: Seen(statuses[h.name], data[h.name]) for h in hosts}
        seen |= dict.fromkeys(group.fenced, FENCED)
        live = [h for h in hosts if statuses[h.name].answers]
        told = [h.read(EtcdMembers(**overrides(h, self.service))) for h in live]
        choice = choose(seen, quorum=any(t.answers and t.quorum for t in told))
        if choice.why:
            raise Refused(choice.why, hint=choice.hint)
        how = "answers" if choice.live else "is stopped: a copy of its directory is replayed"
        group.note(f"the survivor is {choice.host}, which {how}")
        return self._saved(group[choice.host], "survivor", live=choice.live)
