"""The person at the terminal, if there is one."""

from __future__ import annotations

import getpass
import os
import select
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from drrun.errors import Waiting
from drrun.execute.follow import Detached
from drrun.ports import Question
from drrun.report.words import safe

STEP = 0.2
"""Seconds between two looks at whether the run is asked to stop."""


@dataclass
class TerminalPrompt:
    """`drrun.ports.Prompt` on standard input and error, one question at a time."""

    allowed: bool = True
    stop: threading.Event = field(default_factory=threading.Event)
    paused: Callable[[], AbstractContextManager[None]] = nullcontext
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def present(self) -> bool:
        """Whether somebody can see a question and answer it."""
        return self.allowed and sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()

    @property
    def who(self) -> str:
        """The account that answers."""
        return os.environ.get("SUDO_USER") or getpass.getuser()

    def ask(self, question: Question) -> str:
        """The answer. Raises Waiting when the terminal ends, Detached when the run is to stop."""
        try:
            return self._answer(question)
        except (OSError, ValueError) as error:
            raise _gone("the terminal is gone") from error

    def _answer(self, question: Question) -> str:
        with self._lock, self.paused():
            choices = f" [{'/'.join(question.choices)}]"
            if question.expect:
                told = question.expect in question.text
                choices = "" if told else f" [type: {question.expect}]"
            while True:
                said = self._line(f"{safe(question.text)}{choices} ")
                if question.expect or said in question.choices:
                    return said
                sys.stderr.write(f"answer one of: {', '.join(question.choices)}\n")

    def _line(self, text: str) -> str:
        sys.stderr.write(f"\a{text}")
        sys.stderr.flush()
        while not select.select([sys.stdin], [], [], STEP)[0]:
            if self.stop.is_set():
                raise Detached
        said = sys.stdin.readline()
        if not said:
            raise _gone("the input ended before an answer")
        return said.strip()


def _gone(why: str) -> Waiting:
    return Waiting(why, hint="`drrun resume` asks again")
