"""One agent shell on a host: a /bin/sh that was told agent.sh and answers requests in turn.

Rule 1: strictly one request, then its answer. Shells and `head` may read ahead of what they
were asked for; with nothing behind a request there is nothing to lose.
Rule 2: until a run changes something, the host has neither a file nor a folder of drrun's.
"""

from __future__ import annotations

import hashlib
import secrets
import shlex
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from drrun.transport import protocol
from drrun.transport.deadline import Deadline
from drrun.transport.process import Process
from drrun.transport.protocol import BadAnswerError, Header, Request

COMPLAINT_LIMIT = 4096


@cache
def agent_text() -> bytes:
    """agent.sh as it is sent."""
    return (files("drrun.transport") / "agent.sh").read_bytes()


@cache
def agent_sha() -> str:
    """The name of this version of the agent on a host."""
    return hashlib.sha256(agent_text()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class AgentSetting:
    """How the agent is run.

    `base` empty: /var/lib/drrun for root, else ~/.local/state/drrun. `shell` runs agent and jobs.
    `cap`: bytes of a stream that the host keeps of one job. `boot_id` stands in for the host's,
    so that a test can pretend a reboot.
    """

    base: str = ""
    shell: tuple[str, ...] = ("/bin/sh",)
    cap: int = protocol.OUTPUT_CAP
    boot_id: str = ""

    def opening(self, nonce: str) -> bytes:
        """What the shell is told first: the agent, then to serve."""
        base = shlex.quote(self.base) if self.base else '"$BASE"'
        lines = (
            f"SH={shlex.quote(' '.join(self.shell))} FAKE_BOOT={shlex.quote(self.boot_id)}",
            'BASE=/var/lib/drrun; [ "$(id -u)" = 0 ] || BASE=$HOME/.local/state/drrun',
            f"serve {nonce} {base} {agent_sha()}",  # nothing may follow: it would be a request
        )
        return agent_text() + "\n".join(lines).encode() + b"\n"


class AgentShell:
    """An agent that is ready. Not safe for two threads at once; whoever holds it, uses it alone.

    Raises TimeoutError and OSError as its process does, BadAnswerError (a ValueError) when the host
    does not speak drrun/1.
    """

    def __init__(self, process: Process, setting: AgentSetting, deadline: Deadline) -> None:
        self._process = process
        self._nonce = secrets.token_hex(8)
        self._seen = b""
        self._complaint = b""
        process.send(setting.opening(self._nonce), deadline)
        header, _, _ = self._answer(deadline)
        if header.state != "ready":
            raise BadAnswerError(f"the agent did not start: {header.state} {header.why}")
        self._installed = header.why == "present"
        self.boot_id = header.boot_id

    def request(self, request: Request, deadline: Deadline) -> tuple[Header, bytes, bytes]:
        """Send one request, wait for its answer and the output that comes with it."""
        self._process.send(request.wire, deadline)
        return self._answer(deadline)

    def settle_in(self, deadline: Deadline) -> str:
        """Leave the agent on the host for supervisors. Returns what went wrong, or nothing."""
        if not self._installed:
            header, _, _ = self.request(protocol.install(agent_text()), deadline)
            if header.state != "installed":
                return header.why
            self._installed = True
        return ""

    @property
    def broken(self) -> bool:
        """Whether it is already known to be gone."""
        return self._process.broken

    def close(self) -> None:
        """End it; what it started lives on."""
        self._process.close()

    def _answer(self, deadline: Deadline) -> tuple[Header, bytes, bytes]:
        while (found := protocol.split_answer(self._seen, self._nonce)) is None:
            self._seen += self._more(deadline)
        header, start = found
        out_size, err_size = header.send
        end = out_size + err_size
        body = bytearray(self._seen[start:])
        while len(body) < end:
            body += self._more(deadline)
        with memoryview(body) as view:  # many agents do this at once: one copy, not three
            self._seen = bytes(view[end:])
            return header, bytes(view[:out_size]), bytes(view[out_size:end])

    def _more(self, deadline: Deadline) -> bytes:
        while (got := self._process.receive(deadline)) is not None:
            stream, data = got
            if stream == "out":
                return data
            self._complaint = (self._complaint + data)[-COMPLAINT_LIMIT:]
        said = (self._complaint or self._seen[-200:]).decode("utf-8", "backslashreplace").strip()
        raise BrokenPipeError(f"the agent ended: {said or 'without a word'}")
