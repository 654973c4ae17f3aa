"""Who agreed to a sealed plan: signatures over its digest, made and proved by OpenSSH's own ssh-keygen.

Rule 1: a name counts only with a signature that `allowed_signers` grants it (ssh-keygen(1), ALLOWED
SIGNERS): what stands in the file beside the plan is a claim, which anybody can write.
Rule 2: a signature is over the digest and the time: one for another plan, or of another day, is none.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from drrun.errors import StoreError, UsageError
from drrun.values import Digest

NAMESPACE = "drrun.plan"
"""So that a signature which was made for anything else is not taken for one of these."""
_PATIENCE = 120
"""Seconds for ssh-keygen: it may ask for a passphrase."""


@dataclass(frozen=True, slots=True)
class Approval:
    """One line of the file beside a plan: who says to have agreed, when (UTC), to which plan."""

    name: str
    at: str
    digest: Digest
    signature: str

    @property
    def message(self) -> bytes:
        """What was signed."""
        return _message(self.digest, self.at)


@dataclass(frozen=True, slots=True)
class Counted:
    """The approvals of a plan: those that count, one a name, and why the others do not."""

    names: tuple[str, ...]
    others: tuple[str, ...]


def beside(plan: Path) -> Path:
    """Where a plan's approvals are: `restore.drrun.approvals`."""
    return plan.with_name(f"{plan.name}.approvals")


def approve(plan: Path, digest: Digest, *, name: str, key: Path, at: str) -> Approval:
    """Sign a plan's digest with a key, and add that to the file beside it.

    `key`: a private key, or the public one whose private half an agent has. Raises UsageError where
    ssh-keygen refuses, StoreError where the file cannot be written.
    """
    done = _keygen(["-Y", "sign", "-n", NAMESPACE, "-f", str(key)], _message(digest, at))
    if done.returncode != 0:
        raise UsageError(
            f"not signed: {_last(done.stderr)}",
            hint="--key is a private key, or the public one of a key that ssh-agent has",
        )
    approval = Approval(name, at, digest, done.stdout.decode())
    try:
        with beside(plan).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(approval)) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StoreError(
            f"the approval {beside(plan)} cannot be written: {error.strerror}",
            hint="approve a copy of the plan in a folder of your own, and send the approval back",
        ) from error
    return approval


def counted(plan: Path, digest: Digest, signers: Path) -> Counted:
    """Whose approvals of this very plan `signers` proves. Raises UsageError."""
    if not signers.is_file():
        raise UsageError(
            f"cannot read the signers {signers}", hint="see ALLOWED SIGNERS in ssh-keygen(1)"
        )
    names, others = list[str](), list[str]()
    for approval in _read(beside(plan)):
        why = _refused(approval, digest, signers)
        if why:
            others.append(f"{approval.name}: {why}")
        elif approval.name not in names:
            names.append(approval.name)
    return Counted(tuple(names), tuple(others))


def _refused(approval: Approval, digest: Digest, signers: Path) -> str:
    if approval.digest != digest:
        return f"of another plan, {approval.digest[:7]}"
    with tempfile.NamedTemporaryFile(prefix="drrun-", suffix=".sig") as file:
        file.write(approval.signature.encode())
        file.flush()
        who = ["-I", approval.name, "-n", NAMESPACE, "-s", file.name]
        done = _keygen(["-Y", "verify", "-f", str(signers), *who], approval.message)
    return (
        ""
        if done.returncode == 0
        else _last(done.stderr or done.stdout) or "the signature does not fit"
    )


def _read(path: Path) -> Iterator[Approval]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the approvals {path}: {error}") from error
    for number, line in enumerate(lines, 1):
        try:
            raw = json.loads(line)
            digest = Digest(raw["digest"])
            yield Approval(str(raw["name"]), str(raw["at"]), digest, str(raw["signature"]))
        except (ValueError, LookupError, TypeError) as error:
            raise UsageError(f"{path}:{number} is no approval") from error


def _message(digest: Digest, at: str) -> bytes:
    return f"{NAMESPACE} {digest} {at}\n".encode()


def _keygen(words: Sequence[str], message: bytes) -> subprocess.CompletedProcess[bytes]:
    program = shutil.which("ssh-keygen")
    if program is None:
        raise UsageError(
            "there is no ssh-keygen here: approvals are signatures of OpenSSH",
            hint="apt-get install openssh-client",
        )
    try:
        return subprocess.run(
            [program, *words], input=message, capture_output=True, check=False, timeout=_PATIENCE
        )
    except subprocess.TimeoutExpired as error:
        raise UsageError(f"ssh-keygen did not end within {_PATIENCE} s") from error


def _last(told: bytes) -> str:
    lines = told.decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else ""
