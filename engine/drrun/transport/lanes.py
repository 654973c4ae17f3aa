"""The few channels that one connection may have open at once, and the shells that idle on them.

sshd allows ten sessions a connection, and a closed one counts until its command has ended; so a
line keeps to four, kept shells included. An idle one gives way to whoever needs a channel.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from drrun.transport.deadline import Deadline

LIMIT = 4


class KeptShell(Protocol):
    """What may idle on a channel until it is wanted again."""

    @property
    def broken(self) -> bool:
        """Whether it is already known to be gone."""
        ...

    def close(self) -> None:
        """End it. Never raises, never waits long."""
        ...


S = TypeVar("S", bound=KeptShell)


class Lanes:
    """Counts channels, keeps idle shells by their kind. Safe for many threads."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._busy = 0
        self._idle: list[KeptShell] = []
        self._closed = False
        self._changed = threading.Condition()

    @contextmanager
    def lane(self, deadline: Deadline) -> Iterator[None]:
        """The right to one channel. Raises TimeoutError."""
        self._take(deadline, None)
        try:
            yield
        finally:
            self._give(None)

    @contextmanager
    def shell(self, kind: type[S], deadline: Deadline, begin: Callable[[], S]) -> Iterator[S]:
        """A shell for one request: an idle one, else a new one. A failed one is not kept."""
        shell = self._take(deadline, kind)
        kept: S | None = None
        try:
            if shell is None:
                shell = begin()
            yield shell
            kept = shell
        finally:
            if kept is None and shell is not None:
                shell.close()
            self._give(kept)

    def spare(self, kind: type[S]) -> S | None:
        """An idle shell to keep, if there is one: nothing is opened, nothing waited for."""
        with self._changed:
            self._sweep()
            return self._pick(kind)

    def keep(self, shell: KeptShell) -> None:
        """Let a shell idle that was begun elsewhere."""
        with self._changed:
            self._idle.append(shell)

    def close(self) -> None:
        """End the idle shells; busy ones end when they are given back."""
        with self._changed:
            self._closed = True
            idle, self._idle = self._idle, []
        for shell in idle:
            shell.close()

    def _take(self, deadline: Deadline, kind: type[S] | None = None) -> S | None:
        leaving: KeptShell | None = None
        try:
            with self._changed:
                while True:
                    self._sweep()
                    idle = self._pick(kind) if kind is not None else None
                    if idle is None and self._busy + len(self._idle) >= self._limit:
                        if not self._idle:
                            self._changed.wait(deadline.need())
                            continue
                        leaving = self._idle.pop(0)
                    self._busy += 1
                    return idle
        finally:
            if leaving is not None:
                leaving.close()

    def _pick(self, kind: type[S]) -> S | None:
        for shell in reversed(self._idle):
            if isinstance(shell, kind):
                self._idle.remove(shell)
                return shell
        return None

    def _sweep(self) -> None:
        for shell in [shell for shell in self._idle if shell.broken]:
            self._idle.remove(shell)
            shell.close()

    def _give(self, shell: KeptShell | None) -> None:
        with self._changed:
            self._busy -= 1
            if shell is not None and not self._closed:
                self._idle.append(shell)
                shell = None
            self._changed.notify()
        if shell is not None:
            shell.close()
