"""A program on a host with its three streams, and one exchange with it from start to end.

Rule 1: bytes, never text. Both output streams are drained, or the program would block.
Rule 2: these raise TimeoutError at a deadline and OSError on a broken line, nothing else; the
line above them, which knows the host, turns both into Unreachable.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, Protocol

from drrun.transport.deadline import Deadline
from drrun.values import Reply

Stream = Literal["out", "err"]
Sink = Callable[[bytes], None]

CHUNK = 64 * 1024


class Process(Protocol):
    """One running program."""

    def send(self, data: bytes, deadline: Deadline) -> None:
        """Write all of `data` to its stdin."""
        ...

    def finish(self) -> None:
        """End its stdin."""
        ...

    def receive(self, deadline: Deadline) -> tuple[Stream, bytes] | None:
        """The next bytes of either stream; None when both have ended."""
        ...

    def status(self, deadline: Deadline) -> int | None:
        """Its exit status, once both streams have ended; None when the host did not tell one."""
        ...

    @property
    def broken(self) -> bool:
        """Whether it is already known to be gone."""
        ...

    @property
    def talking(self) -> bool:
        """Whether bytes have come that `receive` has not given yet."""
        ...

    def close(self) -> None:
        """Let go of it. Never raises, never waits long."""
        ...


class Station(Protocol):
    """Where programs can be started: a connection to a host, or this machine."""

    def start(self, argv: tuple[str, ...], deadline: Deadline) -> Process:
        """Start `argv` as the user that the target asks for. Raises ConnectError, OSError."""
        ...

    def doubt(self) -> None:
        """Something that ran there did not answer in time: see to it before starting the next."""
        ...

    def close(self) -> None:
        """Hang up."""
        ...


@dataclass(slots=True)
class Kept:
    """A stream's first `limit` bytes; the rest is drained and forgotten."""

    limit: int
    data: bytearray
    cut: bool = False

    def __call__(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        room = self.limit - len(self.data)
        self.data += data[:room]
        self.cut = self.cut or len(data) > room


def exchange(
    process: Process,
    feed: Iterable[bytes],
    *,
    deadline: Deadline,
    limit: int,
    sink: Sink | None = None,
) -> Reply:
    """Send `feed`, read to the end, close. `sink`, when given, takes stdout whole.

    A program that ends before it has read everything is no error: its complaint and its exit
    say why (sudo refusing, a full disk).
    """
    out, err = Kept(limit, bytearray()), Kept(limit, bytearray())
    try:
        try:
            for piece in feed:
                process.send(piece, deadline)
            process.finish()
        except TimeoutError:
            raise
        except OSError:
            # Broken pipe: the program ended early. A broken line shows itself below.
            pass
        while (got := process.receive(deadline)) is not None:
            stream, data = got
            (err if stream == "err" else sink or out)(data)
        code = process.status(deadline)
    finally:
        process.close()
    return Reply(code, bytes(out.data), bytes(err.data), truncated=out.cut or err.cut)
