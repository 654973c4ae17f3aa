"""The controller itself as a host: the same agent, over pipes instead of SSH.

Rule 1: a process of its own session each, so that ^C in the operator's terminal reaches none.
Rule 2: no become: what runs here, runs as the operator.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
from typing import IO

from drrun.model.inventory import Target
from drrun.transport.agent import AgentSetting
from drrun.transport.deadline import Deadline
from drrun.transport.line import PATIENCE, ShellLine
from drrun.transport.process import CHUNK, Stream

SECRET_ENVIRONMENT = ("DRRUN_BECOME_PASSWORD",)
"""Variables of the operator that no started program may inherit."""


class LocalProcess:
    """A subprocess as `Process`."""

    def __init__(self, argv: tuple[str, ...]) -> None:
        env = {name: value for name, value in os.environ.items() if name not in SECRET_ENVIRONMENT}
        self._child = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            start_new_session=True,
            bufsize=0,
        )
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        assert self._child.stderr is not None
        self._stdin: IO[bytes] = self._child.stdin
        os.set_blocking(self._stdin.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._streams: list[IO[bytes]] = [self._child.stdout, self._child.stderr]
        self._selector.register(self._child.stdout, selectors.EVENT_READ, "out")
        self._selector.register(self._child.stderr, selectors.EVENT_READ, "err")

    @property
    def broken(self) -> bool:
        """Whether it has ended."""
        return self._child.poll() is not None

    @property
    def talking(self) -> bool:
        """Whether bytes, or the end of a stream, wait to be received."""
        return bool(self._selector.select(0))

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Write all; raises BrokenPipeError when it reads no more."""
        view = memoryview(data)
        with selectors.DefaultSelector() as selector:
            selector.register(self._stdin, selectors.EVENT_WRITE)
            while view:
                if not selector.select(deadline.need()):
                    deadline.need()
                    continue
                with contextlib.suppress(BlockingIOError):
                    view = view[os.write(self._stdin.fileno(), view) :]

    def finish(self) -> None:
        """Close stdin."""
        self._stdin.close()

    def receive(self, deadline: Deadline) -> tuple[Stream, bytes] | None:
        """The next bytes of a stream."""
        while self._selector.get_map():
            for key, _ in self._selector.select(deadline.need()):
                data = os.read(key.fd, CHUNK)
                if data:
                    return ("err" if key.data == "err" else "out"), data
                self._selector.unregister(key.fileobj)
        return None

    def status(self, deadline: Deadline) -> int | None:
        """The exit status; None when a signal ended it."""
        try:
            code = self._child.wait(deadline.need())
        except subprocess.TimeoutExpired as exc:
            raise TimeoutError(f"did not end within {deadline.total:g} s") from exc
        return code if code >= 0 else None

    def close(self) -> None:
        """Close its pipes; end it with its session if that alone does not."""
        with contextlib.suppress(OSError):
            self._stdin.close()
        self._selector.close()
        for stream in self._streams:
            stream.close()
        try:
            self._child.wait(1.0)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()


class LocalStation:
    """Starts programs on this machine."""

    def start(self, argv: tuple[str, ...], deadline: Deadline) -> LocalProcess:
        """Start `argv`."""
        deadline.need()
        return LocalProcess(argv)

    def doubt(self) -> None:
        """Nothing lies between that could freeze."""

    def close(self) -> None:
        """Nothing to let go of."""


class LocalTransport:
    """`Transport` for the controller."""

    def __init__(self, setting: AgentSetting | None = None, *, patience: float = PATIENCE) -> None:
        self._setting = setting or AgentSetting(base=_state_dir())
        self._patience = patience

    def connect(self, target: Target) -> ShellLine:
        """A line to this machine, whatever the target's address says."""
        return ShellLine(
            target.name, LocalStation(), setting=self._setting, patience=self._patience
        )

    def fingerprint(self, target: Target) -> str:
        """There is no host key to show."""
        del target
        return "local"

    def sign_of_life(self, target: Target, *, timeout: float) -> str:
        """Who asks is alive."""
        del target, timeout
        return "it is this machine"

    def close(self) -> None:
        """Nothing is kept."""


def _state_dir() -> str:
    """Like any host for root; else where this system keeps a user's state."""
    if os.geteuid() == 0:
        return "/var/lib/drrun"
    import platformdirs

    return platformdirs.user_state_dir("drrun")
