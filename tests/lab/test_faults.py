"""Each fault is done to a real restore where it hurts; each ends as the failure matrix says.

What is seen is written to docs/reference/faults.md when all of them ran (`make test-faults`).
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drrun_lab import Lab, rehearsal
from drrun_lab.disk import SmallDisk, small_disk
from drrun_lab.operator import Happened, Operator
from drrun_lab.waiting import until

from . import restoring
from .faults import FAULTS, PAGE, Seen, page, said
from .restoring import Effects, Screen

pytestmark = [pytest.mark.lab, pytest.mark.faults, pytest.mark.timeout(900)]

HOST = "cp2"
STOPPING = ("stop-apiservers", "stop", HOST)
WAY = (" host.silent ", " host.heard ", " change.lost ", " change.resolved ")
"""What the screen says of a fault that a run gets over by itself."""
WRONG = ("✘ ", "drrun: ", "  hint ", "  next")
"""What it says of one that ended the run, or a command."""


@dataclass
class Witness:
    """What was seen of each fault, for the page."""

    seen: dict[str, Seen] = field(default_factory=dict)

    def saw(
        self,
        name: str,
        words: str,
        ends: Sequence[tuple[str, int]],
        *,
        began: float,
        reads: Sequence[str],
    ) -> None:
        """Keep what a fault led to, and print it."""
        assert reads, "the operator reads nothing of it"
        seconds = time.monotonic() - began
        self.seen[name] = Seen(ends, words, seconds, reads)
        codes = ", ".join(f"{command} {code}" for command, code in ends)
        print(f"\n{name}: {words}; {codes}; {seconds:.0f} s")
        print("\n".join(f"    {line}" for line in reads))


@pytest.fixture(scope="module")
def witness() -> Iterator[Witness]:
    """Writes the page at the end, when every fault was seen."""
    one = Witness()
    yield one
    if set(one.seen) == {fault.name for fault in FAULTS}:
        PAGE.write_text(page(one.seen), encoding="utf-8")


@dataclass(frozen=True)
class Held:
    """A snapshot, and the objects in it."""

    path: Path
    objects: Mapping[str, str]


@pytest.fixture(scope="module")
def held(booted: Lab, tmp_path_factory: pytest.TempPathFactory) -> Held:
    """One snapshot for all faults: every reset leads back to before it was taken."""
    booted.reset()
    folder = tmp_path_factory.mktemp("held")
    objects = rehearsal.write_objects(booted, "before", 10)
    done = Operator(booted.inventory, folder / "state").drrun(
        "etcd-backup.yaml", "-e", f"to={folder / 'snapshot.db'}", "--yes", "--no-input"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Held(folder / "snapshot.db", objects)


@dataclass(frozen=True)
class Scene:
    """A cluster with objects that the snapshot has not, and somebody who restores it."""

    lab: Lab
    operator: Operator
    held: Held

    screens: list[Screen] = field(default_factory=list)

    def screen(
        self, *words: str, operator: Operator | None = None, cwd: Path | None = None
    ) -> Screen:
        """Start drrun; it does not outlive the test."""
        self.screens.append(Screen.of(operator or self.operator, *words, cwd=cwd))
        return self.screens[-1]

    def begin(self, operator: Operator | None = None) -> Screen:
        """Start the restore."""
        return self.screen(*restoring.words(self.held.path), operator=operator)

    def midst(self, screen: Screen, operator: Operator | None = None) -> str:
        """The run, in the midst of the stop of cp2's API server."""
        return restoring.in_the_midst(self.lab, operator or self.operator, screen, STOPPING)

    def stopping(self, run: str) -> bool:
        """Whether that command still runs on cp2."""
        return any(
            restoring.runs(self.lab, HOST, run, event.body["token"])
            for event in self.operator.journal(run)
            if event.type == "change.intended" and event.body["unit"] == f"{STOPPING[0]}@{HOST}"
        )

    def resume(self, run: str, operator: Operator | None = None) -> Screen:
        """Resume the run to its end, which must be good."""
        screen = self.screen("resume", run, "--no-input", operator=operator)
        assert screen.end() == 0, screen.told
        return screen

    def proved(self, run: str, journal: Sequence[Happened] = ()) -> Effects:
        """All is as after a restore that nothing happened to."""
        restoring.restored(self.lab, run, self.held.objects)
        return restoring.once(self.lab, run, journal or self.operator.journal(run))


@pytest.fixture
def scene(held: Held, fresh: Lab, operator: Operator) -> Iterator[Scene]:
    """After a reset: other objects than the snapshot's."""
    rehearsal.write_objects(fresh, "after", 20)
    one = Scene(fresh, operator, held)
    yield one
    for screen in one.screens:
        screen.kill()


def counted(effects: Effects) -> str:
    """The effects in words."""
    bad = [
        f"{number} {word}"
        for number, word in ((effects.lost, "lost and made again"), (effects.failed, "failed"))
        if number
    ]
    return f"{effects.changes} changes, none twice" + (f" ({', '.join(bad)})" if bad else "")


def last(seconds: float) -> None:
    """A fault takes its time."""
    end = time.monotonic() + seconds
    until(lambda: time.monotonic() >= end, timeout=seconds + 5, awaiting="the fault to be over")


# -- what a run gets over by itself -------------------------------------------------------------


def ssh_cut(scene: Scene, run: str) -> None:
    """Both ways, silently, for half a minute."""
    scene.lab.cut(HOST)
    try:
        assert scene.stopping(run), "the cut came too late to be in the midst"
        last(30)
    finally:
        scene.lab.mend(HOST)


def sshd_killed(scene: Scene, run: str) -> None:
    """Listener and sessions; systemd starts the listener again."""
    cgroup = scene.lab.machine(HOST).cgroup
    before = cgroup.running("sshd")
    cgroup.signal(signal.SIGKILL, "sshd")
    assert scene.stopping(run), "sshd died too late to be in the midst"
    assert len(before) > 1
    until(
        lambda: set(cgroup.running("sshd")) - set(before),
        timeout=30,
        awaiting="systemd to start sshd again",
    )


def peer_frozen(scene: Scene, run: str) -> None:
    """The connection stands, and nobody speaks, for longer than any answer may take."""
    with scene.lab.machine(HOST).cgroup.stopped("sshd"):
        assert scene.stopping(run), "sshd was frozen too late to be in the midst"
        last(35)


def power_lost(scene: Scene, run: str) -> None:
    """Everything on the host ends at once; it boots again."""
    assert scene.stopping(run)
    scene.lab.power_cut(HOST)
    last(5)
    scene.lab.power_on(HOST)


RIDDEN_OUT: Mapping[str, Callable[[Scene, str], None]] = {
    "ssh-cut": ssh_cut,
    "sshd-killed": sshd_killed,
    "peer-frozen": peer_frozen,
    "host-power-lost": power_lost,
}


@pytest.mark.parametrize("name", RIDDEN_OUT)
def test_a_restore_gets_over_it_by_itself(scene: Scene, witness: Witness, name: str) -> None:
    """Done to a host in the midst of a stop: the run goes on to its good end, nobody has to act."""
    before = rehearsal.processes(scene.lab)
    screen = scene.begin()
    run = scene.midst(screen)
    RIDDEN_OUT[name](scene, run)
    assert screen.end() == 0, screen.told
    effects = scene.proved(run)
    rebooted = _boots(before) != _boots(rehearsal.processes(scene.lab))
    assert rebooted is (name == "host-power-lost")
    assert bool(effects.lost) is rebooted, screen.told
    silent = screen.told.count(" host.silent ")
    assert silent == screen.told.count(" host.heard ") >= 1, screen.told
    words = f"went on by itself; {counted(effects)}"
    reads = said(screen.told, run, lines=WAY)
    witness.saw(name, words, [("restore", 0)], began=screen.began, reads=reads)


def test_a_host_is_rebooted(scene: Scene, witness: Witness) -> None:
    """Its init ends what runs there: what that leaves is failed or lost, and never taken for done."""
    before = rehearsal.processes(scene.lab)
    screen = scene.begin()
    run = scene.midst(screen)
    scene.lab.machine(HOST).reboot()
    assert scene.stopping(run), "the reboot came too late to be in the midst"
    code = screen.end()
    ends, reads = [("restore", code)], said(screen.told, run, lines=(*WAY, *WRONG))
    assert code in {0, 1}, screen.told
    if code:
        assert any("drrun resume" in line for line in reads), reads
        until(lambda: _up(scene.lab), timeout=60, awaiting=f"{HOST} to be up again")
        scene.resume(run)
        ends.append(("resume", 0))
    effects = scene.proved(run)
    after = rehearsal.processes(scene.lab)
    changed = [host for host, boot in _boots(before).items() if _boots(after)[host] != boot]
    assert changed == [HOST]
    assert effects.lost + effects.failed >= 1, screen.told
    witness.saw("host-rebooted", counted(effects), ends, began=screen.began, reads=reads)


def _up(lab: Lab) -> bool:
    return lab.ssh(HOST, "systemctl is-system-running").stdout.strip() in {"running", "degraded"}


def _boots(processes: Mapping[str, str]) -> dict[str, str]:
    return {host: told.splitlines()[0] for host, told in processes.items()}


# -- controllers --------------------------------------------------------------------------------


def test_a_killed_controller_is_resumed_from_another_directory(
    scene: Scene, witness: Witness, tmp_path: Path
) -> None:
    """Begun with relative paths, resumed where they mean nothing: the plan holds what is needed."""
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    shutil.copy(scene.held.path, here / "snapshot.db")
    shutil.copy(scene.lab.inventory, here / "inventory.yaml")
    begins = Operator(Path("inventory.yaml"), scene.operator.state)
    screen = scene.screen(*restoring.words("snapshot.db"), operator=begins, cwd=here)
    where = ("stage", "restore", HOST)
    run = restoring.in_the_midst(scene.lab, scene.operator, screen, where)
    screen.kill()
    resumed = scene.screen("resume", run, "--no-input", operator=begins, cwd=there)
    assert resumed.end() == 0, resumed.told
    effects = scene.proved(run)
    assert effects.tokens == effects.changes
    words = f"taken up at the very command; {counted(effects)}"
    ends = [("restore", -9), ("resume", 0)]
    reads = said(resumed.told, run, lines=("✔ restore-cluster", " run.attached ", "taken up again"))
    witness.saw("controller-killed", words, ends, began=screen.began, reads=reads)


def test_two_controllers_race(scene: Scene, witness: Witness, tmp_path: Path) -> None:
    """One works, whoever wakes up: the hosts obey the higher epoch, a stranger is refused."""
    old = scene.begin()
    run = scene.midst(old)
    os.kill(old.process.pid, signal.SIGSTOP)
    try:
        stranger = scene.begin(Operator(scene.lab.inventory, tmp_path / "stranger"))
        assert stranger.end() == 5, stranger.told
        assert f"is held by another run: {run}" in stranger.told
        again = scene.screen("resume", run, "--no-input")
        assert again.end() == 5, again.told
        assert f"drrun takeover {run}" in again.told
        new = scene.screen("takeover", run, "--no-input")
        new.until(" change.sent ")
    finally:
        os.kill(old.process.pid, signal.SIGCONT)
    assert old.end() == 5, old.told
    assert "taken over" in old.told
    assert new.end() == 0, new.told
    journal = scene.operator.journal(run)
    assert [e.type for e in journal].count("run.finished") == 1
    effects = scene.proved(run, journal)
    words = f"one run, one end; {counted(effects)}"
    ends = [("stranger's restore", 5), ("resume", 5), ("takeover", 0), ("the old restore", 5)]
    reads = [
        f"{who}: {line}"
        for who, screen in (("stranger", stranger), ("resume", again), ("old", old))
        for line in said(screen.told, run, lines=WRONG)
    ]
    witness.saw("two-controllers", words, ends, began=old.began, reads=reads)


# -- full disks ---------------------------------------------------------------------------------


@contextmanager
def small_var_lib(lab: Lab, host: str, megabytes: int) -> Iterator[SmallDisk]:
    """The host's /var/lib on a file system of its own, until the host is off again."""
    machine = lab.machine(host)
    machine.power_cut()
    with small_disk(machine.state, megabytes) as disk:
        try:
            machine.boot()
            lab.wait_ready()
            yield disk
        finally:
            machine.power_cut()


def lives(lab: Lab) -> dict[str, list[str]]:
    """What lives on every host; not the etcd whose own disk is full, which may end by itself."""
    told = {name: text.split("\n\n") for name, text in rehearsal.processes(lab).items()}
    told[HOST] = [block for block in told[HOST] if "Id=etcd.service" not in block]
    return told


def test_a_host_without_space_before_the_run(scene: Scene, witness: Witness) -> None:
    """Found out before anything changes anywhere; once there is space, the same run is resumed."""
    with small_var_lib(scene.lab, HOST, 1024) as disk:
        before = lives(scene.lab)
        disk.fill()
        screen = scene.begin()
        code = screen.end()
        assert code == 1, screen.told
        assert HOST in screen.told
        run = scene.operator.newest()
        assert not [e for e in scene.operator.journal(run) if e.type == "change.intended"]
        assert lives(scene.lab) == before
        disk.clear()
        scene.lab.wait_ready()
        scene.resume(run)
        effects = scene.proved(run)
        words = f"no change announced, every process lives on; then {counted(effects)}"
        reads = said(screen.told, run, lines=WRONG)
        assert any(f"drrun resume {'RUN'}" in line for line in reads), reads
        ends = [("restore", code), ("resume", 0)]
        witness.saw("host-disk-full-before", words, ends, began=screen.began, reads=reads)


def test_a_host_runs_out_of_space(scene: Scene, witness: Witness) -> None:
    """A command that runs keeps its exit; what needs room is not begun, and said so."""
    with small_var_lib(scene.lab, HOST, 1024) as disk:
        screen = scene.begin()
        run = scene.midst(screen)
        with disk.kept_full():
            assert scene.stopping(run), "the disk was full too late to be in the midst"
            code = screen.end()
        assert code == 1, screen.told
        ended = [
            event.body["code"]
            for event in scene.operator.journal(run)
            if event.type == "change.finished"
            and event.body["unit"] == f"{STOPPING[0]}@{HOST}"
            and event.body["name"] == STOPPING[1]
        ]
        assert ended == [0], screen.told
        assert disk.free < 1 << 20, "still full: a file of drrun's own, or a log, may have gone"
        disk.clear()
        scene.resume(run)
        effects = scene.proved(run)
        words = f"the stop's exit 0 was recorded on the full disk; then {counted(effects)}"
        reads = said(screen.told, run, lines=WRONG)
        ends = [("restore", code), ("resume", 0)]
        witness.saw("host-disk-full-during", words, ends, began=screen.began, reads=reads)


def test_the_controller_runs_out_of_space(scene: Scene, witness: Witness, tmp_path: Path) -> None:
    """What cannot be journaled is not begun; what runs on hosts is found again."""
    (tmp_path / "small").mkdir()
    with small_disk(tmp_path / "small", 32) as disk:
        operator = Operator(scene.lab.inventory, disk.folder / "state")
        screen = scene.begin(operator)
        run = scene.midst(screen, operator)
        disk.fill()
        code = screen.end()
        assert code == 10, screen.told
        disk.clear()
        scene.resume(run, operator)
        journal = operator.journal(run)
        effects = scene.proved(run, journal)
        words = f"nothing was begun that the journal does not hold; then {counted(effects)}"
        reads = said(screen.told, run, lines=WRONG)
        assert any("drrun resume" in line for line in reads), reads
        ends = [("restore", code), ("resume", 0)]
        witness.saw("controller-disk-full", words, ends, began=screen.began, reads=reads)
