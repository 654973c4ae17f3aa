"""`keep`: before each host's turn, how many others are healthy is measured, never assumed.

A static limit (`serial: 1`) counts turns; it does not see the member that is down already. Here a
unit takes its hosts out of the count before it begins, under one lock a role, so that branches
side by side share one measure; they come back when the unit has ended, its `ensures` included.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from drrun.errors import ConnectError, Refused, StepFailed
from drrun.execute.asking import POLL, ask_facts
from drrun.execute.follow import Detached
from drrun.execute.hosts import Hosts
from drrun.journal.events import Noted
from drrun.plan.plan import Keep, Unit
from drrun.ports import Clock
from drrun.spi import Fact
from drrun.values import HostName, Json, NotKnown


@dataclass(frozen=True, slots=True)
class Measure:
    """What one measuring found. `busy` hosts are others' turns: their health is not counted on."""

    healthy: tuple[HostName, ...]
    unknown: tuple[HostName, ...]
    down: tuple[HostName, ...]
    left: int
    """How many would surely be healthy while this unit has its turn."""
    perhaps: int
    """How many more might be, as far as a dry-run can tell."""


def measure(
    keep: Keep, own: Sequence[HostName], busy: Sequence[HostName], answers: Mapping[HostName, Any]
) -> Measure:
    """Count. A host that does not answer is down."""
    known = {h: a for h, a in answers.items() if not isinstance(a, NotKnown)}
    healthy = tuple(h for h in keep.hosts if h in known and known[h] == keep.value)
    unknown = tuple(h for h in keep.hosts if h in answers and h not in known)
    out = {*own, *busy}
    return Measure(
        healthy,
        unknown,
        tuple(h for h in keep.hosts if h not in healthy and h not in unknown),
        sum(h not in out for h in healthy),
        sum(h not in out for h in unknown),
    )


def lost(keep: Keep, found: Measure, busy: Sequence[HostName]) -> bool:
    """Whether it is lost already: there is nothing to keep, and no turn of ours took it."""
    return not busy and len(found.healthy) + len(found.unknown) < keep.least


def told(keep: Keep, found: Measure) -> str:
    """What was measured, in words."""
    down = f"; not healthy: {', '.join(found.down)}" if found.down else ""
    return (
        f"{len(found.healthy)} of {len(keep.hosts)} are healthy ({keep.fact.key}), {keep.least} "
        f"must stay so{down}"
    )


def refusal(keep: Keep, unit: Unit, found: Measure, *, already: bool) -> Refused:
    """Why a unit may not have its turn."""
    where = ", ".join(unit.hosts)
    if already:
        return Refused(
            f"it is lost already: {told(keep, found)}",
            hint="bring them back first; `if_lost: proceed` on the step goes on where nothing can "
            "be kept, as when members are started again",
        )
    return Refused(
        f"while {where} has its turn {found.left} would be healthy: {told(keep, found)}",
        hint="bring the others back first, then `drrun resume`",
    )


def _key(keep: Keep) -> str:
    return f"{keep.fact.key} on {','.join(keep.hosts)}"


@dataclass(slots=True)
class Keeper:
    """The turns of one run: who has one, and who may."""

    hosts: Hosts
    make_fact: Callable[[str, Mapping[str, Json]], Fact[Any]]
    clock: Clock
    stop: threading.Event
    note: Callable[[Noted], None]
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _busy: dict[str, dict[str, tuple[HostName, ...]]] = field(default_factory=dict)
    """What is kept -> unit -> the hosts whose turn it is."""
    _sent: set[str] = field(default_factory=set)
    """Units whose first change was measured for, or was sent by an earlier controller."""

    @contextmanager
    def turn(self, keep: Keep | None, unit: Unit, *, begun: bool, back: bool) -> Iterator[None]:
        """A unit's turn. Waits while others have theirs; raises Refused when it may not begin.

        A unit whose change was sent already (`begun`), and one that goes `back`, keep what they
        can: they are counted, and never refused.
        """
        if keep is None:
            yield
            return
        key = _key(keep)
        if begun or back:
            with self._lock:
                self._busy.setdefault(key, {})[unit.id] = unit.hosts
                self._sent.add(unit.id)
        else:
            self._wait(keep, unit, key)
        try:
            yield
        finally:
            with self._lock:
                self._busy[key].pop(unit.id, None)

    def _wait(self, keep: Keep, unit: Unit, key: str) -> None:
        end = self.clock.monotonic() + keep.within
        while not self.stop.is_set():
            with self._lock:
                busy = [host for hosts in self._busy.get(key, {}).values() for host in hosts]
                found = measure(keep, unit.hosts, busy, self._answers(keep))
                already = lost(keep, found, busy)
                if found.left >= keep.least or (already and keep.if_lost == "proceed"):
                    self._busy.setdefault(key, {})[unit.id] = unit.hosts
                    state = "lost already, and goes on as told" if already else "its turn"
                    self.note(Noted(unit=unit.id, text=f"{state}: {told(keep, found)}"))
                    return
                if not busy and (already or self.clock.monotonic() >= end):
                    raise refusal(keep, unit, found, already=already)
            if busy:  # somebody's turn ends some day; then the waiting begins
                end = self.clock.monotonic() + keep.within
            self.clock.wait(POLL)
        raise Detached

    def again(self, keep: Keep | None, unit: Unit) -> None:
        """Measure once more, right before the unit's first change; later ones are not held back."""
        if keep is None or unit.id in self._sent:
            return
        with self._lock:
            turns = self._busy[_key(keep)].items()
            busy = [host for name, hosts in turns if name != unit.id for host in hosts]
            found = measure(keep, unit.hosts, busy, self._answers(keep))
            already = lost(keep, found, busy)
            if found.left < keep.least and not (already and keep.if_lost == "proceed"):
                raise refusal(keep, unit, found, already=already)
            self._sent.add(unit.id)

    def _answers(self, keep: Keep) -> dict[HostName, Any]:
        fact = self.make_fact(keep.fact.name, keep.fact.args)
        found: dict[HostName, Any] = {}
        for host in (host for host in keep.hosts if host in self.hosts.present):
            try:
                found[host] = ask_facts(self.hosts.line(host), [fact])[0]
            except (ConnectError, StepFailed):
                continue  # who cannot be asked is not healthy, nor is who is fenced
        return found
