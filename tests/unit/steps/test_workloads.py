"""Writers that run as pods: paused by name behind the closed port, and put back as they were (hazard H9)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.unit.steps.recorded_answers import said, snapshot

from drrun.spi import CONTROLLER, Command, Done, DoneChange, Json, NotKnown, Refused, StepFailed
from drrun.testing import FakeGroup, FakeHost
from drrun_steps.kube.holds import Holds, SnapshotWorkloads
from drrun_steps.kube.pausing import PauseWorkloads, ResumeWorkloads
from drrun_steps.kube.workloads import KubeWorkload, Maker, Workload
from drrun_steps.service.pause import Pause

GIT = "argocd/StatefulSet/argocd"
FACT = KubeWorkload(GIT)
RUNS = Workload((Maker("StatefulSet", "argocd", "2"),), ("argocd-0", "argocd-1"))
PAUSED = Workload((Maker("StatefulSet", "argocd", "0", "2"),))
ZERO = Workload((Maker("StatefulSet", "argocd", "0"),))


def host(found: object) -> FakeHost:
    """An API server that says this of the workload, and afterwards that it is idle."""
    return FakeHost("cp1", {FACT: found})


# -- names --------------------------------------------------------------------------------------


def test_a_workload_is_named_by_namespace_kind_and_name() -> None:
    """The kind in any spelling of the API's; each once; `none` is nobody, and an answer."""
    step = PauseWorkloads.model_validate(
        {"workloads": "a/deployment/x, a/Deployment/x,b/CRONJOB/y"}
    )
    assert step.workloads == ("a/Deployment/x", "b/CronJob/y")
    assert PauseWorkloads.model_validate({"workloads": "none"}).workloads == ()
    assert PauseWorkloads.model_validate({"workloads": ""}).workloads == ()


@pytest.mark.parametrize("word", ["x", "a/x", "a/Pod/x", "a/Deployment/x/y", "a/Deployment/$(id)"])
def test_what_names_no_workload_is_no_input(word: str) -> None:
    """A slip of the pen, told with what may be said; nothing that a shell could take for its own."""
    with pytest.raises(ValidationError, match="names no workload: say NAMESPACE/KIND/NAME"):
        PauseWorkloads.model_validate({"workloads": word})


# -- what the snapshot holds --------------------------------------------------------------------


def test_a_snapshot_says_which_workloads_the_restored_cluster_has() -> None:
    """The newest value of each key counts: one that was deleted is not there, one made again is."""
    fact = SnapshotWorkloads("s.db", ("argocd",))
    stored = [
        (b"/registry/statefulsets/argocd/argocd", b"x"),
        (b"/registry/deployments/argocd/server", b"x"),
        (b"/registry/deployments/argocd/gone", b"x"),
        (b"/registry/deployments/argocd/gone", b""),
        (b"/registry/cronjobs/argocd/back", b""),
        (b"/registry/cronjobs/argocd/back", b"x"),
        (b"/registry/deployments/other/server", b"x"),
        (b"/registry/pods/argocd/argocd-0", b"x"),
        (b"/registry/statefulsets", b"x"),
        (b"compact_rev_key", b"x"),
    ]
    there = ("argocd/CronJob/back", "argocd/Deployment/server", "argocd/StatefulSet/argocd")
    assert fact.among(stored) == there


def test_a_real_snapshot_is_looked_through(tmp_path: Path) -> None:
    """One that a real etcd saved, of a cluster without workloads."""
    path = tmp_path / "kube.db"
    path.write_bytes(snapshot("kube"))
    assert SnapshotWorkloads(str(path), ("kube-system",)).look() == ()


def test_a_workload_that_the_snapshot_does_not_hold_is_refused() -> None:
    """Before the first stop, whether an API server answers or not; with what the namespace has."""
    fact = SnapshotWorkloads("s.db", ("argocd",))
    asked = FakeHost(CONTROLLER, {fact: (GIT,)})
    Holds(path="s.db", workloads=(GIT,)).run(asked)
    slip = Holds(path="s.db", workloads=(GIT, "argocd/StatefulSet/argcd"))
    with pytest.raises(Refused, match=r"s\.db holds no argocd/StatefulSet/argcd") as refused:
        slip.run(asked)
    assert f"of argocd it holds {GIT}" in refused.value.hint
    with pytest.raises(Refused, match="on the controller"):
        slip.run(FakeHost("cp1"))


def test_where_nobody_is_named_nothing_is_asked() -> None:
    """The usual restore: no look at the file, no question to the API server, no change, no note."""
    for step in (Holds(path="s.db"), PauseWorkloads(), ResumeWorkloads()):
        quiet = FakeHost(CONTROLLER)
        step.run(quiet)
        assert (quiet.asked, quiet.changes, quiet.notes) == ([], [], [])


@pytest.mark.parametrize(
    ("services", "workloads", "note"),
    [
        ((), (), "nobody said who else writes"),
        ((), ("none",), "nobody said who else writes"),
        (("none",), (), "no other writers, as said"),
        ((), (GIT,), "no units are paused; those that were named run as pods"),
        (("none",), (GIT,), "no units are paused; those that were named run as pods"),
    ],
)
def test_who_named_workloads_has_said_who_writes(
    services: tuple[str, ...], workloads: tuple[str, ...], note: str
) -> None:
    """Nobody is told that he said nothing who did; who said nothing of units is."""
    group = FakeGroup([FakeHost("cp1")])
    assert Pause(services=services, workloads=workloads).run(group) == {"paused": {}}
    assert note in group.notes[0]


class Recording(FakeHost):
    """A dry-run, in which nobody knows whether a change will be made."""

    def change(self, name: str, command: Command, **how: Any) -> Any:
        """Keep under which condition."""
        del command
        self.conditional = [(name, how["only_if"][1].text)]


# -- paused, and put back -----------------------------------------------------------------------


def test_what_makes_pods_is_asked_for_none_and_its_pods_are_gone() -> None:
    """One change for each workload, whose proof is another reading; what was is its before-fact."""
    found = host(RUNS)
    PauseWorkloads(workloads=(GIT,)).run(found)
    assert found.change_names == [f"pause-{GIT}"]
    ((fact, must),) = found.changes[0].sets.items()
    assert fact == FACT
    assert [must.holds(one) for one in (RUNS, PAUSED, ZERO)] == [False, True, True]
    assert not must.holds(Workload(PAUSED.makers, ("argocd-0",)))


def test_what_makes_no_pods_is_left_alone() -> None:
    """One at zero before stays there at the end; one that is paused already is."""
    for found in (ZERO, PAUSED):
        asked = host(found)
        PauseWorkloads(workloads=(GIT,)).run(asked)
        assert asked.changes == []


def test_a_workload_that_is_not_there_is_told_and_the_restore_goes_on() -> None:
    """Behind the point of no return a cluster is not left down for a name."""
    asked = host(Workload())
    PauseWorkloads(workloads=(GIT,)).run(asked)
    assert asked.changes == []
    assert asked.notes == [f"the cluster has no {GIT}: nobody is paused there"]


def test_volumes_are_not_deleted_for_a_pause() -> None:
    """A StatefulSet that gives up its volumes at zero is told, and left alone."""
    asked = host(Workload(RUNS.makers, RUNS.pods, loses=True))
    PauseWorkloads(workloads=(GIT,)).run(asked)
    assert asked.changes == []
    assert "its volumes are deleted with its pods" in asked.notes[0]


def test_before_the_api_server_answers_a_change_is_promised_as_conditional() -> None:
    """A dry-run of a restore: whether it is there, and at which size, the run alone knows."""
    plan = Recording("cp1", {FACT: NotKnown("the restored cluster's")})
    PauseWorkloads(workloads=(GIT,)).run(plan)
    assert plan.notes == [f"what {GIT} asks for is seen when the API server answers"]
    assert plan.conditional == [(f"pause-{GIT}", "there, and not idle")]


def test_what_was_paused_is_put_back_and_nothing_else() -> None:
    """By the mark on the object: one that somebody else holds at zero stays there."""
    asked = host(PAUSED)
    ResumeWorkloads(workloads=(GIT,)).run(asked)
    assert asked.change_names == [f"resume-{GIT}"]
    ResumeWorkloads(workloads=(GIT,)).run(alone := host(ZERO))
    assert alone.changes == []


def test_undo_puts_back_what_the_step_paused() -> None:
    """And the undo of the last step pauses again, so that the undo of the first one finds it."""
    before: Json = {"makers": [{"kind": "StatefulSet", "name": "argocd", "size": "2"}]}
    done = Done((DoneChange(f"pause-{GIT}", "cp1", {FACT.key: before}),), {})
    undone = host(PAUSED)
    PauseWorkloads(workloads=(GIT,)).undo(undone, done)
    assert undone.change_names == [f"resume-{GIT}"]
    again = host(RUNS)
    back = Done((DoneChange(f"resume-{GIT}", "cp1", {}),), {})
    ResumeWorkloads(workloads=(GIT,)).undo(again, back)
    assert again.change_names == [f"pause-{GIT}"]
    PauseWorkloads(workloads=(GIT,)).undo(untouched := host(RUNS), Done((), {}))
    assert untouched.changes == []


# -- what is sent -------------------------------------------------------------------------------

ROWS = {
    "deployments.apps": "Deployment|web|d1|||2|\n",
    "replicasets.apps": "ReplicaSet|web-1|r1|d1||2|\nReplicaSet|web-0|r0|d1||0|\nReplicaSet|o|r9|d9||5|\n",
    "cronjobs.batch": "CronJob|save|c1|||false|\n",
    "jobs.batch": "Job|save-2|j2|c1||1|\nJob|save-1|j1|c1||1|ended\nJob|o|j9|||1|\n",
    "daemonsets.apps": "DaemonSet|ccm|s1|||on|\n",
    "statefulsets.apps": "StatefulSet|db|t1||2|0|\n",
    "pods": "Pod|a|p1|r1|||\nPod|b|p2|r1||going|\nPod|c|p3|r1|||ended\nPod|d|p4|r9|||\n"
    "Pod|e|p5|j2|||\nPod|f|p6|j1|||\nPod|g|p7||||\nPod|h|p8|s1|||\n",
}
"""What kubectl prints of each resource: `r9`, `d9` and `j9` are somebody else's."""
KUBECTL = """#!/bin/sh
printf '%s\\n' "$*" | sed 's/.* --request-timeout=10s //' >>"$0.log"
for word in "$@"; do
  case $word in patch | delete) exit ;; esac
  [ ! -e "$0.$word" ] || exec cat "$0.$word"
done
"""


@pytest.fixture(name="kubectl")
def _kubectl(tmp_path: Path) -> Path:
    """A cluster of a few rows, and a log of what it was asked."""
    path = tmp_path / "kubectl"
    path.write_text(KUBECTL)
    path.chmod(0o755)
    for resource, rows in ROWS.items():
        (tmp_path / f"kubectl.{resource}").write_text(rows)
    return path


def _run(shell: tuple[str, ...], kubectl: Path, command: Command) -> str:
    """What a real shell prints of it, with this kubectl first."""
    script = command.script().replace(b"PATH=/usr/local/sbin:", f"PATH={kubectl.parent}:".encode())
    done = subprocess.run(
        shell, input=script, capture_output=True, env={"PATH": os.environ["PATH"]}, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def _log(kubectl: Path) -> list[str]:
    """Each patch and delete that it was told, in order."""
    asked = Path(f"{kubectl}.log").read_text().splitlines()
    return [line for line in asked if line.startswith(("patch", "delete"))]


@pytest.mark.parametrize(
    ("workload", "makers", "pods"),
    [
        ("n/Deployment/web", ["web 2", "web-1 2", "web-0 0"], ("a",)),
        ("n/CronJob/save", ["save false", "save-2 1"], ("e",)),
        ("n/DaemonSet/ccm", ["ccm on"], ("h",)),
        ("n/StatefulSet/db", ["db 0"], ()),
    ],
)
def test_a_workload_is_read_with_all_that_makes_its_pods(
    shell: tuple[str, ...], kubectl: Path, workload: str, makers: list[str], pods: tuple[str, ...]
) -> None:
    """By owner references; what ended, what is being deleted and what is somebody else's is not its."""
    fact = KubeWorkload(workload)
    found = fact.parse(said(_run(shell, kubectl, fact.ask())))
    assert [f"{one.name} {one.size}" for one in found.makers] == makers
    assert found.pods == pods
    assert found.paused == (workload == "n/StatefulSet/db")


def test_one_that_is_not_there_is_nothing(shell: tuple[str, ...], kubectl: Path) -> None:
    """An empty answer; an API server that does not tell is an error."""
    Path(f"{kubectl}.deployments.apps").write_text("")
    fact = KubeWorkload("n/Deployment/web")
    assert fact.parse(said(_run(shell, kubectl, fact.ask()))) == Workload()
    with pytest.raises(StepFailed, match="does not tell of n/Deployment/web"):
        fact.parse(said("", code=3, err="connection refused"))


def _sent(workload: str, found: Workload, *, resume: bool = False) -> Command:
    """The command of the one change that a step makes."""
    fact = KubeWorkload(workload)
    asked = FakeHost("cp1", {fact: found})
    (ResumeWorkloads if resume else PauseWorkloads)(workloads=(workload,)).run(asked)
    return asked.changes[0].command


WAS = '{"metadata":{"labels":{"drrun-was":%s}},"spec":{%s}}'


@pytest.mark.parametrize(
    ("workload", "told"),
    [
        (
            "n/Deployment/web",
            [
                "patch deployments.apps web -n n --type=merge -p " + WAS % ('"2"', '"replicas":0'),
                'patch replicasets.apps web-1 -n n --type=merge -p {"metadata":{},"spec":{"replicas":0}}',
                "delete pods -n n --ignore-not-found --grace-period=0 --force --wait=false a",
            ],
        ),
        (
            "n/CronJob/save",
            [
                "patch cronjobs.batch save -n n --type=merge -p "
                + WAS % ('"false"', '"suspend":true'),
                "patch jobs.batch save-2 -n n --type=merge -p " + WAS % ('"1"', '"parallelism":0'),
                "delete pods -n n --ignore-not-found --grace-period=0 --force --wait=false e",
            ],
        ),
        (
            "n/DaemonSet/ccm",
            [
                "patch daemonsets.apps ccm -n n --type=merge -p "
                + WAS % ('"on"', '"template":{"spec":{"nodeSelector":{"drrun-paused":"yes"}}}'),
                "delete pods -n n --ignore-not-found --grace-period=0 --force --wait=false h",
            ],
        ),
    ],
)
def test_each_kind_is_asked_for_no_pods_in_its_own_words(
    shell: tuple[str, ...], kubectl: Path, workload: str, told: list[str]
) -> None:
    """Whoever makes pods first, the pods last; a ReplicaSet is given no mark of its own."""
    _run(shell, kubectl, _sent(workload, RUNS))
    assert _log(kubectl) == told


@pytest.mark.parametrize(
    ("resource", "row", "told"),
    [
        ("statefulsets.apps", "StatefulSet|db|t1||2|0|", '"replicas":2'),
        ("statefulsets.apps", "StatefulSet|db|t1||2|5|", '"replicas":5'),
        ("cronjobs.batch", "CronJob|db|t1||false|true|", '"suspend":false'),
        (
            "daemonsets.apps",
            "DaemonSet|db|t1||on|off|",
            '"template":{"spec":{"nodeSelector":{"drrun-paused":null}}}',
        ),
    ],
    ids=["at-zero", "asked-for-meanwhile", "suspended", "off"],
)
def test_what_was_is_put_back_and_the_mark_is_gone(
    shell: tuple[str, ...], kubectl: Path, resource: str, row: str, told: str
) -> None:
    """In one patch; where somebody asked for pods meanwhile, that stays."""
    Path(f"{kubectl}.{resource}").write_text(row + "\n")
    Path(f"{kubectl}.jobs.batch").write_text("")
    workload = f"n/{row.partition('|')[0]}/db"
    _run(shell, kubectl, _sent(workload, PAUSED, resume=True))
    assert _log(kubectl) == [f"patch {resource} db -n n --type=merge -p " + WAS % ("null", told)]
