"""Each rule that a stock step type or a stock runbook carries: broken, it refuses with its reason.

At lint, at the dry-run and at the run alike: exit 3, before any host is asked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.mutants.mutate import Mutant, dumped, mutants

from drrun.app import App
from drrun.cli.main import run
from drrun.errors import AuthorError
from drrun.lang.diagnostics import Diagnostic
from drrun.lang.load import load_runbook
from drrun.model.inventory import Target
from drrun.model.rule import Alike, Alone, Duty, Rule
from drrun.places import stock_runbooks
from drrun.ports import Line, Prompt
from drrun.registry import Registry
from drrun.spi import Step
from drrun_steps.etcd.aside import Aside
from drrun_steps.etcd.gates import Consistent, Disarm, ProveDown
from drrun_steps.etcd.measure import Remeasure
from drrun_steps.etcd.member import Join, Remove
from drrun_steps.etcd.restore import Install, Prepare, Same
from drrun_steps.etcd.retention import Retain
from drrun_steps.etcd.save import Save
from drrun_steps.etcd.survivor import SurvivorSave
from drrun_steps.etcd.upgrade import Upgrade
from drrun_steps.etcd.upkeep import Defrag, Rolling
from drrun_steps.kube.holds import Holds
from drrun_steps.kube.install_keys import InstallKeys
from drrun_steps.kube.lay_pods import LayPods
from drrun_steps.kube.masterleases import PruneMasterLeases
from drrun_steps.kube.pausing import PauseWorkloads, ResumeWorkloads
from drrun_steps.kube.quarantine import Close, Open
from drrun_steps.kube.steps import KubeProveDown, LeaseMoves, ReadSecret, ReadyStep
from drrun_steps.kube.webhooks import RestoreWebhooks, Webhooks
from drrun_steps.lb.steps import Admit, Drain

BREAKERS = Path(__file__).parent / "breakers.json"
RESTORE = stock_runbooks() / "restore-cluster.yaml"
SNAPSHOTS = (
    '      digest: "{{ steps.verify.outputs.sha256 }}"\n      members',
    f'      digest: "{"0" * 64}"\n      members',
)
WORKLOADS = '    with: {workloads: "{{ inputs.workloads }}"}'
OF_ONE: dict[str, Any] = {"members": {}, "digest": "ab", "token": "t", "bump": 1}
CARRIERS: tuple[Step, ...] = (
    Install(**OF_ONE),
    Prepare(**OF_ONE, snapshot="s", initial_cluster="c"),
    Same(**OF_ONE),
    Save(),
    SurvivorSave(fetch_to="f"),
    Consistent(),
    Disarm(),
    ProveDown(),
    Remeasure(revision=1, bump=1, limit=1),
    KubeProveDown(),
    ReadyStep(),
    ReadSecret(),
    LeaseMoves(),
    PruneMasterLeases(),
    Remove(leaving="failed"),
    Remove(leaving="leaving", alive=True),
    Join(endpoints=(), initial_cluster="c"),
    Aside(),
    Rolling(),
    Upgrade(to="3.5.16", by="true"),
    Defrag(),
    InstallKeys(archive="a", fingerprints={}),
    LayPods(archive="a", pods={}),
    Retain(),
    Webhooks(),
    RestoreWebhooks(),
    Close(),
    Open(),
    Holds(path="s"),
    PauseWorkloads(),
    ResumeWorkloads(),
    Admit(),
    Drain(),
)
"""Every stock step type that carries rules, configured as a restore does."""


def test_every_step_type_that_carries_rules_is_looked_at() -> None:
    """A new one has to be put above."""
    carrying = {kind.uses for kind in _types() if kind.rules is not Step.rules}
    assert carrying == {step.uses for step in CARRIERS}


def _types() -> Iterator[type[Step]]:
    registry = Registry()
    for uses in registry.steps():
        yield registry._module(uses)[0][uses]


@cache
def reasons() -> dict[str, str]:
    """Why -> who says so: of each rule that stock step types and runbooks carry."""
    found = {d.because: step.uses for step in CARRIERS for d in step.rules()}
    for path in sorted(stock_runbooks().glob("*.yaml")):
        for rule in load_runbook(path).runbook.rules:
            found[rule.because] = path.stem
    return found


@cache
def broken() -> dict[str, Mutant]:
    """Why -> a mutant that is refused for it."""
    found: dict[str, Mutant] = {}
    left = dict(reasons())
    for mutant in _all_mutants():
        if not any(said in mutant.text for said in left.values()):
            continue  # nothing in it carries a rule that is still to be broken
        for diagnostic in refusals(mutant.text):
            for because in [b for b in left if b in diagnostic.hint]:
                found[because] = mutant
                del left[because]
        if not left:
            break
    return found


BESIDE = """
  - id: restart
    hosts: etcd
    uses: etcd.rolling_restart
    needs: [members]
"""
JOIN_FIRST = """
  - id: early
    hosts: new
    uses: etcd.member.join
    with: {endpoints: ["https://cp1:2379"], initial_cluster: cp1=https://cp1:2380}
    needs: []
"""
JOIN_LATE = """
  - id: late
    hosts: etcd
    uses: etcd.member.join
    with: {endpoints: ["https://cp1:2379"], initial_cluster: cp1=https://cp1:2380}
"""


def _by_hand() -> Iterator[Mutant]:
    """What no mutation of the order gives: another snapshot, steps that were not there."""
    text = RESTORE.read_text()
    assert SNAPSHOTS[0] in text
    yield Mutant("restore-cluster", "mix", ("stage",), text.replace(*SNAPSHOTS, 1))
    assert text.count(WORKLOADS) == 2
    other = text.replace(WORKLOADS, "    with: {workloads: a/Deployment/b}", 1)
    yield Mutant("restore-cluster", "mix", ("pause-workloads",), other)
    for runbook, more in (
        ("etcd-defrag", BESIDE),
        ("etcd-member-replace", JOIN_FIRST),
        ("etcd-shrink", JOIN_LATE),
    ):
        yield Mutant(runbook, "add", (), (stock_runbooks() / f"{runbook}.yaml").read_text() + more)
    yield Mutant("restore-cluster", "drop", ("admit-first", "admit"), _never_admitted())


def _never_admitted() -> str:
    """Both steps gone that let clients in; one of them alone would do for some of the rules."""
    book = yaml.load(RESTORE.read_text(), Loader=yaml.CBaseLoader)
    instead = {"admit-first": "webhooks", "admit": "all-ready"}
    left = [step for step in book["steps"] if step["id"] not in instead]
    book["steps"] = [
        {**s, "needs": [instead[s["needs"][0]]]} if s.get("needs", [""])[0] in instead else s
        for s in left
    ]
    return dumped(book)


def _all_mutants() -> Iterator[Mutant]:
    """Those first that broke a rule when they were last looked for, then all others, swaps last.

    The list only saves the search, and proves nothing: each is broken here, and what none of them breaks is
    searched for among all. `python -m tests.mutants.test_rules_refuse` writes it anew.
    """
    yield from _by_hand()
    known = set(json.loads(BREAKERS.read_text()))
    made = [m for path in sorted(stock_runbooks().glob("*.yaml")) for m in mutants(path)]
    yield from sorted(made, key=lambda m: (m.name not in known, m.kind == "swap"))


@cache
def _app() -> App:
    return App(Nobody(), registry=Registry())


def refusals(text: str) -> list[Diagnostic]:
    """What rules say of a runbook, on any inventory."""
    try:
        _app().lint(load_runbook(Path("mutant.yaml"), text))
    except AuthorError as error:
        return [d for d in error.diagnostics if isinstance(d, Diagnostic) and d.code == "rule"]
    return []


@dataclass
class Nobody:
    """`drrun.ports.Prompt` without a person."""

    present: bool = False
    who: str = "nobody"

    def ask(self, question: object) -> str:
        """Never asked."""
        raise AssertionError(question)


@dataclass
class Nowhere:
    """`drrun.ports.Transport` that nobody may use."""

    asked: list[str] = field(default_factory=list)

    def connect(self, target: Target) -> Line:
        """Nobody connects before the rules are proved."""
        raise AssertionError(target.name)

    def fingerprint(self, target: Target) -> str:
        """Not asked either."""
        raise AssertionError(target.name)

    def sign_of_life(self, target: Target, *, timeout: float) -> str:
        """Nor looked for."""
        raise AssertionError(target.name, timeout)

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture(name="folder")
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An inventory of three hosts, a snapshot, and runs kept nowhere else."""
    hosts = "cp1, cp2, cp3"
    (tmp_path / "inventory.yaml").write_text(
        "drrun_inventory: 1\nname: three\nhosts:\n  cp[1-3]:\n  sp[1-2]:\n"
        f"groups:\n  etcd: [{hosts}]\n  control_plane: [{hosts}]\n"
        "  failed: [cp3]\n  leaving: [cp3]\n  new: [sp1]\n  spare: [sp1, sp2]\n"
        "  bad: [cp2]\n  back: [cp2]\n  load_balancer: [sp2]\n  workers: [sp1]\n  seed: [cp1]\n  drill: [sp1]\n"
    )
    (tmp_path / "snapshot.db").write_bytes(b"a snapshot")
    monkeypatch.setenv("DRRUN_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("because", reasons())
def test_a_broken_rule_is_refused_at_lint_dry_run_and_run(
    folder: Path, capsys: pytest.CaptureFixture[str], because: str
) -> None:
    """Exit 3 with the rule's reason each time; no host is asked, no run is made."""
    mutant = broken().get(because)
    assert mutant is not None, f"nothing breaks this rule of {reasons()[because]}"
    (folder / "mutant.yaml").write_text(mutant.text)
    snapshot = ("-e", f"snapshot={folder / 'snapshot.db'}")
    given = {
        "restore-cluster": snapshot,
        "restore-cluster-seed": snapshot,
        "backup-drill": snapshot,
        "control-plane-join": ("-e", f"keys={folder / 'snapshot.db'}"),
        "rebuild-control-plane": (*snapshot, "-e", f"keys={folder / 'snapshot.db'}"),
        "etcd-grow": ("-e", "role.new=spare"),
        "etcd-upgrade": ("-e", "to=3.5.30", "-e", "by=true"),
    }.get(mutant.runbook, ())
    words = ("mutant.yaml", "-i", "inventory.yaml", *given)

    def make(prompt: Prompt) -> App:
        return App(prompt, registry=Registry(), transport=Nowhere())

    for line in (("lint", "mutant.yaml"), (*words, "--dry-run"), (*words, "--yes", "--no-input")):
        capsys.readouterr()
        code = run(line, make)
        said = capsys.readouterr()
        assert code == 3, (line, said)
        assert because in said.out + said.err
    assert not (folder / "state").exists()


def test_stock_step_types_carry_every_kind_of_demand() -> None:
    """What follows, what is alike and what is alone: each is proved above on a stock type."""
    kinds = {type(demand) for step in CARRIERS for demand in step.rules()}
    assert kinds == {Rule, Duty, Alike, Alone}


if __name__ == "__main__":
    names = sorted({mutant.name for mutant in broken().values()})
    BREAKERS.write_text(json.dumps(names, indent=1) + "\n")
