"""`drrun doctor`: is what drrun needs here, and do the hosts answer? Only reads."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from drrun import __version__
from drrun.app import App
from drrun.cli.options import InventoryPath, Look, find_inventory
from drrun.cli.prompt import TerminalPrompt
from drrun.cli.terminal import terminal
from drrun.cli.wiring import engine
from drrun.errors import ConnectError, DrrunError, StoreError, UsageError
from drrun.lang.inventory import load_inventory
from drrun.model.inventory import Target
from drrun.ports import Transport
from drrun.report.words import columns, safe
from drrun.spi import sh
from drrun.values import Json, span

ROOM = 256 << 20
"""Bytes that should be free where runs are kept."""
SKEW = 5.0
"""Seconds that a host's clock may differ without a word."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `code` is the exit code it asks for, 0 when it is well."""

    what: str
    good: bool
    words: str
    hint: str = ""
    code: int = 0


def doctor(*, inventory: InventoryPath = None, look: Look = Look()) -> int:  # noqa: B008 - frozen
    """Look at what drrun needs here, and whether every host of the inventory answers.

    Args:
        inventory: The inventory; else $DRRUN_INVENTORY, else ./inventory.yaml.
        look: How it is shown.
    """
    screen = terminal(look)
    app = engine(TerminalPrompt(allowed=False))
    found = [*_here(app), *_hosts(app, inventory)]
    code = next((finding.code for finding in found if finding.code), 0)
    if screen.json:
        screen.give({"type": "doctor", "exit_code": code, "findings": [_json(f) for f in found]})
        return code
    rows = columns([[f.what, safe(f.words)] for f in found], indent="")
    for finding, row in zip(found, rows, strict=True):
        screen.say(f"{'✔' if finding.good else '✘' if finding.code else '?'} {row}")
        if finding.hint:
            screen.say(f"    next: {safe(finding.hint)}")
    return code


def _json(finding: Finding) -> dict[str, Json]:
    return {
        "what": finding.what,
        "good": finding.good,
        "words": finding.words,
        "hint": finding.hint,
    }


def _here(app: App) -> Iterable[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("drrun", True, f"{__version__}, Python {version}")
    yield _ssh()
    yield _state(app.store.root)
    yield _types(app)


def _ssh() -> Finding:
    path = shutil.which("ssh")
    if path is None:
        return Finding(
            "ssh",
            False,
            "OpenSSH's client is not here: ~/.ssh/config cannot be read with its own rules",
            "install openssh-client",
        )
    said = subprocess.run([path, "-V"], capture_output=True, text=True, check=False).stderr
    return Finding("ssh", True, said.strip().split(",")[0] or path)


def _state(root: Path) -> Finding:
    """Whether runs can be kept: the folder, or the nearest parent that is there, and its room."""
    place = root
    while not place.exists() and place != place.parent:
        place = place.parent
    if not os.access(place, os.W_OK | os.X_OK):
        hint = "set DRRUN_STATE to a folder that can be written"
        return Finding("state", False, f"{root} cannot be written", hint, StoreError.exit_code)
    free = shutil.disk_usage(place).free
    words = f"{root}, {free >> 20} MiB free"
    if free < ROOM:
        return Finding("state", False, words, f"at least {ROOM >> 20} MiB should be free")
    return Finding("state", True, words)


def _types(app: App) -> Finding:
    try:
        steps, facts = app.registry.steps(), app.registry.facts()
    except (DrrunError, ImportError) as error:
        return Finding("step types", False, f"a plugin does not load: {error}", "", 3)
    return Finding("step types", True, f"{len(steps)}, and {len(facts)} facts")


def _hosts(app: App, given: Path | None) -> Iterable[Finding]:
    try:
        path = find_inventory(given)
    except UsageError as error:
        return [Finding("inventory", False, "none: hosts were not asked", error.hint)]
    found = load_inventory(path)
    targets = list(found.targets.values())
    transport, close = _transport(app)
    try:
        with ThreadPoolExecutor(max_workers=min(len(targets), 16) or 1) as pool:
            hosts = list(pool.map(lambda target: _host(transport, target), targets))
    finally:
        close()
    return [Finding("inventory", True, f"{found.name} ({path})"), *hosts]


def _transport(app: App) -> tuple[Transport, Callable[[], None]]:
    if app.transport is not None:
        return app.transport, lambda: None
    from drrun.transport.routes import Transports

    made = Transports()
    return made, made.close


def _host(transport: Transport, target: Target) -> Finding:
    """Connect, ask who we are and what time it is; leave nothing behind."""
    began = time.monotonic()
    try:
        line = transport.connect(target)
    except ConnectError as error:
        return Finding(target.name, False, error.message, error.hint, error.exit_code)
    try:
        took = time.monotonic() - began
        before = time.time()
        reply = line.ask(sh("id -u; date +%s").script(), timeout=15)
        middle = (before + time.time()) / 2
    except DrrunError as error:
        return Finding(target.name, False, error.message, error.hint, ConnectError.exit_code)
    finally:
        line.close()
    return _answer(target, reply.text.split(), took, middle)


def _answer(target: Target, words: list[str], took: float, middle: float) -> Finding:
    if len(words) != 2 or not words[1].isdigit():
        return Finding(target.name, False, f"answers strangely: {' '.join(words)[:80]}", "", 4)
    who = "root" if words[0] == "0" else f"uid {words[0]}, not root"
    skew = int(words[1]) - middle
    said = f"answers in {span(took)}, {who}, clock {skew:+.0f}s"
    hint = "" if abs(skew) <= SKEW else "set the clocks first: certificates and leases go by them"
    return Finding(target.name, not hint and words[0] == "0", said, hint)
