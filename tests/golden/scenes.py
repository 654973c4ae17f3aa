"""The runs that are kept of each version: how each is made, on hosts that a test can count.

A scene ends where its name says; `then` is what a later version must be able to do with it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias
from unittest.mock import patch

from drrun.app import App
from drrun.errors import DrrunError
from drrun.journal.chain import Stamp
from drrun.journal.events import Event, HostSilent, UnitFinished
from drrun.lang.inventory import load_inventory
from drrun.lang.load import load_runbook
from drrun.model.fencing import Fencing
from drrun.plan.bind import bind
from drrun.plan.compile import compile_plan
from drrun.plan.plan import Plan
from drrun.store.folder import JOURNAL
from drrun.testing.crash import CrashingTransport, Points
from drrun.testing.world import Crash, World
from drrun.values import HostName, RunId

from .keeping import RUN, Desk

BEGAN = datetime(2026, 11, 22, 1, 0, 0, tzinfo=UTC)
INVENTORY = """
drrun_inventory: 1
name: prod-eu
hosts:
  cp[1-2]:
groups:
  etcd: [cp1, cp2]
"""
HEAD = """
drrun: 1
name: restore
title: A golden run
objectives: {rto: 15m}
roles:
  etcd: {min: 1}
steps:
"""
STOP = "- {id: stop, hosts: etcd, uses: golden.set, with: {key: server, to: stopped}}\n"
WIPE = (
    "- {id: wipe, hosts: etcd, order: serial, uses: golden.set, with: {key: data, to: restored}}\n"
)
START = """\
- {id: start, hosts: etcd, uses: golden.set, with: {key: server, to: "{{ steps.stop.outputs.was }}"}}
"""
FAIL = "- {id: check, hosts: 'etcd[1]', uses: golden.fail%s}\n"
AWAIT = "- {id: await, hosts: etcd, uses: golden.await, with: {key: probe, value: 'yes'}}\n"
ALWAYS = (
    "- {id: tell, hosts: 'etcd[0]', always: true, uses: golden.set, with: {key: told, to: all}}\n"
)
ASK = "- {id: admit, hosts: 'etcd[0]', uses: golden.ask, with: {key: clients, to: admitted}}\n"


@dataclass
class Ticking:
    """Times of one boot of the controller, a second and a quarter apart."""

    given: int = 0

    def __call__(self) -> Stamp:
        """The next one."""
        after = self.given * 1.25
        self.given += 1
        utc = (BEGAN + timedelta(seconds=after)).isoformat(timespec="milliseconds")
        return Stamp(utc, round((5000 + after) * 1e9), "5f1c7d3e-0000-4000-8000-000000000001")


class Fuse(Points):
    """Ends the controller by Crash at its point."""

    def touch(self, name: str) -> None:
        """One more point."""
        self.names.append(name)
        if len(self.names) == self.at:
            raise Crash


def compiled(steps: str) -> Plan:
    """The plan of a runbook."""
    desk = Desk(Path(), World())
    loaded = load_runbook(Path("restore.yaml"), HEAD + textwrap.indent(steps, "  "))
    inventory = load_inventory(Path("inventory.yaml"), INVENTORY)
    versions = {"drrun": "golden"}
    return compile_plan(
        loaded,
        inventory,
        bind(loaded, inventory, {}),
        desk.app().registry,
        run=RunId(RUN),
        versions=versions,
    ).plan


@contextmanager
def elsewhere() -> Iterator[None]:
    """Operator, controller and pid of nobody in particular."""
    with (
        patch.dict("os.environ", {"SUDO_USER": "olga"}),
        patch("socket.gethostname", return_value="bastion"),
        patch("os.getpid", return_value=4711),
    ):
        yield


def desk_in(root: Path) -> Desk:
    """A desk over two hosts with a server and data."""
    world = World()
    for host in ("cp1", "cp2"):
        world.of(HostName(host)).update(server="running", data="old")
    return Desk(root, world, Ticking())


def crashed(desk: Desk, plan: Plan, launch: int) -> None:
    """The controller dies right after a launch, before it has the result."""
    probe = desk_in(desk.root / "probe")
    fuse = Fuse(0)
    probe.through = lambda transport: CrashingTransport(transport, fuse)
    probe.app().start(plan)
    at = [i for i, name in enumerate(fuse.names, 1) if name.startswith("after launch")][launch]
    dies = Fuse(at)
    dying = replace(desk, through=lambda transport: CrashingTransport(transport, dies))
    try:
        dying.app().start(plan)
    except Crash:
        return
    raise AssertionError("it did not die")


# --- the scenes ----------------------------------------------------------------------------------


def finished(desk: Desk) -> None:
    """Three steps on two hosts, done."""
    desk.app().start(compiled(STOP + WIPE + START))


def failed(desk: Desk) -> None:
    """The second step fails on one host; a resume fails there again, and repeats nothing."""
    desk.app().start(compiled(STOP + FAIL % "" + START + ALWAYS))


def undone(desk: Desk) -> None:
    """The third step says on_failure: undo; what cannot be undone is left."""
    desk.app().start(compiled(STOP + WIPE + FAIL % ", on_failure: undo"))


def aborted(desk: Desk) -> None:
    """It failed, and a person had it undone."""
    desk.app().start(compiled(STOP + FAIL % ""))
    desk.app().abort(None)


def past_no_return(desk: Desk) -> None:
    """It failed behind its point of no return: there is no undo any more."""
    wipe = WIPE.replace("serial,", "serial, point_of_no_return: true,")
    desk.app().start(compiled(STOP + wipe + FAIL % ", on_failure: undo"))


def interrupted(desk: Desk) -> None:
    """The controller died when a command had run and its result was not journaled yet."""
    crashed(desk, compiled(STOP + WIPE + START + ALWAYS), 2)


def torn(desk: Desk) -> None:
    """The same, in the middle of writing the next record."""
    interrupted(desk)
    path = desk.root / RUN / JOURNAL
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines()[-1][:177])


def trimmed(desk: Desk) -> None:
    """The same, and a resume took the torn record away, said so, and ended the run."""
    torn(desk)
    desk.app().resume(None)


def detached(desk: Desk) -> None:
    """The operator pressed ^C after the first unit."""
    app = desk.app()

    def stop(event: Event) -> None:
        if isinstance(event, UnitFinished):
            app.stop.set()

    app.watchers = (stop,)
    app.start(compiled(STOP + WIPE + START))


def taken_over(desk: Desk) -> None:
    """The controller died, another one took the run over and ended it."""
    crashed(desk, compiled(STOP + WIPE + START), 1)
    desk.app().takeover(None)


def silent(desk: Desk) -> None:
    """A host fell silent between two steps, was asked again, and answered."""
    app, host = desk.app(), HostName("cp2")

    def watch(event: Event) -> None:
        if isinstance(event, UnitFinished) and event.unit == f"stop@{host}":
            desk.world.down.add(host)
        if isinstance(event, HostSilent):
            desk.world.down.discard(host)

    app.watchers = (watch,)
    app.start(compiled(STOP + WIPE + START))


def unknown(desk: Desk) -> None:
    """A host was rebooted while a command ran: what became of it is not known, and nobody is there."""
    crashed(desk, compiled(STOP + WIPE), 2)
    rebooted(desk.world, HostName("cp1"))
    desk.app().resume(None)


def unknown_resolved(desk: Desk) -> None:
    """The same, and a person said what became of it."""
    unknown(desk)
    desk.app().resolve(RUN, "wipe", "cp1", "succeeded", "the data are there, I have looked")
    desk.app().resume(None)


def fenced(desk: Desk) -> None:
    """The controller died, and a host with it; a person fenced it, and the run went on without it."""
    without = (STOP + WIPE).replace("hosts: etcd,", "hosts: etcd, on_unreachable: skip-fenced,")
    crashed(desk, compiled(without), 1)
    desk.world.down.add(HostName("cp2"))
    word = Fencing(HostName("cp2"), "power", "outlet 4 is off", "olga")
    desk.app().resume(None, [word])


def parked(desk: Desk) -> None:
    """A step asks a person, and nobody is there."""
    desk.app().start(compiled(STOP + ASK + START))


def held(desk: Desk) -> None:
    """Two hosts obey the controller; on one of them jobs outlive the session that brought them."""
    desk.world.scoped.add(HostName("cp1"))
    desk.app().start(compiled(STOP))


def foreseen(desk: Desk) -> None:
    """What a later step waits for was asked before the stop: right on one host, down on the other."""
    desk.world.of(HostName("cp2"))["server"] = "away"
    for host in ("cp1", "cp2"):
        desk.world.of(HostName(host))["probe"] = "yes"
    desk.app().start(compiled(STOP + AWAIT))


def rebooted(world: World, host: HostName) -> None:
    """A host without a trace of what ran last, and with a new boot id."""
    last = [key for key in world.jobs if key[0] == host][-1]
    del world.jobs[last]
    world.boots[host] = "boot-2"


Scene: TypeAlias = Callable[[Desk], None]
SCENES: tuple[Scene, ...] = (
    finished,
    failed,
    undone,
    aborted,
    past_no_return,
    interrupted,
    torn,
    trimmed,
    detached,
    taken_over,
    silent,
    unknown,
    unknown_resolved,
    fenced,
    parked,
    held,
    foreseen,
)
SAYS = {"parked": ["yes"]}
"""What the person says who is there when a kept run goes on."""


def gone_on(desk: Desk) -> dict[str, Any]:
    """Resume a run: how that ends, and what its hosts then have been made to do, each effect counted."""
    app: App = desk.app()
    try:
        ended = app.resume(RUN)
        found: dict[str, Any] = {"status": ended.status, "exit_code": ended.exit_code}
    except DrrunError as error:
        found = {"status": type(error).__name__, "exit_code": error.exit_code}
    effects = [[*key, count] for key, count in sorted(desk.world.effects.items())]
    values = {host: dict(keys) for host, keys in desk.world.values.items()}
    return {**found, "effects": effects, "values": values}
