"""restore-cluster on units of systemd: each change before the point of no return fails on its host, and is undone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.undo.scene import WRITER, At, Scene, differences

from drrun_lab.rehearsal import each

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

EACH = ("cp1", "cp2", "cp3")
BROKEN = (
    "mkdir -p /run/systemd/system/{0}.service.d; "
    "printf '[Service]\\n{1}\\n' >/run/systemd/system/{0}.service.d/f.conf; "
    "systemctl daemon-reload"
)
"""A unit whose next start fails for good; what runs of it runs on."""
DIES, NEVER_BEGINS = "ExecStart=\\nExecStart=/bin/false", "ExecStartPre=/bin/false"
MENDED = "rm -rf /run/systemd/system/{0}.service.d; systemctl daemon-reload"


def changes() -> Iterator[At]:
    """Every change of restore-cluster in front of its point of no return, on each host where it is made."""
    for host in EACH:
        for change in ("make-folder", "copy-snapshot", "restore"):
            yield At("stage", change, host)
    yield At("pause", f"hold-{WRITER}", "cp1", group=True)
    yield At("pause", f"stop-{WRITER}", "cp1", group=True)
    yield At("drain", "drain", "lb", group=True)
    for step in ("stop-apiservers", "stop-controller-managers", "stop-schedulers", "stop-etcd"):
        for change in ("hold", "stop"):
            for host in EACH:
                yield At(step, change, host)
    for host in EACH:
        yield At("install", "install", host)
    for change in ("lift", "start"):
        for host in EACH:
            yield At("start-etcd", change, host)
    yield At("close", "close", "cp1")


@pytest.mark.parametrize("at", list(changes()), ids=str)
def test_a_change_that_cannot_be_begun_is_undone_whole(scene: Scene, at: At) -> None:
    """Exit 1, then `abort --undo`: exit 8, and every service, hold, port, directory and file is as it was."""
    with scene.case() as before:
        run = scene.failed(at, scene.restore)
        code, told = scene.undone(run)
        assert (code, scene.bad_ends(run, undo=True)) == (8, []), told
        scene.back(before)


@pytest.mark.parametrize(
    ("service", "step", "how"),
    [
        ("kube-scheduler", "stop-schedulers", DIES),
        ("etcd", "stop-etcd", NEVER_BEGINS),
        ("kube-apiserver", "stop-apiservers", NEVER_BEGINS),
    ],
    ids=["scheduler", "etcd", "apiserver"],
)
def test_what_does_not_come_back_is_what_is_named(
    scene: Scene, service: str, step: str, how: str
) -> None:
    """A unit of cp2 starts no more: exit 9 names its undo alone, and that unit alone is not as it was.

    When it is mended the same undo ends with 8.
    """
    with scene.case() as before:
        each(scene.lab, BROKEN.format(service, how), ["cp2"])
        try:
            run = scene.failed(At("install", "install", "cp1"), scene.restore)
            code, told = scene.undone(run)
            assert (code, scene.bad_ends(run, undo=True)) == (9, [f"{step}@cp2"]), told
            after = scene.stands()
        finally:
            each(scene.lab, MENDED.format(service), ["cp2"])
        wrong = [line for line in differences(before, after) if not _follows(line, service)]
        assert wrong == []
        assert f"cp2: was: unit {service} active" in differences(before, after)
        code, told = scene.undone(run)
        assert code == 8, told
        scene.back(before)


def _follows(line: str, service: str) -> bool:
    """Whether a difference is what one dead service on cp2 looks like: its unit, process, port, and the balancer's word."""
    ports = {"etcd": ("2379", "2380"), "kube-apiserver": ("6443",), "kube-scheduler": ("10259",)}
    parts = [f" {service} ", *(f"port {port}" for port in ports[service]), "serves cp2", "f.conf"]
    # An API server without its own etcd asks another member; its controllers ask it.
    return line.startswith(("cp2: ", "lb: ")) and any(part in f"{line} " for part in parts)


def test_a_hold_that_cannot_be_written_is_undone_whole(scene: Scene) -> None:
    """A file is where a unit's drop-ins go, and stays there: the way back needs none of it."""
    place = "/etc/systemd/system/kube-scheduler.service.d"
    with scene.case() as before:
        each(scene.lab, f"[ ! -e {place} ] && touch {place}", ["cp3"])
        try:
            done = scene.drrun(*scene.restore)
            run = scene.operator.newest()
            assert (done.returncode, scene.bad_ends(run)) == (1, ["stop-schedulers@cp3"])
            code, told = scene.undone(run)
            assert code == 8, told
        finally:
            each(scene.lab, f"rm -f {place}; systemctl daemon-reload", ["cp3"])
        scene.back(before)


def test_a_stop_that_systemd_refuses_is_undone_whole(scene: Scene) -> None:
    """It was killed all the same, and is held: it runs again afterwards."""
    drop = "/run/systemd/system/kube-controller-manager.service.d"
    refuse = f"mkdir -p {drop}; printf '[Unit]\\nRefuseManualStop=yes\\n' >{drop}/f.conf; systemctl daemon-reload"
    with scene.case() as before:
        each(scene.lab, refuse, ["cp1"])
        try:
            done = scene.drrun(*scene.restore)
            run = scene.operator.newest()
            assert (done.returncode, scene.bad_ends(run)) == (1, ["stop-controller-managers@cp1"])
            code, told = scene.undone(run)
            assert code == 8, told
        finally:
            each(scene.lab, f"rm -rf {drop}; systemctl daemon-reload", ["cp1"])
        scene.back(before)


def test_members_that_do_not_start_on_the_new_data_are_undone_whole(scene: Scene) -> None:
    """Etcd's program is another one from the swap on, on one host; when it is back, so is everything."""
    with scene.case() as before:
        each(scene.lab, BROKEN.format("etcd", NEVER_BEGINS), ["cp3"])
        try:
            done = scene.drrun(*scene.restore)
            run = scene.operator.newest()
            assert (done.returncode, scene.bad_ends(run)) == (1, ["start-etcd@cp3"]), done.stdout
        finally:
            each(scene.lab, MENDED.format("etcd"), ["cp3"])
        code, told = scene.undone(run)
        assert code == 8, told
        scene.back(before)
