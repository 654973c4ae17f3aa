"""Disks as they are: full, read-only, dying. Exit 10, the operator is told what to mend, nothing twice."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from drrun.store.folder import JOURNAL
from drrun_lab.waiting import until

from .conftest import PATIENCE, WORDS, Fire

MOUNTS = ("mount", "umount", "losetup", "mkfs.ext4", "e2fsck")
MISSING = [tool for tool in MOUNTS if shutil.which(tool) is None]

pytestmark = pytest.mark.fire

mounted = pytest.mark.skipif(
    os.geteuid() != 0 or bool(MISSING),
    reason=f"mounts small file systems: needs root, and {', '.join(MISSING or MOUNTS)}",
)
traced = pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is not installed: it lets system calls fail"
)


def run(*words: str) -> None:
    """A command that has to succeed."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"


@contextmanager
def tmpfs(path: Path, size: str) -> Iterator[Path]:
    """A file system in memory, of a size."""
    path.mkdir(exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "drrun-fire", str(path))
    try:
        yield path
    finally:
        run("umount", "-l", str(path))


@contextmanager
def ext4(image: Path, path: Path, size: str) -> Iterator[Path]:
    """A file system on a loop device, whose image holds nothing yet."""
    path.mkdir(exist_ok=True)
    run("truncate", "-s", size, str(image))
    lazy = "lazy_itable_init=1,lazy_journal_init=1"
    run("mkfs.ext4", "-q", "-m", "0", "-E", lazy, str(image))
    run("mount", "-o", "loop,errors=continue", str(image), str(path))
    try:
        yield path
    finally:
        with suppress(AssertionError):
            run("umount", str(path))


def fill(folder: Path) -> Path:
    """Take all the space there is."""
    ballast = folder / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with suppress(OSError):
                while True:
                    file.write(b"." * size)
                    os.fsync(file.fileno())
    return ballast


def stopped_by_the_disk(fire: Fire, process: subprocess.Popen[bytes], error: int) -> str:
    """The process ends with 10 and names the error, the run, and the next move."""
    _, told = process.communicate(timeout=PATIENCE)
    words = told.decode()
    assert process.returncode == 10, words
    assert f"cannot be written: {os.strerror(error)}" in words
    assert f"drrun resume {fire.run.run}" in words
    return words


@mounted
def test_a_full_disk_stops_the_run_before_the_next_command_and_room_ends_it(fire: Fire) -> None:
    """A 6 MB ext4 on a loop device runs full while a command runs: it goes on, nothing new begins."""
    with ext4(fire.folder / "image", fire.state, "6M"):
        process = fire.start(fire.runbook())
        fire.at_the_gate()
        ballast = fill(fire.state)
        fire.open_gate()
        words = stopped_by_the_disk(fire, process, errno.ENOSPC)
        assert "free space on its file system" in words
        assert fire.counted() == Counter(["one", "two"])
        again = fire.do(fire.words("resume"))
        assert again.returncode == 10, again.stderr  # nothing was mended
        assert fire.counted() == Counter(["one", "two"])
        ballast.unlink()
        assert fire.do(fire.words("resume")).returncode == 0
        fire.proved()


@mounted
def test_no_run_begins_on_a_full_disk(fire: Fire) -> None:
    """Exit 10, no run is left behind, no command was sent."""
    with tmpfs(fire.state, "256k"):
        fill(fire.state)
        done = fire.do(fire.runbook())
        assert done.returncode == 10, done.stderr
        assert "No space left on device" in done.stderr
        assert "DRRUN_STATE" in done.stderr
        assert fire.store.runs() == []
        assert fire.counted() == Counter()


@mounted
def test_a_disk_that_turns_read_only_can_still_be_read(fire: Fire) -> None:
    """Mounted read-only after a crash: every verb that looks works; what would write exits with 10.

    Not even a host hears of it: a takeover that could not be journaled has not fenced anything.
    """
    with tmpfs(fire.state, "4m"):
        process = fire.start(fire.runbook())
        fire.at_the_gate()
        run_id, source = fire.run.run, str(fire.state)
        process.kill()  # while it holds its journal open, the kernel does not turn the mount
        process.wait()
        run("mount", "-o", "remount,ro", source)
        for looking in (["status"], ["runs"], ["logs"], ["report"], ["watch"]):
            done = fire.do(fire.words(*looking))
            assert done.returncode == (1 if looking == ["watch"] else 0), done.stderr
        for writing in (
            ["resume", run_id],
            ["takeover", run_id],
            ["abort", run_id, "--undo"],
            ["resume", run_id, "--detach"],
        ):
            done = fire.do(fire.words(*writing))
            assert done.returncode == 10, f"{writing}: {done.stderr}"
            assert "Read-only file system" in done.stderr
            assert "make it writable again" in done.stderr
        run("mount", "-o", "remount,rw", source)
        fire.open_gate()
        assert fire.do(fire.words("resume")).returncode == 0
        fire.proved()


@mounted
def test_a_dying_disk_says_yes_the_second_time_and_drrun_does_not_ask_it(fire: Fire) -> None:
    """The block device under the journal fails: exit 10; mended and read anew, the run ends.

    The image lies on a file system that runs full, so that the device has nowhere to write: the
    kernel's own EIO. The first part shows what this kernel does then: fdatasync fails, and the next
    one of the same file says that all is well, although the data is lost (fsyncgate). Whether
    the journal's own write then fails, or the file system has turned read-only, is the kernel's.
    """
    backing = fire.folder / "backing"
    with tmpfs(backing, "6m"), ext4(backing / "image", fire.state, "64m") as disk:
        process = fire.start(fire.runbook())
        fire.at_the_gate()
        lies = _fails_then_lies(disk / "victim")
        fire.open_gate()
        stopped = process.communicate(timeout=PATIENCE)[1].decode()
        print(f"\nfdatasync after a failed one: {'says yes' if lies else 'fails again'}")
        assert process.returncode == 10, stopped
        assert "Input/output error" in stopped or "Read-only file system" in stopped
        sent = fire.counted()
        assert sent <= Counter(WORDS)
        run("umount", str(disk))
        run("mount", "-o", "remount,size=128m", str(backing))
        subprocess.run(["e2fsck", "-fy", str(backing / "image")], capture_output=True, check=False)
        run("mount", "-o", "loop", str(backing / "image"), str(disk))
        assert fire.do(fire.words("resume")).returncode == 0
        fire.proved()


def _fails_then_lies(victim: Path) -> bool:
    """Write until the device fails; whether the file then says that all is on the disk."""
    fd = os.open(victim, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    try:
        with pytest.raises(OSError, match="Input/output error"):
            _write_for_ever(fd)
        try:
            os.fdatasync(fd)
        except OSError:
            return False
        return True
    finally:
        os.close(fd)


def _write_for_ever(fd: int) -> None:
    while True:
        os.write(fd, b"." * 4096)
        os.fdatasync(fd)


@traced
@pytest.mark.parametrize(
    ("call", "fault", "words"),
    [
        ("fdatasync", "error=EIO", "Input/output error"),
        ("write", "error=EIO", "Input/output error"),
        ("write", "error=ENOSPC", "No space left on device"),
        ("write", "error=EDQUOT", "Disk quota exceeded"),
        ("write", "retval=100", "the disk took 100 of a record's"),
    ],
    ids=lambda word: str(word).split()[0].replace("error=", ""),
)
def test_a_call_that_fails_once_stops_the_run_although_the_next_would_do(
    fire: Fire, call: str, fault: str, words: str
) -> None:
    """The kernel's answer to one write or sync of the journal is another: exit 10, and a resume ends it."""
    process = fire.start(fire.runbook())
    fire.at_the_gate()
    journal = fire.run.folder / JOURNAL
    trace = fire.folder / "trace"
    about = ["-f", "-p", str(process.pid), "-P", str(journal), "-o", str(trace)]
    tracer = fire.start(
        ["strace", *about, "-e", f"trace={call}", "-e", f"inject={call}:{fault}:when=1"]
    )
    threads = Path(f"/proc/{process.pid}/task")
    until(
        lambda: all(_is_traced(task) for task in threads.iterdir()),
        timeout=PATIENCE,
        awaiting="strace at every thread",
    )
    fire.open_gate()
    _, told = process.communicate(timeout=PATIENCE)
    tracer.wait(PATIENCE)
    assert process.returncode == 10, told.decode()
    assert words in told.decode()
    assert trace.read_text().count("(INJECTED)") == 1
    assert trace.read_text().count(f"{call}(") == 1  # it was not asked again
    assert fire.counted() == Counter(["one", "two"])
    assert fire.do(fire.words("resume")).returncode == 0
    fire.proved()


def _is_traced(task: Path) -> bool:
    lines = (task / "status").read_text().splitlines()
    return next(line for line in lines if line.startswith("TracerPid")).split()[1] != "0"


@pytest.mark.parametrize("behind", [2, 3, 4, 7])
def test_the_next_move_for_a_damaged_journal_does_what_it_says(fire: Fire, behind: int) -> None:
    """The message's own commands are run in a shell: the run ends, each word is there once.

    The host's agent has forgotten nothing: what it ran behind the cut is found by its token.
    """
    process = fire.start(fire.runbook())
    fire.at_the_gate()
    process.kill()
    process.wait()
    fire.open_gate()
    until(
        lambda: fire.counted() == Counter(["one", "two"]),
        timeout=PATIENCE,
        awaiting="the command that goes on without its controller",
    )
    journal = fire.run.folder / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) > behind
    lines[behind] = lines[behind].replace(b'"seq":', b'"sEq":')
    journal.write_bytes(b"".join(lines))
    refused = fire.do(fire.words("resume"))
    assert refused.returncode == 10
    assert f"is damaged in line {behind + 1} " in refused.stderr
    commands = refused.stderr.split("that verifies: ")[1].split("; drrun resume")[0]
    run("sh", "-ec", commands)
    resumed = fire.do(fire.words("resume"))
    assert resumed.returncode == 0, resumed.stderr
    fire.proved()
