"""The small values that every layer speaks: names, digests, durations, outcomes, holes.

Rule 1: everything here is frozen and knows nothing of files, clocks or hosts.
Rule 2: one canonical JSON, so that a digest computed anywhere is the digest everywhere.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NewType, NoReturn, TypeAlias

from drrun.errors import NotKnownError, Refused

RunId = NewType("RunId", str)
StepId = NewType("StepId", str)
UnitId = NewType("UnitId", str)
HostName = NewType("HostName", str)
Digest = NewType("Digest", str)

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

VALUE_LIMIT = 64 * 1024
"""Bytes of output that a value may be made of: it is journaled, and handed on to commands."""

PREVIEW = 2000
"""Characters of a command that events and screens carry."""

CONTROLLER = HostName("controller")
"""The machine that drrun runs on, as a host of a step."""

ANYTHING = "*"
"""What a change touches of which nobody can say what it does: all of its host, and the cluster's."""
OPAQUE = "@*"
"""What a fact is about of which nobody can say what it asks: any change may make it another."""


class Effect(StrEnum):
    """How much harm a step can do. Says nothing about whether it may run twice."""

    READ = "read"
    CHANGE = "change"
    DESTROY = "destroy"


class Repeat(StrEnum):
    """Whether a change may be sent again when its result is not known."""

    SAFE = "safe"
    CHECK = "check"
    NEVER = "never"

    def stricter(self, other: Repeat) -> Repeat:
        """The one of the two that allows less."""
        order = list(Repeat)
        return max(self, other, key=order.index)


class Outcome(StrEnum):
    """How a unit ended. `unknown` is neither success nor failure: somebody has to find out."""

    ALREADY = "already"
    CHANGED = "changed"
    SKIPPED = "skipped"
    FAILED = "failed"
    UNKNOWN = "unknown"
    REFUSED = "refused"
    UNDONE = "undone"

    @property
    def good(self) -> bool:
        """True when what needs this unit may go on."""
        return self in {Outcome.ALREADY, Outcome.CHANGED, Outcome.SKIPPED}


class Grade(StrEnum):
    """What a prediction rests on: facts read on the host, the overlay, or nothing."""

    OBSERVED = "observed"
    PREDICTED = "predicted"
    UNKNOWN = "unknown"


def canonical(value: object) -> bytes:
    """`value` as canonical JSON: sorted keys, no blanks, UTF-8. Raises TypeError on non-JSON."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest(value: object) -> Digest:
    """The sha256 of the canonical JSON of `value`, in hex."""
    return Digest(hashlib.sha256(canonical(value)).hexdigest())


_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+)ms)?")


def seconds(text: str) -> float:
    """`1h30m`, `90s`, `2d`, `250ms` as seconds. Raises ValueError, naming the accepted forms."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        raise ValueError(f"{text!r} is not a duration: write 90s, 5m, 1h30m or 2d")
    days, hours, minutes, secs, millis = (float(part or 0) for part in match.groups())
    return days * 86400 + hours * 3600 + minutes * 60 + secs + millis / 1000


def span(value: float) -> str:
    """Seconds as people say them: `0.4s`, `12s`, `3m05s`, `2h10m`."""
    if value < 10:
        return f"{value:.1f}s"
    if value < 60:
        return f"{value:.0f}s"
    minutes, secs = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes}m{secs:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m"


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that never shows itself: str() and repr() give the mask."""

    _value: str = field(repr=False)

    def unmask(self) -> str:
        """The secret itself; only transports and the redactor call this."""
        return self._value

    def __str__(self) -> str:
        return "••••••"

    __repr__ = __str__


class NotKnown:
    """A value that only a run can give: a hole.

    It may be passed on as an argument. Looking at it (truth, text, comparison) raises
    NotKnownError, which ends the prediction of that unit; it is never a silent guess.
    """

    __slots__ = ("origin",)

    def __init__(self, origin: str) -> None:
        self.origin = origin

    def __getattr__(self, name: str) -> NotKnown:
        if name.startswith("__"):
            raise AttributeError(name)
        return NotKnown(f"{self.origin}.{name}")

    def __getitem__(self, key: object) -> NotKnown:
        return NotKnown(f"{self.origin}[{key!r}]")

    def _look(self, *_: object) -> NoReturn:
        raise NotKnownError(f"known after {self.origin}")

    __bool__ = __str__ = __int__ = __float__ = __len__ = __iter__ = __contains__ = _look
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __format__ = _look
    # From either side: `5 - hole` asks the hole, and a TypeError would be taken for a bug.
    __add__ = __sub__ = __mul__ = __truediv__ = __floordiv__ = __mod__ = __divmod__ = _look
    __radd__ = __rsub__ = __rmul__ = __rtruediv__ = __rfloordiv__ = __rmod__ = __rdivmod__ = _look
    __and__ = __or__ = __xor__ = __rand__ = __ror__ = __rxor__ = __lshift__ = __rshift__ = _look
    __neg__ = __abs__ = __round__ = __index__ = __fspath__ = __reversed__ = _look
    __hash__ = _look  # a fact about something not known is no key either

    def __repr__(self) -> str:
        return f"<known after {self.origin}>"


@dataclass(frozen=True, slots=True)
class Predicate:
    """A test on a fact's answer, with words for people. `before` is the answer before the change."""

    text: str
    test: Callable[[Any, Any], bool]

    def holds(self, value: object, before: object = None) -> bool:
        """Whether `value` passes."""
        return self.test(value, before)


CHANGED = Predicate("changed", lambda value, before: value != before)
"""The fact's answer must differ from what it was before the change (a restart's instance id)."""


def satisfies(text: str, test: Callable[[Any], bool]) -> Predicate:
    """A predicate from a function; `text` completes 'must be …'."""
    return Predicate(text, lambda value, _before: bool(test(value)))


@dataclass(frozen=True, slots=True)
class Command:
    """What is sent to a host: either `argv`, or a POSIX sh `text`. Values travel in `env`.

    Text is never templated: a value with a quote or a `$` in it stays a value.
    """

    text: str = ""
    argv: tuple[object, ...] = ()
    env: Mapping[str, object] = field(default_factory=dict)

    def form(self) -> Json:
        """The command with its holes typed: what the digest covers."""
        return {
            "text": self.text,
            "argv": [_form(word) for word in self.argv],
            "env": {name: _form(value) for name, value in self.env.items()},
        }

    @property
    def digest(self) -> Digest:
        """The identity of the command; two commands that differ in a value differ here."""
        return digest(self.form())

    @property
    def preview(self) -> str:
        """One line for people, of at most 2000 characters; `digest` covers all of the command."""
        line = self._line()
        return line if len(line) <= PREVIEW else f"{line[: PREVIEW - 1]}…"

    def _line(self) -> str:
        import shlex

        if self.argv:
            return " ".join(
                repr(word) if isinstance(word, NotKnown) else shlex.quote(str(word))
                for word in self.argv
            )
        lines = [line.strip() for line in self.text.strip().splitlines()]
        first = lines[0] if lines else ""
        if first.startswith("#"):
            first = first.lstrip("# ")  # the script says what it does: its lines are no news
        elif len(lines) > 1:
            first = f"{first} … ({len(lines)} lines)"
        given = {n: v for n, v in self.env.items() if not isinstance(v, str) or v}
        shown = " ".join(f"{name}={value!r}" for name, value in given.items())
        return f"{first}  {shown}".rstrip()

    def script(self) -> bytes:
        """The bytes for `/bin/sh`. Raises NotKnownError on a hole, Refused on a NUL byte."""
        import shlex

        head = "".join(
            f"export {name}={shlex.quote(str(value))}\n" for name, value in self.env.items()
        )
        body = self.text if not self.argv else "exec " + shlex.join(str(w) for w in self.argv)
        text = f"{head}{body}\n"
        if "\0" in text:
            raise Refused(
                f"a command holds a NUL byte, which no shell can carry: {self.preview[:60]!r}",
                hint="put binary data into a file, and copy that",
            )
        return text.encode()


def sh(text: str, /, **env: object) -> Command:
    """A POSIX sh script; values go in as environment variables, never by templating."""
    return Command(text=text, env=env)


def argv(*words: object) -> Command:
    """One program and its arguments; nothing is ever expanded by a shell."""
    return Command(argv=words)


def _form(value: object) -> Json:
    if isinstance(value, NotKnown):
        return {"known_after": value.origin}
    if isinstance(value, Secret):
        return {"secret": True}
    return str(value)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a command gave back. `exit` is None when the line broke before it was known."""

    exit: int | None
    stdout: bytes
    stderr: bytes
    truncated: bool = False

    @property
    def text(self) -> str:
        """The output as text; bytes that are not UTF-8 are shown, never raised on."""
        return self.stdout.decode("utf-8", "backslashreplace")

    @property
    def complaint(self) -> str:
        """The last words on stderr, else on stdout: what an operator wants to see."""
        for stream in (self.stderr, self.stdout):
            lines = stream[-4096:].decode("utf-8", "backslashreplace").strip().splitlines()
            if lines:
                return lines[-1]
        return ""
