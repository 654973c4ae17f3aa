"""The few channels that one connection may have open at once, and the agents that idle on them.

sshd allows ten sessions a connection, and a closed one counts until its command has ended; so a
line keeps to four, agents included. An idle agent gives way to whoever needs a channel.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from drrun.transport.agent import AgentShell
from drrun.transport.deadline import Deadline

LIMIT = 4


class Lanes:
    """Counts channels, keeps idle agents. Safe for many threads."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._busy = 0
        self._idle: list[AgentShell] = []
        self._closed = False
        self._changed = threading.Condition()

    @contextmanager
    def lane(self, deadline: Deadline) -> Iterator[None]:
        """The right to one channel. Raises TimeoutError."""
        self._take(deadline)
        try:
            yield
        finally:
            self._give(None)

    @contextmanager
    def agent(self, deadline: Deadline, begin: Callable[[], AgentShell]) -> Iterator[AgentShell]:
        """An agent for one request: an idle one, else a new one. A failed one is not kept."""
        agent = self._take(deadline, with_agent=True)
        kept: AgentShell | None = None
        try:
            if agent is None:
                agent = begin()
            yield agent
            kept = agent
        finally:
            if kept is None and agent is not None:
                agent.close()
            self._give(kept)

    def spare(self) -> AgentShell | None:
        """An idle agent to keep, if there is one: nothing is opened, nothing waited for."""
        with self._changed:
            self._sweep()
            return self._idle.pop() if self._idle else None

    def close(self) -> None:
        """End the idle agents; busy ones end when they are given back."""
        with self._changed:
            self._closed = True
            idle, self._idle = self._idle, []
        for agent in idle:
            agent.close()

    def _take(self, deadline: Deadline, *, with_agent: bool = False) -> AgentShell | None:
        leaving: AgentShell | None = None
        try:
            with self._changed:
                while True:
                    self._sweep()
                    if with_agent and self._idle:
                        self._busy += 1
                        return self._idle.pop()
                    if self._busy + len(self._idle) < self._limit:
                        self._busy += 1
                        return None
                    if self._idle:
                        leaving = self._idle.pop(0)
                        self._busy += 1
                        return None
                    self._changed.wait(deadline.need())
        finally:
            if leaving is not None:
                leaving.close()

    def _sweep(self) -> None:
        for agent in [agent for agent in self._idle if agent.broken]:
            self._idle.remove(agent)
            agent.close()

    def _give(self, agent: AgentShell | None) -> None:
        with self._changed:
            self._busy -= 1
            if agent is not None and not self._closed:
                self._idle.append(agent)
                agent = None
            self._changed.notify()
        if agent is not None:
            agent.close()
