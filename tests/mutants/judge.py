"""What becomes of a mutant: refused before anything runs, or run on real hosts and looked at.

Harm is what the cluster shows, never what drrun says. A run that ends as done must have left what
an unchanged restore leaves; one that stopped must come back by its undo, with nothing lost.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from tests.mutants.mutate import Mutant

from drrun.errors import AuthorError, LabError
from drrun.lang.load import load_runbook
from drrun.model.inventory import Inventory, Target
from drrun.plan.bind import Binding, bind_for_lint
from drrun.plan.compile import compile_plan
from drrun.plan.early import early_mistakes
from drrun.registry import Registry
from drrun.values import HostName, RunId
from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Operator
from drrun_lab.waiting import until

RULE, DEPENDENCY, LIVE, HARMLESS, HARM = "rule", "dependency", "live fact", "harmless", "HARM"
HOSTS = tuple(HostName(f"cp{n}") for n in (1, 2, 3))


@dataclass(frozen=True)
class Verdict:
    """How a mutant ended, and the reason in drrun's words or the cluster's."""

    by: str
    why: str


@cache
def _registry() -> Registry:
    return Registry()


def before_anything_runs(mutant: Mutant) -> Verdict | None:
    """The verdict of lint, on three hosts that have every role; None for one that it lets pass."""
    try:
        loaded = load_runbook(
            Path(f"{mutant.runbook}.yaml"),
            mutant.text,
            further=lambda root, source: early_mistakes(root, source, _registry()),
        )
        _, made_up = bind_for_lint(loaded)
        targets = {host: Target(name=host, address=host) for host in HOSTS}
        roles = dict.fromkeys(loaded.runbook.roles, HOSTS)
        inventory = Inventory(name="three hosts", path="", targets=targets, groups=roles)
        binding = Binding(roles, roles, made_up.inputs)
        compile_plan(loaded, inventory, binding, _registry(), run=RunId("lint"), versions={})
    except AuthorError as error:
        found = [d for d in error.diagnostics if getattr(d, "code", "") == "rule"]
        if found:
            return Verdict(RULE, f"{found[0].message}: {found[0].hint}")  # type: ignore[attr-defined]
        return Verdict(DEPENDENCY, error.message)
    return None


# -- on real hosts ----------------------------------------------------------------------------


@dataclass(frozen=True)
class World:
    """A lab in use: objects that the snapshot holds, others written since, clients that go on."""

    lab: Lab
    snapshot: Path
    before: Mapping[str, str]
    after: Mapping[str, str]
    instances: Mapping[str, str]
    cluster: int


def inhabited(lab: Lab, snapshot: Path) -> World:
    """A lab that was just reset, with objects in it; its snapshot is taken the first time."""
    before = rehearsal.write_objects(lab, "before", 10)
    if not snapshot.exists():
        done = Operator(lab.inventory, snapshot.parent / "backup").drrun(
            "etcd-backup.yaml", "-e", f"to={snapshot}", "--yes", "--no-input"
        )
        assert done.returncode == 0, done.stdout + done.stderr
    after = rehearsal.write_objects(lab, "after", 10)
    cluster = rehearsal.members(lab)[0].cluster
    return World(lab, snapshot, before, after, _instances(lab), cluster)


def on_hosts(mutant: Mutant, world: World, folder: Path) -> Verdict:
    """Run a mutant of restore-cluster, and look at what it left."""
    book = folder / f"{mutant.runbook}.yaml"
    book.write_text(mutant.text)
    operator = Operator(world.lab.inventory, folder / "state")
    words = ("-e", f"snapshot={world.snapshot}", "-e", "accept_loss=100", "--yes", "--no-input")
    ran = operator.drrun(str(book), *words, timeout=600)
    why = _told(ran.stdout + ran.stderr)
    if not operator.runs():
        return Verdict(LIVE, why)
    run = operator.newest()
    if ran.returncode == 0:
        harm = restored(world, run)
        return Verdict(HARM, harm) if harm else Verdict(HARMLESS, "ends as the unchanged one does")
    undone = operator.drrun("abort", run, "--undo", "--no-input", timeout=600)
    if undone.returncode != 8:
        return Verdict(HARM, f"stopped ({why}), and cannot be undone: {_told(undone.stderr)}")
    harm = as_before(world)
    return Verdict(HARM, f"after its undo: {harm}") if harm else Verdict(LIVE, why)


def _told(text: str) -> str:
    """The line that says why."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    marked = [line for line in lines if line.startswith(("✘", "error"))]
    return (marked or lines or ["nothing was said"])[-1][:300]


def restored(world: World, run: str) -> str:
    """What is missing of a restore; empty when nothing is."""
    lab, harm = world.lab, _data(world, world.before, restored=True)
    now = _instances(lab)
    lived = [name for name, instance in now.items() if instance == world.instances[name]]
    saved = rehearsal.each(lab, f"ls /var/backups/drrun/*-{run}.db 2>/dev/null || :", _names(lab))
    if harm:
        return harm
    if lived:
        return f"lived through the restore: {', '.join(lived)}"
    if len(rehearsal.kept(lab, run)) != len(lab.layout.members):
        return "the old data is not kept on every host"
    if not any(text.strip() for text in saved.values()):
        return "what was there before was not saved"
    return _settled(lab)


def as_before(world: World) -> str:
    """What an undo did not bring back; empty when all is as it was."""
    return _data(world, {**world.before, **world.after}, restored=False) or _settled(world.lab)


def _data(world: World, objects: Mapping[str, str], *, restored: bool) -> str:
    """Why the API does not give these objects, all members agreeing; empty when it does."""
    lab = world.lab
    try:
        until(lambda: _serves(lab), timeout=60, awaiting="the API to serve the objects")
    except LabError as error:
        return f"the API does not serve: {error}"
    if rehearsal.read_objects(lab) != objects:
        return "the objects are not those that must be there"
    members = rehearsal.members(lab)
    if (members[0].cluster != world.cluster) is not restored:
        return "the old cluster lives on" if restored else "it is another cluster"
    return rehearsal.disagreement(members)


def _serves(lab: Lab) -> bool:
    return lab.kubectl("get", "--raw", "/readyz").returncode == 0


def _settled(lab: Lab) -> str:
    """Every service runs on every host, none is held, and the controllers work."""
    down = [name for name, instance in _instances(lab).items() if not instance]
    if down:
        return f"not running: {', '.join(down)}"
    script = "ls -d /etc/systemd/system/*.d/00-drrun-hold.conf 2>/dev/null || :"
    held = [h for h, text in rehearsal.each(lab, script, _names(lab)).items() if text.strip()]
    if held:
        return f"held stopped on {', '.join(held)}"
    try:
        lab.wait_ready(timeout=60)
    except LabError as error:
        return f"the control plane does not work: {error}"
    return ""


def _names(lab: Lab) -> list[str]:
    return [host.name for host in lab.layout.members]


def _instances(lab: Lab) -> dict[str, str]:
    """`SERVICE@HOST` -> the id of its present life; empty when it does not run."""
    found = {}
    for service in rehearsal.SERVICES:
        script = (
            f"systemctl -q is-active {service} && systemctl show --value -p InvocationID {service}"
        )
        for host, text in rehearsal.each(lab, f"{script} || :", _names(lab)).items():
            found[f"{service}@{host}"] = text.strip()
    return found


# -- what was judged --------------------------------------------------------------------------

JUDGED = Path(__file__).with_name("judged.json")
"""Verdicts of real hosts, by the mutant's name: what the page is made of."""


def judged() -> dict[str, Verdict]:
    """The verdicts that were kept."""
    if not JUDGED.exists():
        return {}
    return {name: Verdict(**raw) for name, raw in json.loads(JUDGED.read_text()).items()}


def keep(name: str, verdict: Verdict) -> None:
    """Keep a verdict of real hosts."""
    known = {n: dataclasses.asdict(v) for n, v in judged().items()}
    known[name] = dataclasses.asdict(verdict)
    text = json.dumps(dict(sorted(known.items())), indent=1, ensure_ascii=False)
    JUDGED.write_text(text + "\n")
