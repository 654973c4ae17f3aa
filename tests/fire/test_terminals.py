"""Terminals, pipes and signals, as the kernel makes them: a run outlives each, or leaves in order."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import subprocess
import termios
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from drrun.journal.chain import read
from drrun.store.folder import JOURNAL
from drrun_lab.waiting import until

from .conftest import PATIENCE, Fire

pytestmark = pytest.mark.fire


def ended(process: subprocess.Popen[Any]) -> int:
    """The exit code of a process that ends by itself."""
    return process.wait(PATIENCE)


@pytest.mark.parametrize("output", ["text", "json"])
def test_a_reader_that_goes_away_does_not_end_a_run(fire: Fire, output: str) -> None:
    """As `drrun … 2>&1 | head -1`: one line is read, the pipe breaks, the run goes on to its end."""
    reading, writing = os.pipe()
    process = fire.start(fire.runbook("-o", output), stdout=writing, stderr=writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.readline()
    fire.at_the_gate()  # the reader is gone by now, and more is to be told
    fire.open_gate()
    assert ended(process) == 0
    fire.proved()


def test_a_reader_that_stands_still_does_not_hold_up_a_run(fire: Fire) -> None:
    """A full pipe that nobody reads, as a stopped terminal: the run ends, and all is told later."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writing, False)
    filled = os.write(writing, b"." * 4096)
    os.set_blocking(writing, True)
    process = fire.start(fire.runbook(), stderr=writing)
    os.close(writing)
    fire.open_gate()
    until(
        lambda: bool(fire.store.runs()) and fire.kinds[-1:] == ["run.finished"],
        timeout=PATIENCE,
        awaiting="the end of a run that nobody reads",
    )
    assert process.poll() is None  # it has all of that still to tell
    with os.fdopen(reading, "rb") as pipe:
        told = pipe.read()[filled:].decode()
    assert ended(process) == 0
    assert [line.split()[1] for line in told.splitlines()][-1] == "run.finished"
    fire.proved()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 130)]
)
def test_once_stops_in_order_and_a_resume_ends_the_run(
    fire: Fire, number: signal.Signals, code: int
) -> None:
    """Nothing new is started, the command goes on, its result is found again: each word once."""
    process = fire.start(fire.runbook())
    fire.at_the_gate()
    process.send_signal(number)
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == code
    assert f"drrun resume {fire.run.run}" in told.decode()
    assert fire.kinds[-1] == "run.detached"
    assert fire.counted() == Counter(["one"])
    fire.open_gate()
    resumed = fire.do(fire.words("resume"))
    assert resumed.returncode == 0, resumed.stderr
    fire.proved()


def test_twice_leaves_at_once_and_the_command_lives_on(fire: Fire) -> None:
    """The second ^C does not wait: no last record, and yet the resume collects what was running."""
    process = fire.start(fire.runbook(), stderr=subprocess.PIPE, bufsize=0)
    fire.at_the_gate()
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    told = b""
    while b"stopping" not in told:
        told += os.read(process.stderr.fileno(), 4096)
    process.send_signal(signal.SIGINT)
    assert ended(process) == 130
    fire.open_gate()
    assert fire.do(fire.words("resume")).returncode == 0
    fire.proved()


def on_a_terminal(fire: Fire, words: list[str]) -> tuple[subprocess.Popen[bytes], int]:
    """A process whose controlling terminal is a new one; and that terminal's other end."""
    ours, theirs = pty.openpty()

    def take() -> None:
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    process = fire.start(
        words,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=take,
    )
    os.close(theirs)
    return process, ours


def test_a_lost_terminal_stops_as_once(fire: Fire) -> None:
    """The terminal is closed: the kernel says SIGHUP, nothing can be written, and it ends in order."""
    process, terminal = on_a_terminal(fire, fire.runbook())
    fire.at_the_gate()
    assert os.read(terminal, 1)
    os.close(terminal)
    assert ended(process) == 130
    assert fire.kinds[-1] == "run.detached"
    fire.open_gate()
    assert fire.do(fire.words("resume")).returncode == 0
    fire.proved()


def test_control_c_on_a_terminal_reaches_no_command(fire: Fire) -> None:
    """^C is typed: drrun stops in order, the agent and the command do not even notice."""
    process, terminal = on_a_terminal(fire, fire.runbook())
    fire.at_the_gate()
    os.write(terminal, b"\x03")
    seen = b""
    while b"stopping" not in seen:
        seen += os.read(terminal, 4096)
    while process.poll() is None:
        try:
            seen += os.read(terminal, 4096)
        except OSError:
            break  # its last process closed it
    os.close(terminal)
    assert ended(process) == 130
    assert fire.counted() == Counter(["one"])
    fire.open_gate()
    assert fire.do(fire.words("resume")).returncode == 0
    fire.proved()


def test_under_nohup_a_lost_terminal_stops_nothing(fire: Fire) -> None:
    """SIGHUP was ignored before drrun began, and stays so."""
    process = fire.start(["nohup", *fire.runbook()])
    fire.at_the_gate()
    process.send_signal(signal.SIGHUP)
    fire.open_gate()
    assert ended(process) == 0
    fire.proved()


def test_closed_streams_do_not_give_their_place_to_the_journal(fire: Fire) -> None:
    """As `drrun … <&- >&- 2>&-`: no line for people gets into any file, signals and all."""
    script = 'exec "$@" <&- >&- 2>&-'
    process = fire.start(["sh", "-c", script, "sh", *fire.runbook()])
    fire.at_the_gate()
    process.send_signal(signal.SIGTERM)
    assert ended(process) == 143
    found = read((fire.run.folder / JOURNAL).read_bytes())
    assert found.torn == b""
    assert fire.kinds[-1] == "run.detached"
    fire.open_gate()
    resumed = fire.start(["sh", "-c", script, "sh", *fire.words("resume")])
    assert ended(resumed) == 0
    fire.proved()


# --- in the background ---------------------------------------------------------------------------


def started_in_the_background(fire: Fire, *more: str) -> dict[str, Any]:
    """A detached run, and what was told of it."""
    done = fire.do(fire.runbook("--detach", "-o", "json", *more))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["type"] == "detached"
    return dict(told)


def test_a_detached_run_goes_on_without_its_terminal_and_is_watched(fire: Fire) -> None:
    """It has a session of its own; watch follows it live from another process, and exits as it does."""
    told = started_in_the_background(fire)
    fire.at_the_gate()
    assert told["run"] == fire.run.run
    assert fire.run.live
    assert os.getsid(told["pid"]) == told["pid"]
    watching = fire.start(fire.words("watch"), text=True)
    assert watching.stderr is not None
    seen = ""
    while "step=two" not in seen:  # shown while the command waits: it is live
        seen += watching.stderr.readline()
    fire.open_gate()
    out, _ = watching.communicate(timeout=PATIENCE)
    assert watching.returncode == 0
    assert "fire done in" in out
    fire.proved()
    screen = Path(told["screen"])
    assert screen.parent == fire.run.folder
    until(
        lambda: '"type": "result"' in screen.read_text(),
        timeout=PATIENCE,
        awaiting="the result in screen.log",
    )
    kinds = [json.loads(line)["type"] for line in screen.read_text().splitlines()]
    assert kinds[0] == "version"
    assert kinds[-2:] == ["run.finished", "result"]


def test_a_detached_run_says_how_to_watch_and_stop_it(fire: Fire) -> None:
    """As text: the run's id, the pid, the two commands; killed so, it ends in order, and watch says 130."""
    done = fire.do(fire.runbook("--detach"))
    assert done.returncode == 0, done.stderr
    fire.at_the_gate()
    run = fire.run.run
    pid = int(done.stdout.split("(pid ")[1].split(")")[0])
    assert done.stdout.startswith(f"{run} goes on in the background")
    assert f"drrun watch {run}" in done.stdout
    assert f"kill {pid} stops it safely" in done.stdout
    watching = fire.start(fire.words("watch", run), text=True)
    os.kill(pid, signal.SIGTERM)
    assert ended(watching) == 130
    assert fire.kinds[-1] == "run.detached"
    resumed = fire.do(fire.words("resume", "--detach"))
    assert resumed.returncode == 0, resumed.stderr
    fire.open_gate()
    assert fire.do(fire.words("watch")).returncode == 0
    fire.proved()


def test_a_run_that_fails_in_the_background_is_1_for_who_watches(fire: Fire) -> None:
    """Watch ends with the run's own exit code, before the end or after it."""
    started_in_the_background(fire, "-e", "code=3")
    fire.open_gate()
    watched = fire.do(fire.words("watch"))
    assert watched.returncode == 1
    assert "three@controller failed" in watched.stdout
    assert fire.do(fire.words("watch")).returncode == 1


def test_a_run_whose_controller_was_killed_is_not_watched_for_ever(fire: Fire) -> None:
    """The one who watches is told at once, and what to do; a resume ends the run."""
    told = started_in_the_background(fire)
    fire.at_the_gate()
    watching = fire.start(fire.words("watch"), text=True)
    os.kill(told["pid"], signal.SIGKILL)
    out, _ = watching.communicate(timeout=PATIENCE)
    assert watching.returncode == 1
    assert f"drrun resume {told['run']}" in out
    fire.open_gate()
    assert fire.do(fire.words("resume")).returncode == 0
    fire.proved()


def test_what_is_refused_at_the_start_is_refused_before_the_eyes(fire: Fire) -> None:
    """A second run on the same host: --detach exits 5 as the run itself would, and says who has it."""
    first = started_in_the_background(fire)
    fire.at_the_gate()
    done = fire.do(fire.runbook("--detach"))
    assert done.returncode == 5
    assert "held by another run" in done.stderr
    assert first["run"] in done.stderr
    fire.open_gate()
    assert fire.do(fire.words("watch", first["run"])).returncode == 0
