"""Who stands around a cluster that is restored: those who write into it, and its workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from drrun_lab import Lab, rehearsal
from drrun_lab.operator import Operator
from drrun_lab.waiting import until

from . import writers
from .conftest import Matrix
from .states import MEMBERS

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]
SPARES = ["sp1", "sp2"]


def unit(name: str, command: str) -> str:
    """A script that makes a unit and starts it."""
    return (
        f"printf '[Service]\\nExecStart=/bin/sh -c \"{command}\"\\n' >/etc/systemd/system/{name}.service\n"
        f"systemctl daemon-reload; systemctl start {name}"
    )


PUPPET = unit("puppet", "while :; do systemctl start kube-apiserver; sleep 1; done")
"""Configuration management: what it knows is started again, every second."""
AGENT = unit("puppet", "exec sleep 86400")
"""The same name elsewhere, doing something else."""
KUBELET = unit("kubelet", "exec sleep 86400")
INSTANCE = "systemctl show -p InvocationID --value kubelet"

RUNNING = (
    "cat /proc/[0-9]*/cgroup 2>/dev/null | "
    "grep -oE 'pod[0-9a-f]{8}([-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}' | tr _ - | cut -c4- | sort -u"
)
"""The UIDs of pods of which a process runs on a host; a static pod's is another kind."""


@pytest.fixture(name="saved")
def _saved(fresh: Lab, operator: Operator, tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A snapshot, and the objects in it; later ones are in the cluster alone."""
    return saved_and_later(fresh, operator, tmp_path / "snapshot.db", 10)


def saved_and_later(
    lab: Lab, operator: Operator, path: Path, count: int
) -> tuple[Path, dict[str, str]]:
    """Write objects, save a snapshot, write ten more; the snapshot and what is in it."""
    before = rehearsal.write_objects(lab, "before", count)
    done = operator.drrun("etcd-backup.yaml", "-e", f"to={path}", "--yes", "--no-input")
    assert done.returncode == 0, done.stdout + done.stderr
    rehearsal.write_objects(lab, "after", 10)
    return path, before


def words(snapshot: Path) -> tuple[str, ...]:
    """The restore of a cluster that lives, its loss accepted."""
    return ("restore-cluster.yaml", "-e", f"snapshot={snapshot}", "-e", "accept_loss=1000")


def test_a_real_api_server_that_nobody_listed_is_refused_before_any_stop(
    fresh: Lab, operator: Operator, matrix: Matrix, saved: tuple[Path, dict[str, str]]
) -> None:
    """H3: it serves on a spare, of which the inventory's control plane knows nothing."""
    path, _ = saved
    address = fresh.layout.host("sp1").address
    rehearsal.each(fresh, "systemctl start kube-apiserver", ["sp1"])
    announced = f"{rehearsal.ETCDCTL} get /registry/masterleases/{address} --keys-only"
    until(
        lambda: address in fresh.ssh("cp1", announced).stdout,
        timeout=120,
        awaiting="the fourth API server to announce itself",
    )
    with matrix.cell("a fourth API server that nobody listed", fresh) as remarks:
        refused = operator.drrun(*words(path), "--yes", "--no-input")
        told = refused.stdout + refused.stderr
        assert refused.returncode == 5, told
        assert f"{address} is announced as an API server" in told
        assert f"{address} is connected to etcd on cp1" in told
        assert f"accept_servers={address}" in told
        journal = operator.journal(operator.newest())
        assert not [e for e in journal if e.type == "change.intended"]
        remarks.append("announced and connected: refused by its address, nothing was stopped")


def test_writers_wait_until_all_is_clear(
    fresh: Lab, operator: Operator, matrix: Matrix, saved: tuple[Path, dict[str, str]]
) -> None:
    """H9: one on a member starts API servers again and again, another is on a host beside them."""
    path, before = saved
    rehearsal.each(fresh, PUPPET, ["cp2"])
    rehearsal.each(fresh, AGENT, ["sp1"])
    with matrix.cell("writers paused by name, resumed at all-clear", fresh) as remarks:
        unsaid = operator.drrun(*words(path), "--dry-run")
        assert unsaid.returncode == 0, unsaid.stdout + unsaid.stderr
        assert "nobody said who else writes" in unsaid.stdout
        named = ("-e", "role.writers=spare", "-e", "writers=puppet")
        slip = operator.drrun(*words(path), "--dry-run", *named[:3], "writers=pupet")
        assert slip.returncode == 5, slip.stdout + slip.stderr
        assert "has pupet.service" in slip.stdout
        done = operator.drrun(*words(path), *named, "--yes", "--no-input", timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        assert rehearsal.read_objects(fresh) == before
        journal = operator.journal(operator.newest())
        sent = [
            (e.body["name"], e.body["host"])
            for e in journal
            if e.type == "change.intended" and e.body["unit"] in {"pause", "resume"}
        ]
        paused = [(f"{act}-puppet", h) for h in ("cp2", "sp1") for act in ("hold", "stop")]
        resumed = [(f"{act}-puppet", h) for h in ("cp2", "sp1") for act in ("lift", "start")]
        assert sent == [*paused, *resumed]
        units = [e.body["unit"] for e in journal if e.type == "change.intended"]
        first_stop = next(i for i, u in enumerate(units) if u.startswith("stop-"))
        assert units.index("pause") < first_stop
        assert units[-1] == "resume"
        active = rehearsal.each(fresh, "systemctl is-active puppet", ["cp2", "sp1"])
        assert {text.strip() for text in active.values()} == {"active"}
        remarks.append("one that starts the API server every second, and one on a host beside them")


def test_kubelets_of_workers_are_restarted_but_for_one_that_is_away(
    fresh: Lab, operator: Operator, matrix: Matrix, saved: tuple[Path, dict[str, str]]
) -> None:
    """H15: at 10 % of two nobody may be away, and nothing is begun; at 50 % one is left out and told."""
    path, before = saved
    rehearsal.each(fresh, KUBELET, SPARES)
    was = rehearsal.each(fresh, INSTANCE, SPARES)
    fresh.power_cut("sp2")
    workers = (*words(path), "-e", "role.workers=spare")
    try:
        with matrix.cell("kubelets of workers, one of two away", fresh) as remarks:
            refused = operator.drrun(*workers, "--yes", "--no-input")
            told = refused.stdout + refused.stderr
            assert (refused.returncode, operator.runs()) == (4, operator.runs()[:1]), told
            assert "sp2" in told
            share = ("-e", "unreached=50%")
            forecast = operator.drrun(*workers, *share, "--dry-run")
            assert forecast.returncode == 0, forecast.stdout + forecast.stderr
            assert "a run would leave it out" in forecast.stdout
            done = operator.drrun(*workers, *share, "--yes", "--no-input", timeout=600)
            assert done.returncode == 0, done.stdout + done.stderr
            assert "restart-workers was not done on sp2 (1 of 2)" in done.stdout
            assert rehearsal.read_objects(fresh) == before
            assert rehearsal.disagreement(rehearsal.members(fresh)) == ""
            assert fresh.ssh("sp1", INSTANCE).stdout != was["sp1"]
            remarks.append("refused at 10 % before any stop; at 50 % the other one was restarted")
    finally:
        fresh.power_on("sp2")
    held = rehearsal.each(
        fresh, "ls /etc/systemd/system/*.d/00-drrun-hold.conf 2>/dev/null || :", MEMBERS
    )
    assert not any(text.strip() for text in held.values())


def test_writers_in_pods_make_no_pod_until_all_is_clear(
    fresh: Lab, operator: Operator, matrix: Matrix, tmp_path: Path
) -> None:
    """H9: a Deployment, a StatefulSet and a CronJob with its Job are idle when the port opens."""
    paused_in_pods(fresh, operator, matrix, tmp_path)


def test_writers_in_pods_that_run_make_no_pod_until_all_is_clear(
    pods: Lab, operator: Operator, matrix: Matrix, tmp_path: Path
) -> None:
    """H9 where kubelets run them: the same, and what ran of them before has ended."""
    paused_in_pods(pods, operator, matrix, tmp_path)
    known = writers.uids(pods)
    running = rehearsal.each(pods, RUNNING, MEMBERS)
    strangers = {uid for said in running.values() for uid in said.split()} - known
    assert strangers == set()


def paused_in_pods(lab: Lab, operator: Operator, matrix: Matrix, folder: Path) -> None:
    """Restore a cluster with three workloads named; watch them on the first API server's own host."""
    path = folder / "snapshot.db"
    writers.begin(lab)
    saved = operator.drrun("etcd-backup.yaml", "-e", f"to={path}", "--yes", "--no-input")
    assert saved.returncode == 0, saved.stdout + saved.stderr
    later = ("scale", "deployment", "agent", "-n", writers.SPACE, "--replicas=5")
    assert lab.kubectl(*later).returncode == 0
    with matrix.cell("writers in pods, paused by name", lab) as remarks:
        slip = operator.drrun(*words(path), "-e", "workloads=writers/Deployment/agnt", "--dry-run")
        assert slip.returncode == 5, slip.stdout + slip.stderr
        assert "holds no writers/Deployment/agnt" in slip.stdout
        named = ("-e", f"workloads={writers.WORKLOADS}")
        forecast = operator.drrun(*words(path), *named, "--dry-run")
        assert forecast.returncode == 0, forecast.stdout + forecast.stderr
        assert "pause-workloads.pause-writers/Deployment/agent" in forecast.stdout
        with writers.watched(lab) as watch:
            done = operator.drrun(*words(path), *named, "--yes", "--no-input", timeout=600)
        assert done.returncode == 0, done.stdout + done.stderr
        _only_paused_between(watch.seen)
        _sent_in_order(operator)
        until(
            lambda: len([pod for pod in writers.now(lab).pods if "agent" in pod]) == 2,
            timeout=120,
            awaiting="the pods of the Deployment",
        )
        assert writers.now(lab).sizes == ["2", "1", "false"]
        marks = lab.kubectl("get", "all", "-n", writers.SPACE, "-o", "yaml").stdout
        assert "drrun-" not in marks
        remarks.append("no pod of three workloads from before the port opened to all-clear")


def _only_paused_between(seen: list[writers.Sight]) -> None:
    """From the first sight with an open port to the resume, nobody asks for a pod and none is there."""
    closed = [at for at, sight in enumerate(seen) if sight.closed]
    assert closed, "the port was never seen closed"
    behind = seen[closed[-1] + 1 :]
    resumed = next(at for at, sight in enumerate(behind) if sight.sizes != ["0", "0", "true"])
    assert resumed > 0
    assert [sight.rows for sight in behind[:resumed] if not sight.paused] == []
    assert all("Deployment/other" in sight.rows for sight in behind)
    assert {sight.rows["Deployment/other"] for sight in behind} == {"1"}


def _sent_in_order(operator: Operator) -> None:
    """What was is in the journal before it is touched, and each is resumed behind the last proof."""
    sent = [
        (e.body["unit"].partition("@")[0], e.body["name"], e.body["before"])
        for e in operator.journal(operator.newest())
        if e.type == "change.intended"
    ]
    steps = [step for step, _, _ in sent]
    assert steps.count("pause-workloads") == steps.count("resume-workloads") == 3
    assert steps.index("start-first-apiserver") < steps.index("pause-workloads")
    last = len(steps) - 1 - steps[::-1].index("pause-workloads")
    assert last < steps.index("open") < steps.index("start-controller-managers")
    assert steps.index("start-schedulers") < steps.index("resume-workloads")
    (before,) = next(was for step, _, was in sent if step == "pause-workloads").values()
    assert before["makers"][0]["size"] == "2"
    assert len(before["pods"]) == 2
