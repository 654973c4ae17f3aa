"""Sealed plans as files: readable by their owner alone, there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from drrun.errors import StoreError, UsageError
from drrun.execute.sealed import Sealed, decode, is_plan

LIMIT = 256 << 20
"""Bytes above which a file is no plan: nobody wants to read it to find that out."""


def write_plan(sealed: Sealed, path: Path) -> Sealed:
    """Put a plan into a file, mode 0600, atomically; give it with its digest.

    An older plan is replaced; any other file is not. Raises UsageError, Refused (a secret would be
    in it) or StoreError.
    """
    content = sealed.text()
    if path.exists() and not _is_plan(path):
        raise UsageError(
            f"{path} is there, and is no sealed plan: it is left as it is",
            hint="name another file: --out FILE",
        )
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        fd = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink()
            raise
    except OSError as error:
        raise StoreError(
            f"the plan {path} cannot be written: {error.strerror}",
            hint="name a file in a folder that can be written: --out FILE",
        ) from error
    return decode(content, str(path))


def read_plan(path: Path) -> Sealed:
    """The plan in a file. Raises UsageError, Refused or PlanDamaged: see `decode`."""
    try:
        if path.stat().st_size > LIMIT:
            raise UsageError(f"{path} is too large to be a sealed plan")
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read the plan {path}: {error.strerror}") from error
    return decode(content, str(path))


def _is_plan(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return is_plan(file.readline(1 << 20))
    except OSError:
        return False
