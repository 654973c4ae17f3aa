"""What is kept of a run, and how it comes back: its folder, its hosts, and the answers it led to."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

from drrun.app import App
from drrun.execute.decide import decide
from drrun.journal.state import RunState
from drrun.ports import JobReport, JobState, Transport
from drrun.registry import GROUP, Registry
from drrun.report import document
from drrun.report.story import Story
from drrun.store.disk import Stamps, stamp
from drrun.store.folder import FolderStore, StoredRun
from drrun.testing.world import Answers, World, WorldTransport
from drrun.values import HostName

HERE = Path(__file__).parent
RUN = "r-golden"


@dataclass
class Desk:
    """A controller over a world, with the golden step types."""

    root: Path
    world: World
    stamps: Stamps = stamp
    says: Sequence[str] = ()
    through: Callable[[Transport], Transport] = lambda transport: transport

    def app(self) -> App:
        """The engine."""
        return App(
            Answers(list(self.says)),
            registry=Registry([EntryPoint("golden", "tests.golden.steps", GROUP)]),
            store=FolderStore(self.root, stamps=self.stamps),
            transport=self.through(WorldTransport(self.world)),
            forks=1,
        )


def answers(stored: StoredRun) -> dict[str, Any]:
    """What a run's files lead to: its state, the next decision, its status and its report, as JSON."""
    state = RunState.of(stored.plan, stored.events)
    story = Story.of(stored.plan, stored.records)
    report = document.whole(story)
    del report["drrun"]  # who reads it, not who wrote it
    found = {
        "state": _state(state),
        "decision": [
            {"command": type(command).__name__, **dataclasses.asdict(command)}
            for command in decide(state, ())
        ],
        "status": document.summary(story),
        "report": report,
    }
    return dict(json.loads(json.dumps(found)))


def _state(state: RunState) -> dict[str, Any]:
    return {
        "phase": state.phase,
        "epoch": state.epoch,
        "no_return": state.no_return,
        "ready": list(state.ready),
        "running": list(state.running),
        "failures": dict(state.failures),
        "again": dict(state.again),
        "undo_failures": list(state.undo_failures),
        "left": list(state.left),
        "units": {
            unit: {
                "status": record.status,
                "outcome": record.outcome,
                "attempt": record.attempt,
                "undo_attempt": record.undo_attempt,
                "why": record.why,
                "hint": record.hint,
                "outputs": dict(record.outputs),
                "entries": [[*key, len(entries)] for key, entries in record.entries.items()],
            }
            for unit, record in state.units.items()
        },
    }


# --- hosts ---------------------------------------------------------------------------------------


def hosts_to_json(world: World) -> dict[str, Any]:
    """The hosts as they were when the run was kept."""
    return {
        "values": {host: dict(keys) for host, keys in world.values.items()},
        "effects": [[*key, count] for key, count in sorted(world.effects.items())],
        "locks": {host: list(lock) for host, lock in world.locks.items()},
        "boots": dict(world.boots),
        "jobs": [
            {
                "host": host,
                "token": token,
                "state": report.state,
                "boot_id": report.boot_id,
                "code": report.code,
                "out": report.out.decode(),
                "err": report.err.decode(),
            }
            for (host, token), report in world.jobs.items()
        ],
    }


def hosts_from_json(raw: dict[str, Any]) -> World:
    """The hosts again."""
    world = World()
    world.values = {HostName(host): dict(keys) for host, keys in raw["values"].items()}
    world.effects = Counter({(h, k, v): count for h, k, v, count in raw["effects"]})
    world.locks = {HostName(h): (run, epoch) for h, (run, epoch) in raw["locks"].items()}
    world.boots = {HostName(host): boot for host, boot in raw["boots"].items()}
    for job in raw["jobs"]:
        out, err = job["out"].encode(), job["err"].encode()
        world.jobs[(HostName(job["host"]), job["token"])] = JobReport(
            JobState(job["state"]),
            job["boot_id"],
            code=job["code"],
            out=out,
            err=err,
            out_size=len(out),
            err_size=len(err),
        )
    return world
