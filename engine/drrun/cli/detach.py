"""`--detach`: a run in the background, in a session of its own, that no terminal can take down.

It is `drrun resume RUN` as a process of its own; what it would show goes to `screen.log` in the
run's folder. The one who detaches waits until the hosts are taken and the first unit is due, so that
what is refused at the start (a host out of reach, a lock, a full disk) is refused before his eyes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from drrun.cli.options import Look
from drrun.cli.terminal import Terminal
from drrun.store.disk import unwritable
from drrun.store.folder import FolderStore
from drrun.values import RunId

SCREEN = "screen.log"
"""What a detached run shows, in its folder."""
READY = "DRRUN_READY_FD"
"""Names the descriptor that the background process writes to once it is under way."""


def detached(
    store: FolderStore,
    screen: Terminal,
    run: RunId,
    *,
    forks: int,
    look: Look,
    agreed: Sequence[str] = (),
) -> int:
    """Go on with a run in the background. 0 once it is under way, else the exit code of its end.

    `agreed` are options that say what was agreed to here. Raises StoreError.
    """
    folder = store.folder(run)
    words = [*myself(), "resume", run, "--no-input", "--forks", str(forks), *agreed]
    words += looking(look)
    try:
        log = os.open(folder / SCREEN, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    except OSError as error:
        raise unwritable(folder / SCREEN, error, run) from error
    shown = os.fstat(log).st_size
    process, ready = _started(words, log)
    try:
        under_way = os.read(ready, 1) != b""
    except KeyboardInterrupt:
        _tell(screen, run, process.pid, folder)
        return 130
    if under_way:
        _tell(screen, run, process.pid, folder)
        return 0
    said = (folder / SCREEN).read_bytes()[shown:].decode("utf-8", "replace")
    for line in said.splitlines():
        (screen.say if screen.json and line.startswith("{") else screen.warn)(line)
    return process.wait()


def ready() -> Callable[[], None]:
    """What the background process calls once it is under way; nothing in any other process."""
    named = os.environ.pop(READY, "")

    def tell() -> None:
        with suppress(OSError):  # who waited for it may be gone
            os.write(int(named), b"\n")
            os.close(int(named))

    return tell if named else lambda: None


def myself() -> list[str]:
    """The command that this process is, without its options: interpreter, then script or module."""
    return sys.orig_argv[: len(sys.orig_argv) - len(sys.argv) + 1]


def looking(look: Look) -> list[str]:
    """The options that say how the background run writes its screen."""
    words = ["--output", look.output, "--color", "never", *["--verbose"] * look.verbose]
    return [*words, "--quiet"] if look.quiet else words


def _started(words: Sequence[str], log: int) -> tuple[subprocess.Popen[bytes], int]:
    """The process, and a descriptor that gives a byte when it is under way, and ends with it."""
    reading, writing = os.pipe()
    process = subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        pass_fds=(writing,),
        env={**os.environ, READY: str(writing)},
    )
    os.close(writing)
    os.close(log)
    return process, reading


def _tell(screen: Terminal, run: RunId, pid: int, folder: Path) -> None:
    log = str(folder / SCREEN)
    if screen.json:
        screen.give({"type": "detached", "run": run, "pid": pid, "screen": log})
        return
    screen.say(
        f"{run} goes on in the background (pid {pid})\n"
        f"  watch   drrun watch {run}\n"
        f"  stop    kill {pid} stops it safely, as ^C does; then drrun resume {run}\n"
        f"  screen  {log}"
    )
