"""How a verb comes by its engine: the composition root, or what a test puts in its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

from drrun.app import App
from drrun.ports import Prompt

Make: TypeAlias = Callable[[Prompt], App]

_MAKE: ContextVar[Make] = ContextVar("make", default=App)


def engine(prompt: Prompt) -> App:
    """The engine of this command line."""
    return _MAKE.get()(prompt)


@contextmanager
def wired_by(make: Make | None) -> Iterator[None]:
    """Wire by `make` for the time of one command line."""
    if make is None:
        yield
        return
    token = _MAKE.set(make)
    try:
        yield
    finally:
        _MAKE.reset(token)
