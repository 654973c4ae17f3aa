"""Running this machine's own tools: bounded, never through a shell, ended by process id.

Rule 1: every call has a deadline; a tool that outlives it is killed with its process group.
Rule 2: a tool that fails becomes a LabError that holds its last lines.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drrun.errors import LabError

_TAIL = 15
"""Lines of a failed tool's output that an error repeats."""

DIE_WITH_CALLER = (
    *("setpriv", "--pdeathsig", "KILL", "--"),
    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"),
)
"""Prefix for long builds. The tool gets its own mounts and process ids, and the kernel ends it
with all its children when the caller is killed: no orphaned compiler, no mount left behind."""


@dataclass(frozen=True, slots=True)
class Finished:
    """What a tool said. `ok` is exit code 0."""

    argv: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def ok(self) -> bool:
        """Whether it exited with 0."""
        return self.code == 0


def attempt(
    argv: Sequence[str],
    *,
    timeout: float = 30,
    stdin: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Finished:
    """Run a tool and return what it said, whatever its exit code.

    Raises LabError when the tool is missing or outlives `timeout` (it is then killed).
    """
    try:
        process = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env={**os.environ, **env} if env else None,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except FileNotFoundError as exc:
        raise LabError(f"{argv[0]} is not installed", hint="run `drrun lab up` as root") from exc
    try:
        out, err = process.communicate(stdin, timeout=timeout)
    except BaseException as exc:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        if isinstance(exc, subprocess.TimeoutExpired):
            raise LabError(
                f"{' '.join(argv[:3])} did not end within {timeout:g} s\n{tail(out + err)}"
            ) from exc
        raise
    return Finished(tuple(argv), process.returncode, out, err)


def run(
    argv: Sequence[str],
    *,
    timeout: float = 30,
    stdin: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a tool that must succeed; return its standard output. Raises LabError otherwise."""
    done = attempt(argv, timeout=timeout, stdin=stdin, cwd=cwd, env=env)
    if not done.ok:
        shown = " ".join(word for word in argv if word not in DIE_WITH_CALLER)
        raise LabError(f"exit {done.code} from: {shown[:300]}\n{tail(done.out + done.err)}")
    return done.out


def tail(text: str, lines: int = _TAIL) -> str:
    """The last lines of a log, which hold the reason."""
    return "\n".join(text.rstrip().splitlines()[-lines:])
