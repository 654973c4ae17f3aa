"""What it means for a run that hosts are fenced after it began."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from drrun.errors import Refused, Unreachable, UsageError
from drrun.execute.recorder import Recorder
from drrun.journal.events import HostFenced
from drrun.journal.state import RunState, Status
from drrun.model.fencing import Fencing, names
from drrun.values import CONTROLLER, HostName, StepId

if TYPE_CHECKING:
    from drrun.execute.hosts import Hosts

ENDED = frozenset({Status.DONE, Status.UNDONE})


def added(
    state: RunState, fencings: Iterable[Fencing], *, undo: bool = False
) -> tuple[Fencing, ...]:
    """Those that the run does not know yet. Raises UsageError and Refused.

    Refused, before anything is done: a step that is still to come, acts on the host, and stops
    without it or has nobody else. An undo leaves the host as it is.
    """
    new = tuple(fencing for fencing in fencings if fencing.host not in state.fenced)
    hosts = [host for host in state.plan.targets if host != CONTROLLER]
    for fencing in new:
        if fencing.host not in hosts:
            raise UsageError(
                f"--fenced {fencing.host}: the run has no such host",
                hint=f"it has {', '.join(hosts)}",
            )
    gone = names(new) | set(state.fenced)
    stuck = (
        list(dict.fromkeys(_stuck(state, gone))) if state.phase == "forward" and not undo else []
    )
    if stuck:
        raise Refused(
            f"{', '.join(sorted(names(new)))} cannot be left out of {', '.join(stuck)}: "
            "what is still to come stops without it, or has nobody else",
            hint=f"bring that host back, then `drrun resume {state.plan.run}`; "
            f"or undo: `drrun abort {state.plan.run} --undo --fenced …`",
        )
    return new


def reach(hosts: Hosts, fenced: Collection[HostName]) -> None:
    """Open every line but those to fenced hosts, which must be silent. Raises ConnectError, Refused."""
    hosts.leave_out(fenced)
    hosts.prove_fenced()
    try:
        hosts.connect_all(hosts.present)
    except Unreachable as error:
        way_out = "a host that is surely off is left out by name: --fenced HOST=power --reason …"
        raise Unreachable(error.message, hint=f"{error.hint}\n{way_out}".strip()) from error


def record_fenced(recorder: Recorder, fencings: Iterable[Fencing]) -> None:
    """Journal the operator's word on each host: from here on it is the run's."""
    for f in fencings:
        word = HostFenced(host=f.host, method=f.method, reason=f.reason, by=f.by)
        recorder.record(word, durable=True)


def _stuck(state: RunState, gone: frozenset[str]) -> Iterable[StepId]:
    for unit in state.plan.units:
        if state.units[unit.id].status in ENDED or not gone & set(unit.hosts):
            continue
        step = state.plan.step_of[unit.step]
        all_hosts = {host for u in state.plan.units_of[step.id] for host in u.hosts}
        if step.on_unreachable != "skip-fenced" or all_hosts <= gone:
            yield step.id
