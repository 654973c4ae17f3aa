"""`drrun lab demo`: a real cluster is destroyed and recovered, and every claim is proved by reading.

The story, in phases: boot, write, back up, write more, destroy, predict, restore, prove. A claim
that does not hold ends the demo with exit code 1 and says what was found instead.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from subprocess import CompletedProcess

from drrun.errors import LabError
from drrun_lab import rehearsal
from drrun_lab.lab import Lab
from drrun_lab.operator import Happened, Operator
from drrun_lab.prober import Prober
from drrun_lab.progress import Progress
from drrun_lab.waiting import until

BEFORE, AFTER = 100, 50
"""Objects that the snapshot holds, and objects that are written after it."""
_GENTLE = 30
"""Seconds in which a client must be able to write again once the restore says that it is done."""


@dataclass
class Story:
    """Tells the demo: headings, claims, and at the end how long each phase took."""

    phases: list[tuple[str, float]] = field(default_factory=list)
    proved: int = 0

    @contextmanager
    def phase(self, title: str) -> Iterator[None]:
        """One phase: its title above, its seconds in the table."""
        print(f"\n── {title} " + "─" * max(3, 86 - len(title)), flush=True)
        began = time.monotonic()
        yield
        self.phases.append((title, time.monotonic() - began))

    def claim(self, text: str, *, holds: bool, found: object = "") -> None:
        """Print a proved claim. Raises LabError, with what was found, when it does not hold."""
        if not holds:
            raise LabError(f"not so: {text}" + (f"; found: {found}" if found else ""))
        self.proved += 1
        print(f"  ✔ {text}", flush=True)

    def table(self, outage: float) -> str:
        """The phases with their seconds, and the outage."""
        rows = [*self.phases, ("in all", sum(seconds for _, seconds in self.phases))]
        lines = [f"  {title:<58}{seconds:7.1f} s" for title, seconds in rows]
        lines.insert(-1, "  " + "─" * 67)
        lines.append("")
        lines.append(
            f"  {'outage: first stop to first write through the balancer':<58}{outage:7.1f} s"
        )
        return "\n".join(lines)


def demo(name: str = "demo", *, keep: bool = False) -> int:
    """Run the demo on the lab of that name, fresh. Returns an exit code; takes the lab down.

    Raises LabError when something does not hold.
    """
    story = Story()
    with story.phase("Boot three control-plane hosts and a load balancer"):
        lab = _fresh(name)
    folder = lab.folder / "demo"
    folder.mkdir(exist_ok=True)
    # Runs go where the operator's own go: `drrun report` shows this one afterwards.
    operator = Operator(lab.inventory, _state())
    outage = _recover(story, lab, operator, folder / "snapshot.db")
    if not keep:
        lab.down()
    print(f"\n{story.table(outage)}\n\n{story.proved} claims, all proved by reading.")
    print(f"The report: drrun report {operator.newest()}")
    if keep:
        print(f"The lab is still there: drrun lab status, drrun lab down --name {name}")
    return 0


def _recover(story: Story, lab: Lab, operator: Operator, snapshot: Path) -> float:
    """Write, back up, destroy, restore, prove. Returns the outage in seconds."""
    with story.phase(f"Write {BEFORE} objects through the API servers"):
        before = rehearsal.write_objects(lab, "before", BEFORE)
        story.claim(f"{BEFORE} are there", holds=rehearsal.read_objects(lab) == before)
    with story.phase("Back up"):
        _must(_say(operator, "etcd-backup.yaml", "-e", f"to={snapshot}", "--yes"), 0)
    with story.phase(f"Write {AFTER} more, which the backup cannot have"):
        after = rehearsal.write_objects(lab, "after", AFTER)
        both = rehearsal.read_objects(lab)
        story.claim(f"{BEFORE + AFTER} are there", holds=both == {**before, **after})
    with story.phase("Destroy: kill etcd, wipe two members, noise over the third"):
        rehearsal.destroy(lab)
        dead = lab.kubectl("get", "namespaces", "--request-timeout=5s").returncode != 0
        story.claim("the cluster is gone: nobody can read it", holds=dead)
    inputs = ["restore-cluster.yaml", "-e", f"snapshot={snapshot}", "-e", "accept_unreadable=cp3"]
    with story.phase("Ask what a restore would do"):
        _must(_say(operator, *inputs, "--dry-run"), 0)
    with Prober(lab) as prober:
        with story.phase("Restore"):
            _must(_say(operator, *inputs, "--yes"), 0)
        run = operator.newest()
        stopped = first_stop(operator.journal(run))
        until(
            lambda: prober.back(stopped), timeout=_GENTLE, awaiting="a write through the balancer"
        )
        back = prober.back(stopped)
    assert back is not None
    with story.phase("Prove"):
        _prove(story, lab, run, before)
    return (back - stopped).total_seconds()


def _prove(story: Story, lab: Lab, run: str, before: dict[str, str]) -> None:
    """Read through the API servers, etcd and the disks what drrun claims."""
    there = rehearsal.read_objects(lab)
    missing, extra = before.keys() - there.keys(), there.keys() - before.keys()
    story.claim(
        f"every one of the {BEFORE} objects of before the snapshot is there", holds=not missing
    )
    story.claim("their values are right, those of Secrets decrypted", holds=there == before)
    story.claim(f"none of the {AFTER} of after it is", holds=not extra, found=sorted(extra))
    found = rehearsal.members(lab)
    wrong = rehearsal.disagreement(found)
    story.claim(
        f"three members, one cluster {found[0].cluster:x}, one hash {found[0].hash} "
        f"at revision {found[0].revision}",
        holds=not wrong,
        found=wrong,
    )
    for old in rehearsal.kept(lab, run):
        story.claim(
            f"{old.host} keeps the old data: {old.path} {old.owner} {old.mode}",
            holds=(old.owner, old.mode) == ("etcd:etcd", "700"),
        )


def first_stop(events: list[Happened]) -> datetime:
    """When a run was about to stop the first thing. Raises LabError when it stopped nothing."""
    for event in events:
        if event.type == "change.intended" and str(event.body["unit"]).startswith("stop-"):
            return event.utc
    raise LabError("the run stopped nothing")


def _fresh(name: str) -> Lab:
    """The lab as it is right after its first boot."""
    used = name in Lab.names() and Lab.find(name).record.stage == "ready"
    lab = Lab.up(name, progress=Progress())
    if used:
        lab.reset()
    return lab


def _state() -> Path:
    from drrun.places import state_root

    return state_root().parent


def _say(operator: Operator, *words: str) -> CompletedProcess[str]:
    """Run drrun as its operator would, show the command and what it answered."""
    print(f"  $ drrun {' '.join(words)} -i {operator.inventory}", flush=True)
    done = operator.drrun(*words, "--no-input", "--quiet")
    shown = done.stdout if done.returncode == 0 else done.stdout + done.stderr
    print("".join(f"    {line}\n" for line in shown.splitlines()), end="", flush=True)
    return done


def _must(done: CompletedProcess[str], code: int) -> None:
    if done.returncode != code:
        print(done.stderr, file=sys.stderr)
        raise LabError(f"drrun ended with {done.returncode} and not {code}")
