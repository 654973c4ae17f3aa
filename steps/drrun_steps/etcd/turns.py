"""The order of whatever takes members of a running cluster away, adds or removes them, as rules."""

from __future__ import annotations

from drrun.spi import Alone, Demand, Duty, Rule, State, step_done

_BACKUP = "nothing is destroyed before what is there now has been saved"
_CONSISTENT = "health is not consistency: only equal hashes prove that it is one cluster still"


def of_upkeep(service: str) -> list[Demand]:
    """Of whoever takes a member away, or changes who they are: one at a time, proved afterwards."""
    because = "two members that are away, joining or leaving at once can cost the quorum"
    consistent = step_done("etcd.consistent")
    return [
        Alone(f"members of {service}", because),
        Duty(consistent, "", value=True, because=_CONSISTENT),
    ]


def of_removal(service: str, *, alive: bool) -> list[Demand]:
    """Of a removal: a backup first; the dead go before anybody joins, the living after."""
    because = "a dead member counts: added beside it, a new one raises the quorum that nobody has"
    if alive:
        because = "a living member is removed when its successor has caught up, not before"
    joins, done = State(step_done("etcd.member.join"), value=True), step_done("etcd.member.remove")
    first = Rule(done, "*", not alive, because, before=joins, earlier=True, some=not alive)
    return [*of_upkeep(service), saved_before(), first]


def saved_before(hosts: str = "") -> Rule:
    """After a safety backup; `*`: wherever it was taken."""
    done = step_done("etcd.snapshot.save")
    return Rule(done, hosts, value=True, because=_BACKUP, some=hosts == "*")
