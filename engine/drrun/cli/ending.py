"""Where errors end: a message, the next move, and the exit code of design §9."""

from __future__ import annotations

import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from drrun.cli import terminal
from drrun.errors import AuthorError, DrrunError, Stale
from drrun.lang.diagnostics import Diagnostic, render
from drrun.report.words import safe
from drrun.values import Json

BUG = DrrunError.exit_code


def guarded(act: Callable[[], int]) -> int:
    """Run one command line; nothing escapes but SystemExit."""
    terminal.forget()
    try:
        code = act()
    except DrrunError as error:
        code = told(error)
    except KeyboardInterrupt:
        terminal.current().warn("interrupted: nothing was left running here")
        code = 130
    except BrokenPipeError as error:
        code = 0 if _flush() else _bug(error)
    except Exception as error:  # noqa: BLE001 - the boundary: a bug is told, not thrown
        code = _bug(error)
    _flush()
    return code


def told(error: DrrunError) -> int:
    """Print an error of ours, and give its exit code."""
    screen = terminal.current()
    if screen.json:
        screen.give(as_json(error))
    if type(error) is DrrunError:
        return _bug(error)
    diagnostics = _diagnostics(error)
    if diagnostics:
        screen.warn(render(diagnostics))
        count = len(diagnostics)
        screen.warn(f"\n{count} mistake{'s' if count > 1 else ''}")
    else:
        screen.warn(f"drrun: {safe(error.message)}")
        for hint in error.hint.splitlines():
            screen.warn(f"  next: {safe(hint)}")
    return error.exit_code


def as_json(error: DrrunError) -> dict[str, Json]:
    """An error as the last record of a JSON output."""
    return {
        "type": "error",
        "kind": type(error).__name__,
        "exit_code": error.exit_code,
        "message": error.message,
        "hint": error.hint,
        **({"findings": list(error.findings)} if isinstance(error, Stale) else {}),
        "diagnostics": [diagnostic.json() for diagnostic in _diagnostics(error)],
    }


def _diagnostics(error: DrrunError) -> tuple[Diagnostic, ...]:
    if not isinstance(error, AuthorError):
        return ()
    return tuple(d for d in error.diagnostics if isinstance(d, Diagnostic))


def _bug(error: BaseException) -> int:
    screen = terminal.current()
    path = _keep("".join(traceback.format_exception(error)))
    last = traceback.extract_tb(error.__traceback__)[-1:] or None
    where = f" at {Path(last[0].filename).name}:{last[0].lineno}" if last else ""
    screen.warn(f"drrun: a bug in drrun: {type(error).__name__}{where}: {safe(str(error))[:300]}")
    screen.warn(f"  next: send {path}; a run that was under way can be resumed")
    return BUG


def _keep(text: str) -> Path:
    """The traceback in a file of its own, in the state folder if that can be written."""
    from drrun.places import state_root

    name = time.strftime("%Y%m%d-%H%M%S", time.gmtime()) + f"-{os.getpid()}.txt"
    for folder in (state_root().parent / "tracebacks", Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            path = folder / f"drrun-{name}"
            path.write_text(text)
        except OSError:
            continue
        return path
    return Path(os.devnull)


def _flush() -> bool:
    """Write what is left; whether a reader had gone away (`| head`): only then is that no bug."""
    gone = False
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError) as error:
            gone = gone or isinstance(error, BrokenPipeError)
            terminal.drop(stream)
    return gone
