"""Mutants on real hosts: a cluster in use, a run, and what the cluster shows afterwards.

Harm is what the cluster shows, never what drrun says. A run that ends as done must have left what
the unchanged runbook leaves; one that stopped must leave a cluster that serves all that it held,
by its undo where that is the way back.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.mutants.judge import HARM, HARMLESS, LIVE, Verdict
from tests.mutants.mutate import Mutant
from tests.recoveries.states import dies_for_good, dies_with_its_data, diverges

from drrun.errors import LabError
from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Operator
from drrun_lab.waiting import until

ETCD = [f"cp{n}" for n in (1, 2, 3)]
SPARES = ["sp1", "sp2"]


@dataclass(frozen=True)
class World:
    """A lab in use: objects that the snapshot holds, others written since, every service's life."""

    lab: Lab
    snapshot: Path
    before: Mapping[str, str]
    after: Mapping[str, str]
    instances: Mapping[str, str]
    cluster: int

    @property
    def objects(self) -> dict[str, str]:
        """All that was written."""
        return {**self.before, **self.after}


@dataclass(frozen=True)
class Scenario:
    """What a runbook is for: how it is run, and how the cluster must be afterwards."""

    words: tuple[str, ...]
    done: Callable[[World, str], str]
    """What is missing after a run that ended as done; empty when nothing is."""
    stage: Callable[[Lab, Operator], None] = lambda _lab, _operator: None
    """What happened to the cluster before."""
    undo: bool = False
    """Whether a run that stopped is undone."""
    again: bool = False
    """Whether what a run that stopped left is proved by the unchanged runbook, run after it: where
    what was there before serves nothing, it must still be possible to recover from it."""


def inhabited(lab: Lab, snapshot: Path) -> World:
    """A lab that was just reset, with objects in it; its snapshot is taken the first time."""
    before = rehearsal.write_objects(lab, "before", 10)
    if not snapshot.exists():
        operator = Operator(lab.inventory, snapshot.parent / "backup")
        _must(operator, "etcd-backup.yaml", "-e", f"to={snapshot}")
    after = rehearsal.write_objects(lab, "after", 10)
    return World(lab, snapshot, before, after, _lives(lab), rehearsal.members(lab)[0].cluster)


def judge(mutant: Mutant, world: World, folder: Path) -> Verdict:
    """Run a mutant, and look at what it left."""
    scenario = SCENARIOS[mutant.runbook]
    operator = Operator(world.lab.inventory, folder / "state")
    scenario.stage(world.lab, Operator(world.lab.inventory, folder / "staging"))
    book = folder / f"{mutant.runbook}.yaml"
    book.write_text(mutant.text)
    words = [word.format(snapshot=world.snapshot, folder=folder) for word in scenario.words]
    words += ["--yes", "--no-input"]
    ran = operator.drrun(str(book), *words, timeout=600)
    why = _told(ran.stdout + ran.stderr)
    if ran.returncode == 0:
        harm = scenario.done(world, operator.newest())
        return Verdict(HARM, harm) if harm else Verdict(HARMLESS, "ends as the unchanged one does")
    if scenario.undo and operator.runs():
        undone = operator.drrun("abort", operator.newest(), "--undo", "--no-input", timeout=600)
        if undone.returncode != 8:
            told = _told(undone.stdout + undone.stderr)
            return Verdict(HARM, f"stopped ({why}), and cannot be undone: {told}")
    if scenario.again:
        unchanged = operator.drrun(f"{mutant.runbook}.yaml", *words, timeout=600)
        if unchanged.returncode != 0:
            told = _told(unchanged.stdout + unchanged.stderr)
            return Verdict(HARM, f"stopped ({why}), and nothing helps any more: {told}")
        harm = scenario.done(world, operator.newest())
    else:
        harm = _as_before(world) if scenario.undo else _whole(world)
    return Verdict(HARM, f"stopped ({why}): {harm}") if harm else Verdict(LIVE, why)


def _must(operator: Operator, *words: str) -> None:
    done = operator.drrun(*words, "--yes", "--no-input", timeout=600)
    if done.returncode != 0:
        raise LabError(f"{words[0]} failed: {done.stdout}{done.stderr}")


def _told(text: str) -> str:
    """The line that says why."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    marked = [line for line in lines if line.startswith(("✘", "error", "drrun:"))]
    return (marked or lines or ["nothing was said"])[-1].removeprefix("✘ ")[:300]


# -- what a cluster shows -----------------------------------------------------------------------


def _restored(world: World, run: str) -> str:
    """A restore: the snapshot's objects in a new cluster, nothing lived through, all of it kept."""
    lab = world.lab
    if harm := _data(world, world.before, restored=True) or _lived_through(world):
        return harm
    if len(rehearsal.kept(lab, run)) != len(ETCD):
        return "the old data is not kept on every host"
    saved = rehearsal.each(lab, f"ls /var/backups/drrun/*-{run}.db 2>/dev/null || :", ETCD)
    if not any(text.strip() for text in saved.values()):
        return "what was there before was not saved"
    return _settled(lab)


def _rescued(world: World, _run: str) -> str:
    """A rescue: every object there was in a new cluster, nothing lived through, what was there saved."""
    harm = _data(world, world.objects, restored=True) or _lived_through(world)
    return harm or _backed_up(world.lab, ("cp1",)) or _settled(world.lab)


def _restarted(world: World, _run: str) -> str:
    """Everything of Kubernetes is another instance; etcd is what it was, and serves all."""
    etcd = {name: life for name, life in world.instances.items() if name.startswith("etcd@")}
    if harm := _as_before(world) or _lived_through(world, but=tuple(etcd)):
        return harm
    now = _lives(world.lab)
    return "" if all(now[name] == life for name, life in etcd.items()) else "etcd was restarted"


def _drilled(world: World, run: str) -> str:
    """A drill: the cluster did not notice, and nothing of it is left."""
    look = "ls -d /var/lib/drrun-*/* 2>/dev/null || :"
    left = [text for text in rehearsal.each(world.lab, look, ["sp1"]).values() if text.strip()]
    if left or _lives(world.lab) != dict(world.instances):
        return f"the drill left {left}, or a service was restarted"
    return _maintained(world, run)


def _lived_through(world: World, but: tuple[str, ...] = ()) -> str:
    """Services that are the same instance as before; empty when none is."""
    now = _lives(world.lab)
    lived = [name for name, life in now.items() if life == world.instances[name]]
    lived = [name for name in lived if name not in but]
    return f"lived through it: {', '.join(lived)}" if lived else ""


def _as_before(world: World) -> str:
    """After an undo: the same cluster with all its objects."""
    return _data(world, world.objects, restored=False) or _settled(world.lab)


def _whole(world: World, *, etcd: bool = True) -> str:
    """A cluster that serves everything that was written."""
    try:
        until(lambda: _serves(world.lab), timeout=60, awaiting="the API to serve")
    except LabError as error:
        return f"the API does not serve: {error}"
    if rehearsal.read_objects(world.lab) != world.objects:
        return "the objects are not those that were written"
    return "" if etcd else _settled(world.lab)


def _members_are(*names: str) -> Callable[[World, str], str]:
    """A change of members: exactly these, all voters, and every API server knows them."""

    def look(world: World, _run: str) -> str:
        lab = world.lab
        if harm := _whole(world):
            return harm
        told = json.loads(lab.ssh("cp1", f"{rehearsal.ETCDCTL} member list -w json").stdout)
        found = {m.get("name", ""): m.get("isLearner", False) for m in told["members"]}
        if set(found) != set(names) or any(found.values()):
            return f"the members are {found}"
        script = "systemctl show -p ExecStart --value kube-apiserver | grep -o 'etcd-servers=[^ ]*'"
        for host, text in rehearsal.each(lab, script, ETCD).items():
            knows = set(text.strip().partition("=")[2].split(","))
            if knows != {f"https://{lab.layout.host(name).address}:2379" for name in names}:
                return f"the API server of {host} knows {sorted(knows)}"
        return _backed_up(lab, names)

    return look


def _backed_up(lab: Lab, names: tuple[str, ...]) -> str:
    saved = rehearsal.each(lab, "ls /var/backups/drrun/*.db 2>/dev/null || :", [*ETCD, *names])
    return "" if any(text.strip() for text in saved.values()) else "nothing was saved before"


def _maintained(world: World, _run: str) -> str:
    """Upkeep: the same members with the same data, working."""
    return _whole(world, etcd=False) or rehearsal.disagreement(rehearsal.members(world.lab))


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
    down = [name for name, life in _lives(lab).items() if not life]
    if down:
        return f"not running: {', '.join(down)}"
    script = "ls -d /etc/systemd/system/*.d/00-drrun-hold.conf 2>/dev/null || :"
    held = [host for host, text in rehearsal.each(lab, script, ETCD).items() if text.strip()]
    if held:
        return f"held stopped on {', '.join(held)}"
    try:
        lab.wait_ready(timeout=60)
    except LabError as error:
        return f"the control plane does not work: {error}"
    return ""


def _lives(lab: Lab) -> dict[str, str]:
    """`SERVICE@HOST` -> the id of its present life; empty when it does not run."""
    found = {}
    for service in rehearsal.SERVICES:
        script = f"systemctl -q is-active {service} && systemctl show --value -p InvocationID {service} || :"
        for host, text in rehearsal.each(lab, script, ETCD).items():
            found[f"{service}@{host}"] = text.strip()
    return found


# -- what happened before -----------------------------------------------------------------------


def _one_dies(lab: Lab, _operator: Operator) -> None:
    """cp2's etcd is killed and its data wiped."""
    dies_with_its_data(lab, "cp2")


def _five(_lab: Lab, operator: Operator) -> None:
    """The spares are members as well."""
    _must(operator, "etcd-grow.yaml", "-e", "role.new=spare")


SCENARIOS: Mapping[str, Scenario] = {
    "restore-cluster": Scenario(
        ("-e", "snapshot={snapshot}", "-e", "accept_loss=100"), _restored, undo=True
    ),
    "restore-cluster-seed": Scenario(
        ("-e", "snapshot={snapshot}", "-e", "accept_loss=100", "-e", "role.seed=cp1"),
        _restored,
        undo=True,
    ),
    "etcd-quorum-rescue": Scenario(
        ("-e", "to={folder}/survivor.db"),
        _rescued,
        lambda lab, _operator: dies_for_good(lab),
        undo=True,
        again=True,
    ),
    "etcd-corrupt-member": Scenario(
        ("-e", "role.bad=cp2"),
        _members_are(*ETCD),
        lambda lab, _operator: diverges(lab, "cp2"),
    ),
    "control-plane-restart": Scenario((), _restarted),
    "backup-drill": Scenario(("-e", "snapshot={snapshot}", "-e", "role.drill=sp1"), _drilled),
    "etcd-grow": Scenario(("-e", "role.new=spare"), _members_are(*ETCD, *SPARES)),
    "etcd-shrink": Scenario(
        ("-e", "role.etcd=etcd | spare", "-e", "role.leaving=spare"), _members_are(*ETCD), _five
    ),
    "etcd-member-replace": Scenario(
        ("-e", "role.failed=cp2", "-e", "role.new=sp1"),
        _members_are("cp1", "cp3", "sp1"),
        _one_dies,
    ),
    "etcd-nospace": Scenario((), _maintained),
    "etcd-defrag": Scenario((), _maintained),
    "etcd-rolling": Scenario((), _maintained),
}
"""Runbook -> its scenario. Those that only read or save need none: all their mutants are refused."""
