"""Reaching a lab from outside it: OpenSSH with the lab's key, and the API servers' /readyz.

This is deliberately not drrun's own transport: tests use it to check what drrun did.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from drrun.errors import LabError


@dataclass(frozen=True, slots=True)
class Access:
    """How to reach the hosts of the lab whose key, known_hosts and authority are in `folder`."""

    folder: Path

    @property
    def identity(self) -> Path:
        """The private key that logs in as root, ops and nosudo."""
        return self.folder / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The hosts' keys."""
        return self.folder / "known_hosts"

    def ssh_argv(self, address: str, user: str = "root") -> list[str]:
        """OpenSSH's command line up to the remote command."""
        options = {
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": str(self.known_hosts),
            "GlobalKnownHostsFile": "/dev/null",
            "StrictHostKeyChecking": "yes",
            "BatchMode": "yes",
            "ConnectTimeout": "5",
            "ServerAliveInterval": "5",
            "LogLevel": "ERROR",
        }
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        return ["ssh", "-F", "none", "-i", str(self.identity), *words, f"{user}@{address}"]

    def ssh(
        self, address: str, script: str, *, user: str, stdin: str, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell script on a host. Exit code 255 is ssh's own failure.

        Raises LabError when it does not end within `timeout`.
        """
        try:
            return subprocess.run(
                [*self.ssh_argv(address, user), script],
                input=stdin,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            raise LabError(f"no end within {timeout:g} s on {address}: {script[:200]}") from exc

    def ready(self, address: str) -> bool:
        """Whether the API server (or the balancer) at `address` answers /readyz with 200."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        line = http.client.HTTPSConnection(address, 6443, timeout=2, context=context)
        try:
            line.request("GET", "/readyz")
            return line.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            line.close()


def sshd_answers(address: str) -> bool:
    """Whether an SSH server greets at `address`."""
    with suppress(OSError), socket.create_connection((address, 22), timeout=1) as line:
        return line.recv(4) == b"SSH-"
    return False


def shell_words(words: Sequence[str]) -> str:
    """A command line for the remote shell: one word is a script, several are quoted."""
    import shlex

    return words[0] if len(words) == 1 else shlex.join(words)
