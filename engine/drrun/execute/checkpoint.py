"""What a run knows of its hosts where its journal ends: every fact it read or brought about.

The facts come from the step types themselves: each attempt is performed once more on its journal
alone, up to where that ends. No host is asked, nothing is changed, nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from drrun.errors import ConnectError, StepFailed
from drrun.execute.asking import ask_facts
from drrun.execute.copying import FileSum, Incoming
from drrun.execute.hosts import Hosts
from drrun.execute.live import LEFT_OPEN, LiveSession
from drrun.execute.past import Past
from drrun.execute.printed import reply_of
from drrun.execute.touching import marks, places
from drrun.execute.unit import Catalog, Performance, names_for
from drrun.execute.view import Change, Copy, decoded
from drrun.journal.events import Answered, ChangeIntended, Event, HostFenced, UnitStarted
from drrun.journal.outputs import Outputs
from drrun.journal.state import RunState
from drrun.plan.diff import StepDrift
from drrun.plan.plan import Plan
from drrun.spi import Fact, Predicate
from drrun.values import ANYTHING, Digest, HostName, Json, StepId, UnitId

SLOW = 60.0
"""A fact that may take longer than this many seconds is not asked again: an outage goes on."""

Place: TypeAlias = tuple[UnitId, int, int]
"""Unit, attempt, ordinal."""


@dataclass(frozen=True, slots=True)
class Known:
    """A fact as the run last knew it. `step` brought it about; None when it was only read."""

    host: HostName
    fact: Fact[Any]
    answer: Json
    step: StepId | None = None


@dataclass(frozen=True, slots=True)
class HostDrift:
    """A fact that is another one than at the checkpoint; `why` when it cannot be read."""

    known: Known
    now: Json = None
    why: str = ""
    unreached: bool = False
    """Whether nothing at all could be asked there."""

    @property
    def identity(self) -> bool:
        """Whether it says now that this is another thing."""
        if self.why:
            return False
        fact, was = self.known.fact, self.known.answer
        return fact.pinned(decoded(fact, was)) != fact.pinned(decoded(fact, self.now))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All that is known where the journal ends, and the steps whose code is not what it was."""

    known: tuple[Known, ...]
    other_code: tuple[StepId, ...] = ()


@dataclass(frozen=True, slots=True)
class Drift:
    """Everything that moved since the checkpoint."""

    plan: Plan
    runbook: str = ""
    """Why the runbook cannot be compared; empty when it can."""
    edited: bool = False
    finished: tuple[StepDrift, ...] = ()
    """Steps of which something is done already, and that say something else now."""
    ahead: tuple[StepDrift, ...] = ()
    """Steps that were changed and have not begun."""
    inventory: tuple[str, ...] = ()
    code: tuple[str, ...] = ()
    hosts: tuple[HostDrift, ...] = ()
    asked: int = 0
    """Facts that were asked again."""

    @property
    def any(self) -> bool:
        """Whether there is something to tell."""
        parts = (self.runbook, self.edited, self.inventory, self.code, self.hosts)
        return any(bool(part) for part in parts)


class _JournalEndsError(Exception):
    """The replay has come to what the journal does not hold."""


@dataclass(slots=True)
class _Replay(LiveSession):
    """A live session on its journal alone. Remembers which facts and changes stand where.

    It is given no means: whatever would act has nothing to act with.
    """

    sums: Mapping[str, Digest] = field(default_factory=dict)
    """The sha256 of each file that an input of the plan names."""
    outputs: Outputs | None = None
    facts: dict[int, list[tuple[HostName, Fact[Any], str]]] = field(default_factory=dict)
    """Ordinal -> host, fact, and the key of its answer."""
    changes: dict[int, tuple[HostName, Change]] = field(default_factory=dict)

    def read(self, host: HostName, facts: Sequence[Fact[Any]]) -> list[Any]:
        """From the journal."""
        self.facts[self._ordinal + 1] = [(host, fact, str(i)) for i, fact in enumerate(facts)]
        return LiveSession.read(self, host, facts)

    def read_all(self, hosts: Sequence[HostName], fact: Fact[Any]) -> Mapping[HostName, Any]:
        """From the journal."""
        self.facts[self._ordinal + 1] = [(host, fact, str(host)) for host in hosts]
        return LiveSession.read_all(self, hosts, fact)

    def require(
        self,
        host: HostName,
        fact: Fact[Any],
        must: Predicate,
        *,
        because: str,
        hint: str,
        within: float,
        hopeless: Fact[str] | None = None,
    ) -> Any:
        """From the journal."""
        del hopeless
        self.facts[self._ordinal + 1] = [(host, fact, str(host))]
        return LiveSession.require(
            self, host, fact, must, because=because, hint=hint, within=within
        )

    def change(self, host: HostName, change: Change) -> Any:
        """From the journal; one that has not ended ends the replay."""
        if change.only_if is not None and not self._wanted(host, change):
            return None
        if self.past.kind(self._ordinal + 1) == "note":
            self._ordinal += 1  # not made again: an earlier attempt has it
        self._ordinal += 1
        past = self.past.change(self._ordinal, change.name, change.asked(host))
        if past.intents:
            self.changes[self._ordinal] = (host, change)
        finished = past.finished
        if finished is None or finished.code not in change.exits:
            raise _JournalEndsError
        if change.sets and not past.verified:
            raise _JournalEndsError
        self.changed = True
        if change.returns is None:
            return None
        assert self.outputs is not None
        return change.returns(reply_of(self.outputs, finished))

    def skip_taken_up(self) -> None:
        """What an earlier attempt left open stands first; what came of it stands there."""
        if self.past.kind(1) == LEFT_OPEN:
            self._ordinal = 1

    def put(self, host: HostName, copy: Copy) -> str:
        """A source is not hashed again: one that the plan knows nothing of ends the replay."""
        sha256 = self.sums.get(str(copy.source))
        if sha256 is None:
            raise _JournalEndsError
        if self.read(host, [FileSum(copy.dest)])[0] != sha256:
            self.change(host, Incoming(copy, sha256).change())
        return sha256

    def _answer(
        self, kind: str, name: str, question: Json, ask: Callable[[], dict[str, Json]]
    ) -> Mapping[str, Json]:
        del ask

        def ends() -> dict[str, Json]:
            raise _JournalEndsError

        return LiveSession._answer(self, kind, name, question, ends)  # noqa: SLF001 - its own


def checkpoint(
    plan: Plan, events: Sequence[Event], catalog: Catalog, outputs: Outputs
) -> Checkpoint:
    """What is known of the hosts where `events` end. A run that is being undone knows nothing."""
    state = RunState.of(plan, events)
    sums = {str(plan.inputs[name]): digest for name, digest in plan.files.items()}
    if state.phase == "undo":
        return Checkpoint(())
    replays: dict[tuple[UnitId, int], _Replay] = {}
    fenced = _fenced_then(plan, events)
    other: list[StepId] = []
    for unit in plan.units:
        record = state.units[unit.id]
        for attempt, undo in record.entries:
            if undo:
                continue
            past = Past(unit.id, record.replay(attempt, undo=False))
            gone = fenced.get((unit.id, attempt), frozenset())
            replay = _Replay(None, None, past, gone, sums=sums, outputs=outputs)  # type: ignore[arg-type]
            replay.skip_taken_up()
            replays[(unit.id, attempt)] = replay
            names = names_for(plan, unit, state.outputs())
            # What had to be done before was done, or the attempt would not be in the journal.
            stage = Performance(plan, unit, catalog, replay, names, lambda _unit: True)
            stage.fenced = gone
            ended = record.outcome is not None and record.outcome.good
            if not _performed(stage) and ended and attempt == record.attempt:
                other.append(unit.step)
    known = _Fold(plan, replays)
    for event in events:
        known.take(event)
    return Checkpoint(tuple(known.facts.values()), tuple(dict.fromkeys(other)))


def _fenced_then(
    plan: Plan, events: Sequence[Event]
) -> Mapping[tuple[UnitId, int], frozenset[HostName]]:
    """The hosts that were fenced when each attempt began."""
    gone = {fencing.host for fencing in plan.fenced}
    found: dict[tuple[UnitId, int], frozenset[HostName]] = {}
    for event in events:
        if isinstance(event, HostFenced):
            gone.add(event.host)
        elif isinstance(event, UnitStarted) and not event.undo:
            found[(event.unit, event.attempt)] = frozenset(gone)
    return found


def _performed(stage: Performance) -> bool:
    """Whether the attempt went as its journal says, as far as that goes."""
    try:
        stage.run()
    except _JournalEndsError:
        return True
    except Exception:  # noqa: BLE001 - whatever a step type of another version does ends its replay
        return False
    return True


@dataclass(slots=True)
class _Fold:
    """The journal's answers in its own order: what a change touched is known no more."""

    plan: Plan
    replays: Mapping[tuple[UnitId, int], _Replay]
    facts: dict[tuple[HostName, str], Known] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        if not isinstance(event, Answered | ChangeIntended) or event.undo:
            return
        replay = self.replays.get((event.unit, event.attempt))
        made = replay.changes.get(event.ordinal) if replay is not None else None
        if isinstance(event, ChangeIntended):
            self._forget(event.host, made[1] if made is not None else None)
        elif event.kind == "verify" and made is not None:
            self._verified(event, *made)
        elif replay is not None:
            for host, fact, key in replay.facts.get(event.ordinal, ()):
                if key in event.answers:
                    self._learn(Known(host, fact, event.answers[key]))

    def _verified(self, event: Answered, host: HostName, change: Change) -> None:
        step = self.plan.unit_of[event.unit].step
        for fact in change.sets:
            if fact.key in event.answers:
                answer = event.answers[fact.key]
                self.facts[(host, fact.key)] = Known(host, fact, answer, step)

    def _learn(self, new: Known) -> None:
        """A fact that was read as it was brought about stays that step's."""
        old = self.facts.get((new.host, new.fact.key))
        if old is None or old.answer != new.answer:
            self.facts[(new.host, new.fact.key)] = new

    def _forget(self, host: HostName, change: Change | None) -> None:
        """Of a change that could not be replayed nobody knows what it touched: all of its host."""
        made = marks(host, (ANYTHING,) if change is None else change.touched)
        for place, known in list(self.facts.items()):
            if not made.isdisjoint(places(known.host, known.fact.about())):
                del self.facts[place]


def host_drifts(found: Checkpoint, hosts: Hosts) -> tuple[tuple[HostDrift, ...], int]:
    """Ask every host again what is known of it: what differs, and how much was asked.

    A host that cannot be reached is a drift; whether the run can do without it, the run decides.
    """
    by_host: dict[HostName, list[Known]] = {}
    for known in found.known:
        if known.fact.timeout <= SLOW and known.host in hosts.present:
            by_host.setdefault(known.host, []).append(known)
    with ThreadPoolExecutor(max_workers=min(len(by_host), 8) or 1) as pool:
        drifts = pool.map(lambda host: _asked_again(hosts, host, by_host[host]), by_host)
        found_there = tuple(drift for some in drifts for drift in some)
    return found_there, sum(len(known) for known in by_host.values())


def _asked_again(hosts: Hosts, host: HostName, known: Sequence[Known]) -> list[HostDrift]:
    try:
        answers: Iterable[Json] = ask_facts(hosts.line(host), [one.fact for one in known])
    except ConnectError as error:
        return [HostDrift(known[0], why=error.message, unreached=True)]
    except StepFailed:
        return [drift for one in known for drift in _one_by_one(hosts, one)]
    return [
        HostDrift(one, answer)
        for one, answer in zip(known, answers, strict=True)
        if answer != one.answer
    ]


def _one_by_one(hosts: Hosts, known: Known) -> list[HostDrift]:
    """An answer that makes no sense any more is a drift of its own."""
    try:
        answer = ask_facts(hosts.line(known.host), [known.fact])[0]
    except StepFailed as error:
        return [HostDrift(known, why=error.message)]
    return [HostDrift(known, answer)] if answer != known.answer else []
