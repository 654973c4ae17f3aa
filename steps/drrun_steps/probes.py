"""Facts that several step types ask: a read-only command, and what a URL answers."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import ClassVar

from drrun.spi import OPAQUE, Command, Fact, Predicate, Reply, satisfies, sh

_CURL = r"""
command -v curl >/dev/null || { echo 'no curl on this host' >&2; exit 127; }
env -i PATH="$PATH" curl --silent --show-error --noproxy '*' --max-time 10 \
  ${CACERT:+--cacert "$CACERT"} ${INSECURE:+--insecure} --write-out '\n%{http_code}' -- "$URL"
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a URL answered. `status` is 0 when nothing did, and `why` says why."""

    status: int
    body: str = ""
    """Its first 4096 characters."""
    why: str = ""


@dataclass(frozen=True, slots=True)
class HttpAnswer(Fact[Answer]):
    """The answer of a URL to a plain GET, asked from this host, past any proxy."""

    name: ClassVar[str] = "http.answer"
    url: str
    cacert: str = ""
    insecure: bool = False

    def about(self) -> tuple[str, ...]:
        """The URL; any service may be behind it."""
        return (f"@url:{self.url}", OPAQUE)

    def ask(self) -> Command:
        """curl, with a clean environment."""
        insecure = "1" if self.insecure else ""
        return sh(_CURL, URL=self.url, CACERT=self.cacert, INSECURE=insecure)

    def parse(self, reply: Reply) -> Answer:
        """Not answering is an answer."""
        body, _, status = reply.text.rpartition("\n")
        if reply.exit != 0 or not status.isdigit():
            return Answer(0, why=reply.complaint[:300])
        return Answer(int(status), body[:4096])


def answers(status: int, body: str) -> Predicate:
    """The predicate for an answer with this status, and this text in its body."""
    words = f"status {status}" + (f" with {body!r} in its body" if body else "")
    return satisfies(words, lambda found: found.status == status and body in found.body)


def text_of(reply: Reply) -> str:
    """Stdout as a value: text, without blanks around it."""
    return reply.text.strip()


@dataclass(frozen=True, slots=True)
class CommandCheck(Fact[bool]):
    """Whether a read-only command ends with 0. It must change nothing: a dry-run runs it too."""

    name: ClassVar[str] = "command.check"
    argv: tuple[str, ...]

    def about(self) -> tuple[str, ...]:
        """Its own words, which the step that it checks sets; and nobody knows what it asks."""
        return (f"check:{' '.join(self.argv)}", OPAQUE)

    def ask(self) -> Command:
        """The command itself; what it says on stdout is nobody's answer."""
        return sh(f"exec {shlex.join(str(word) for word in self.argv)} >/dev/null")

    def parse(self, reply: Reply) -> bool:
        """Its exit."""
        return reply.exit == 0
