"""Reading facts: one script for a batch, framed so that any bytes come through, parsed here."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from drrun.errors import StepFailed
from drrun.execute.follow import Detached
from drrun.execute.hosts import Hosts
from drrun.ports import Clock, Line
from drrun.spi import Fact, Look
from drrun.values import HostName, Json, Reply

POLL = 0.2
"""Seconds between two readings of a fact that is waited for."""


def ask_facts(line: Line, facts: Sequence[Fact[Any]]) -> list[Json]:
    """The facts' answers as JSON, in one round trip.

    Raises StepFailed when an answer makes no sense, ConnectError's kinds when the line fails.
    """
    asked = [fact for fact in facts if not isinstance(fact, Look)]
    replies = iter(_replies(line, asked))
    return [
        _look(line, fact) if isinstance(fact, Look) else _parsed(line, fact, next(replies))
        for fact in facts
    ]


def ask_each(hosts: Hosts, names: Sequence[HostName], fact: Fact[Any]) -> dict[HostName, Json]:
    """One fact of many hosts, asked at once."""
    with ThreadPoolExecutor(max_workers=min(len(names), 8) or 1) as pool:
        found = pool.map(lambda name: ask_facts(hosts.line(name), [fact])[0], names)
        return dict(zip(names, found, strict=True))


def ask_all(
    hosts: Hosts, questions: Sequence[tuple[Sequence[HostName], Fact[Any]]]
) -> list[dict[HostName, Json]]:
    """Several facts, each of its hosts: one round trip a host, all hosts at once."""
    facts: dict[HostName, list[Fact[Any]]] = {}
    for names, fact in questions:
        for name in names:
            facts.setdefault(name, []).append(fact)
    with ThreadPoolExecutor(max_workers=min(len(facts), 8) or 1) as pool:
        answers = pool.map(lambda name: ask_facts(hosts.line(name), facts[name]), facts)
        said = {name: iter(found) for name, found in zip(facts, answers, strict=True)}
    return [{name: next(said[name]) for name in names} for names, _ in questions]


@dataclass(slots=True)
class Remembering:
    """Asks each host each fact once: in a dry-run nothing changes what it saw."""

    hosts: Hosts
    _seen: dict[tuple[HostName, str], Json] = field(default_factory=dict)

    def __call__(self, host: HostName, facts: Sequence[Fact[Any]]) -> list[Json]:
        """The answers, new or remembered."""
        new = [fact for fact in facts if (host, fact.key) not in self._seen]
        if new:
            answers = ask_facts(self.hosts.line(host), new)
            self._seen.update({(host, f.key): a for f, a in zip(new, answers, strict=True)})
        return [self._seen[(host, fact.key)] for fact in facts]


def until(
    line: Line,
    fact: Fact[Any],
    good: Callable[[Any], bool],
    *,
    within: float,
    clock: Clock,
    stop: threading.Event,
    hopeless: Fact[str] | None = None,
) -> Any:
    """The fact's answer as soon as it is good, else the last one when `within` seconds are over.

    Raises StepFailed as soon as `hopeless`, read beside it, says why it will never be good, and
    Detached when the controller is asked to leave meanwhile.
    """
    end = clock.monotonic() + within
    facts = [fact] if hopeless is None else [fact, hopeless]
    while True:
        answer, *said = ask_facts(line, facts)
        value = fact.answers.validate_python(answer)
        if good(value):
            return value
        if said and said[0]:
            raise StepFailed(
                f"{line.host}: {said[0]}", hint="see why on the host, then `drrun resume`"
            )
        if clock.monotonic() >= end:
            return value
        if stop.is_set():
            raise Detached
        clock.wait(POLL)


def short(value: Json) -> str:
    """An answer for a message."""
    text = str(value)
    return text if len(text) <= 160 else text[:157] + "…"


def _replies(line: Line, facts: Sequence[Fact[Any]]) -> Sequence[Reply]:
    if not facts:
        return ()
    timeout = max(fact.timeout for fact in facts)
    scripts = [fact.ask().script() for fact in facts]
    if len(scripts) == 1:
        return [_whole(line, facts, line.ask(scripts[0], timeout=timeout))]
    mark = "drrun-" + hashlib.sha256(b"\0".join(scripts)).hexdigest()[:24]
    parts = [
        b"(\n%s)\nd=$?; printf '\\n%%s %%d\\n' %s $d; printf '\\n%%s\\n' %s >&2\n"
        % (script, mark.encode(), mark.encode())
        for script in scripts
    ]
    reply = _whole(line, facts, line.ask(b"".join(parts), timeout=timeout))
    return _split(reply, mark.encode(), len(scripts))


def _whole(line: Line, facts: Sequence[Fact[Any]], reply: Reply) -> Reply:
    """The reply, if all of it came: of a part, nobody could tell what it leaves out."""
    if not reply.truncated:
        return reply
    asked = short(", ".join(fact.key for fact in facts))
    raise StepFailed(
        f"{line.host}: the answer to {asked} is larger than {len(reply.stdout) >> 20} MiB",
        hint="a fact's command prints what it is asked for, and no more",
    )


def _split(reply: Reply, mark: bytes, count: int) -> Sequence[Reply]:
    """Cut the two streams at the marks. A missing mark means that the shell itself died."""
    replies, rest = [], reply.stdout
    errors = reply.stderr.split(b"\n" + mark + b"\n")
    for index in range(count):
        body, found, rest = rest.partition(b"\n" + mark + b" ")
        code, _, rest = rest.partition(b"\n")
        stderr = errors[index] if index < len(errors) else b""
        replies.append(Reply(int(code) if found else reply.exit, body, stderr, reply.truncated))
    return replies


def _parsed(line: Line, fact: Fact[Any], reply: Reply) -> Json:
    try:
        answer: Json = fact.answers.dump_python(fact.parse(reply), mode="json")
    except (ValueError, LookupError) as error:
        raise StepFailed(
            f"{line.host}: {short(fact.key)} cannot be read: {error}",
            hint=f"the host said: {reply.complaint}" if reply.complaint else "",
        ) from error
    return answer


def _look(line: Line, fact: Look[Any]) -> Json:
    try:
        answer: Json = fact.answers.dump_python(fact.look(), mode="json")
    except (ValueError, OSError) as error:
        raise StepFailed(f"{line.host}: {short(fact.key)} cannot be read: {error}") from error
    return answer
