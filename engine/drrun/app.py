"""The composition root: settings and adapters in, an engine out. The only place that knows both."""

from __future__ import annotations

import dataclasses
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from drrun import __version__
from drrun.errors import Fenced, Refused, UsageError
from drrun.execute.absence import added, reach, record_fenced
from drrun.execute.recorder import Recorder
from drrun.journal.events import (
    HostsHeld,
    JournalTrimmed,
    Resolved,
    RunAttached,
    RunFinished,
    RunStarted,
    UndoStarted,
)
from drrun.journal.state import RunState
from drrun.lang.diagnostics import Diagnostic, Source
from drrun.lang.inventory import load_inventory
from drrun.lang.load import LoadedRunbook, load_runbook
from drrun.lang.tree import Node
from drrun.machine import SystemChance, SystemClock
from drrun.model.fencing import Fencing, names
from drrun.model.inventory import Inventory
from drrun.places import find_runbook, new_run_id, operator, state_root
from drrun.plan.absence import unneeded, wrong_host
from drrun.plan.bind import bind, bind_for_lint
from drrun.plan.compile import Compiled, compile_plan
from drrun.plan.early import early_mistakes
from drrun.plan.plan import Plan
from drrun.plan.select import starting_at
from drrun.ports import Clock, Journal, Prompt, Transport, Watcher
from drrun.registry import Registry
from drrun.store.folder import FolderJournal, FolderStore, StoredRun
from drrun.values import HostName, RunId, StepId, UnitId

if TYPE_CHECKING:  # what only a run needs is imported when there is one: lint and status start fast
    from drrun.execute.decide import Finish
    from drrun.execute.dry import Forecast
    from drrun.execute.hosts import Hosts
    from drrun.execute.sealed import Sealed


TORN = 2000
"""Bytes of a torn record that its note keeps."""


@dataclass
class App:
    """drrun, wired. `stop` is set by signals; everything that waits watches it."""

    prompt: Prompt
    watchers: Sequence[Watcher] = ()
    registry: Registry = field(default_factory=Registry)
    store: FolderStore = field(default_factory=lambda: FolderStore(state_root()))
    stop: threading.Event = field(default_factory=threading.Event)
    transport: Transport | None = None
    forks: int = 16
    wrap: Callable[[Journal], Journal] = lambda journal: journal
    """A layer around the journal: tests put crash points there."""
    under_way: Callable[[], None] = lambda: None
    """Called once the hosts are taken, right before the first unit begins."""

    @property
    def clock(self) -> Clock:
        """The machine's clock."""
        return SystemClock(self.stop)

    # --- text to plan ------------------------------------------------------------------------

    def load(self, word: str) -> LoadedRunbook:
        """A runbook by path or stock name."""

        def further(root: Node, source: Source) -> Iterable[Diagnostic]:
            return early_mistakes(root, source, self.registry)

        return load_runbook(find_runbook(word), further=further)

    def lint(self, loaded: LoadedRunbook, inventory: Inventory | None = None) -> Compiled:
        """Prove a runbook without a run: on an inventory, or on any. Raises AuthorError.

        An input that nobody gave is taken on trust.
        """
        made_up, binding = bind_for_lint(loaded)
        if inventory is not None:
            binding = bind(loaded, inventory, {}, trusted=binding.inputs)
        return compile_plan(
            loaded,
            inventory or made_up,
            binding,
            self.registry,
            run=RunId("lint"),
            versions={},
        )

    def plan(
        self,
        loaded: LoadedRunbook,
        inventory: Path | Inventory,
        answers: Mapping[str, str],
        *,
        limit: Sequence[str] = (),
        run: RunId | None = None,
        begin: str = "",
        fenced: Sequence[Fencing] = (),
    ) -> Plan:
        """The plan of a new run, or of the run that is named. Raises AuthorError with every mistake."""
        found = load_inventory(inventory) if isinstance(inventory, Path) else inventory
        for fencing in fenced:
            if wrong := wrong_host(fencing.host, found):
                raise UsageError(wrong[0], hint=wrong[1])
        narrowed = _limited(found, limit) if limit else None
        binding = bind(loaded, found, answers, limit=narrowed, fenced=fenced)
        versions = {"drrun": __version__, "python": sys.version.split()[0]}
        plan = compile_plan(
            loaded, found, binding, self.registry, run=run or new_run_id(), versions=versions
        ).plan
        if idle := unneeded(plan):
            raise UsageError(f"--fenced {idle}: this run does nothing on it", hint="leave it out")
        return starting_at(plan, begin) if begin else plan

    # --- plan to forecast --------------------------------------------------------------------

    def forecast(self, plan: Plan, *, offline: bool = False) -> Forecast:
        """The dry-run: reads only. Raises ConnectError when a host cannot be reached."""
        from drrun.execute.asking import Remembering
        from drrun.execute.dry import Dry
        from drrun.execute.observed import Observing

        if offline:
            return Dry(plan, self.registry, lambda _host, _facts: None, offline=True).forecast()
        with self._hosts(plan) as hosts:
            reach(hosts, names(plan.fenced))
            reader = Observing(Remembering(hosts))
            forecast = Dry(plan, self.registry, reader, unreached=hosts.unreached).forecast()
            return dataclasses.replace(forecast, facts=reader.found)

    # --- plan to run -------------------------------------------------------------------------

    def start(
        self,
        plan: Plan,
        argv: Sequence[str] = (),
        sealed: Sealed | None = None,
        only: frozenset[StepId] = frozenset(),
    ) -> Finish:
        """Run a plan from its beginning: `sealed` is the one that it was reviewed as.

        With `only` no other steps are begun: the run rests when these have ended. Raises Refused
        when the plan's run was begun already, here or (Fenced) on the hosts.
        """
        with self._hosts(plan) as hosts:
            reach(hosts, names(plan.fenced))  # before the journal: exit 4 leaves nothing behind
            recorder, journal = self._begun(plan, argv, sealed)
            return self._drive(recorder, hosts, journal, only=only)

    def begin(self, plan: Plan, argv: Sequence[str] = ()) -> None:
        """Write a run's first record and no more: `resume` goes on with it, in another process."""
        with self._hosts(plan) as hosts:
            reach(hosts, names(plan.fenced))
        _, journal = self._begun(plan, argv)
        journal.close()

    def _begun(
        self, plan: Plan, argv: Sequence[str], sealed: Sealed | None = None
    ) -> tuple[Recorder, FolderJournal]:
        journal = self.store.create(plan, sealed.text() if sealed is not None else b"")
        began = RunStarted(
            run=plan.run,
            plan=plan.digest,
            runbook=plan.runbook,
            inventory=plan.inventory,
            operator=operator(),
            controller=socket.gethostname(),
            version=__version__,
            argv=tuple(argv),
            sealed=sealed.digest if sealed is not None else "",
            approved=sealed.approved if sealed is not None else (),
        )
        try:
            recorder = self._recorder(plan, journal)
            recorder.record(began, durable=True)
            record_fenced(recorder, plan.fenced)
        except BaseException:
            journal.close()
            raise
        return recorder, journal

    def _recorder(self, plan: Plan, journal: FolderJournal) -> Recorder:
        """A recorder behind all that the journal holds; a tail that was trimmed is noted."""
        state = RunState.of(plan, journal.events())
        recorder = Recorder(self.wrap(journal), state, tuple(self.watchers))
        if journal.torn:
            text = journal.torn[:TORN].decode("utf-8", "backslashreplace")
            recorder.record(JournalTrimmed(size=len(journal.torn), text=text), durable=True)
        return recorder

    def resume(self, run: str | None, fenced: Sequence[Fencing] = ()) -> Finish:
        """Go on with a run: what is finished stays, what was interrupted is taken up again.

        Hosts that are `fenced` now are left out from here on, beside those that were before.
        """
        found = self.resumable(run)
        with self._opened(found) as (recorder, journal), self._hosts(found.plan) as hosts:
            new = added(recorder.state, fenced)
            reach(hosts, {*recorder.state.fenced, *names(new)})
            record_fenced(recorder, new)
            return self._drive(recorder, hosts, journal)

    def takeover(self, run: str | None, fenced: Sequence[Fencing] = ()) -> Finish:
        """Go on with a run that another controller holds: dead, frozen, or out of reach.

        The hosts are fenced first: from then on they refuse the old controller's changes.
        """
        found = self.resumable(run)
        plan = found.plan
        before = RunState.of(plan, found.events)
        epoch, new = before.epoch + 1, added(before, fenced)
        self.store.prove_writable(found.run)  # hosts that were fenced in vain refuse everybody
        with self._hosts(plan) as hosts:
            reach(hosts, {*before.fenced, *names(new)})
            if plan.changes_anything:
                epoch = _fence_above(hosts, epoch)
            _, journal = self.store.take_over(found.run)
            recorder = self._recorder(plan, journal)
            record_fenced(recorder, new)
            return self._drive(recorder, hosts, journal, fenced=epoch)

    def abort(self, run: str | None, fenced: Sequence[Fencing] = ()) -> Finish:
        """Undo a run, last step first. Raises Refused behind the point of no return."""
        found = self.store.find(run)
        state = RunState.of(found.plan, found.events)
        if state.no_return is not None:
            raise Refused(
                f"{found.run} has crossed its point of no return ({state.no_return}): "
                "there is no way back",
                hint=f"go on with `drrun resume {found.run}`, or restore from the last-chance backup",
            )
        with self._opened(found) as (recorder, journal), self._hosts(found.plan) as hosts:
            new = added(recorder.state, fenced, undo=True)
            reach(hosts, {*recorder.state.fenced, *names(new)})
            record_fenced(recorder, new)
            if state.phase != "undo":
                recorder.record(UndoStarted(why="asked to", operator=operator()), durable=True)
            return self._drive(recorder, hosts, journal)

    def resolve(self, run: str, step: str, host: str, verdict: str, why: str) -> None:
        """Record a person's verdict on a change whose result was lost."""
        found = self.store.find(run)
        state = RunState.of(found.plan, found.events)
        lost = state.lost()
        unit = next((u for u in lost if u in (step, f"{step}@{host}")), None)
        if unit is None:
            raise UsageError(
                f"{found.run} has nothing unknown at {step} on {host}",
                hint=f"unknown: {', '.join(lost)}" if lost else "nothing is unknown",
            )
        with self._opened(found) as (recorder, _):
            recorder.record(
                Resolved(
                    unit=UnitId(unit),
                    host=HostName(host),
                    verdict=verdict,
                    by=operator(),
                    why=why,
                    undo=lost[UnitId(unit)],
                ),
                durable=True,
            )

    def resumable(self, run: str | None) -> StoredRun:
        """A run that can be gone on with. Raises UsageError when there is none, or it is over."""
        found = self.store.find(run)
        state = RunState.of(found.plan, found.events)
        if state.finished is not None and state.finished.status in {"done", "undone", "void"}:
            raise UsageError(
                f"{found.run} is {state.finished.status}: there is nothing to resume",
                hint=f"`drrun report {found.run}` shows it",
            )
        return found

    @contextmanager
    def _opened(self, found: StoredRun) -> Iterator[tuple[Recorder, FolderJournal]]:
        plan, journal = self.store.open(found.run)
        try:
            yield self._recorder(plan, journal), journal
        finally:
            journal.close()

    @contextmanager
    def _hosts(self, plan: Plan) -> Iterator[Hosts]:
        from drrun.execute.hosts import Hosts
        from drrun.transport.routes import Transports

        hosts = Hosts(plan, self.transport or Transports())
        try:
            yield hosts
        finally:
            hosts.close()

    def _drive(
        self,
        recorder: Recorder,
        hosts: Hosts,
        journal: FolderJournal,
        *,
        fenced: int = 0,
        only: frozenset[StepId] = frozenset(),
    ) -> Finish:
        """Attach with a new epoch, fence the hosts unless a takeover did, and drive to the end.

        The epoch is journaled before a host sees it: a controller that dies in between never
        leaves an epoch that the next one would take for somebody else's.
        """
        from drrun.execute.drive import Driver

        epoch = fenced or recorder.state.epoch + 1
        attached = RunAttached(
            epoch=epoch,
            operator=operator(),
            controller=socket.gethostname(),
            pid=os.getpid(),
            version=__version__,
        )
        try:
            recorder.record(attached, durable=True)
            if recorder.state.plan.changes_anything and not fenced:
                _fence(recorder, hosts, epoch)
            if hosts.tiers:
                recorder.record(HostsHeld(tiers=dict(hosts.tiers)))
            self.under_way()
            return Driver(
                recorder,
                hosts,
                self.registry,
                self.clock,
                self.prompt,
                self.forks,
                self.stop,
                only,
                SystemChance(),
            ).drive()
        finally:
            journal.close()


def _fence(recorder: Recorder, hosts: Hosts, epoch: int) -> None:
    """Take every host, or end the run as refused: the lock's holder is named.

    A host that knows the first epoch of this run has seen it begin elsewhere, from the same sealed
    plan. That run is the other controller's alone: this one is void, and cannot be resumed.
    """
    try:
        hosts.fence(epoch, _holder())
    except Refused as error:
        again = isinstance(error, Fenced) and epoch == 1
        status = "void" if again else "refused"
        ended = RunFinished(status=status, exit_code=error.exit_code, why=error.message)
        recorder.record(ended, durable=True)
        if again:
            raise Fenced(
                f"this plan was applied already, by another controller: {error.message}",
                hint="a sealed plan is applied once; see how that run stands, or seal a new plan",
            ) from error
        raise


def _fence_above(hosts: Hosts, epoch: int) -> int:
    """Fence with the first epoch from `epoch` on that nobody used: a takeover outranks all."""
    for above in range(epoch, epoch + 100):
        with suppress(Fenced):
            hosts.fence(above, _holder())
            return above
    raise Fenced(
        "the hosts are fenced by ever higher epochs", hint="another controller is taking over too"
    )


def _holder() -> str:
    """Who a host says it is locked by."""
    return f"{operator()}@{socket.gethostname()}:{os.getpid()}"


def _limited(inventory: Inventory, limit: Sequence[str]) -> frozenset[HostName]:
    from drrun.lang.hosts import resolve

    words = " | ".join(limit)
    return frozenset(resolve(words, inventory.groups, tuple(inventory.targets)))
