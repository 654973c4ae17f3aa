"""Every error that drrun raises, what it blames, and what to do next.

    DrrunError
    ├── UsageError            exit 2   the command line asked for something that is not there
    ├── AuthorError           exit 3   the runbook or the inventory is wrong (carries every Diagnostic)
    ├── ConnectError          exit 4   a host could not be reached, or would not let us in
    │   ├── Unreachable                no route, refused, timed out, handshake broke
    │   ├── HostKeyError               unknown, changed or revoked host key
    │   ├── AuthError                  no key or password was accepted
    │   └── BecomeError                logged in, but may not act as root
    ├── Refused               exit 5   drrun will not do this: a rule, a lock, a verdict, a gate
    │   ├── Fenced                     another controller holds these hosts by a higher epoch
    │   ├── Stale                      what a sealed plan, or a run to resume, rests on has moved
    │   └── PlanDamaged                a sealed plan was changed or cut short after it was sealed
    ├── Waiting               exit 6   nothing is wrong, a person has to speak first
    │   └── Unknown                    what became of a change cannot be known from here
    ├── StepFailed            exit 1   a step ran and did not reach its end; the run can be resumed
    │   ├── NotKnownError              a prediction needed a value that only a run can give
    │   └── TooLarge                   a change was made, but printed too much to make a value of
    ├── UndoFailed            exit 9   undoing failed: hands on
    ├── StoreError            exit 10  the journal or the disk under it
    │   ├── JournalDamaged             a record in the middle does not verify
    │   └── TakenOver         exit 5   another controller writes this run's journal now
    └── LabError              exit 1   the rehearsal lab could not do what was asked

Rule 1: a message says what happened and where; `hint` says the next move.
Rule 2: foreign exceptions are turned into one of these at the seam they cross, with `from`.
"""

from __future__ import annotations

from typing import ClassVar


class DrrunError(Exception):
    """The root. `hint` is the next move, in words an operator can act on at 3 a.m."""

    exit_code: ClassVar[int] = 70

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.hint), self.__dict__)


def _rebuild(kind: type[DrrunError], message: str, hint: str) -> DrrunError:
    """Unpickle: keyword-only arguments do not survive the default protocol."""
    error = kind.__new__(kind)
    DrrunError.__init__(error, message, hint=hint)
    return error


class UsageError(DrrunError):
    """The command line asked for something that is not there."""

    exit_code = 2


class AuthorError(DrrunError):
    """The runbook or the inventory is wrong; `diagnostics` holds every mistake found."""

    exit_code = 3

    def __init__(
        self, message: str, *, hint: str = "", diagnostics: tuple[object, ...] = ()
    ) -> None:
        super().__init__(message, hint=hint)
        self.diagnostics = diagnostics


class ConnectError(DrrunError):
    """A host could not be reached, or would not let us in. Nothing was sent to it."""

    exit_code = 4


class Unreachable(ConnectError):
    """No route, refused, timed out, or the line broke."""


class HostKeyError(ConnectError):
    """The host key is unknown, changed or revoked. Never ignored."""


class AuthError(ConnectError):
    """No key was accepted."""


class BecomeError(ConnectError):
    """Logged in, but may not act as root."""


class Refused(DrrunError):
    """drrun will not do this, and says why before anything changes."""

    exit_code = 5


class Fenced(Refused):
    """Another controller took these hosts by a higher epoch."""


class Stale(Refused):
    """What a sealed plan, or a run that is to be resumed, rests on has moved.

    `findings` are the things that moved, a line each, in the words of the message.
    """

    def __init__(self, message: str, *, hint: str = "", findings: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.findings = findings


class PlanDamaged(Refused):
    """A sealed plan was changed or cut short after it was sealed."""


class Waiting(DrrunError):
    """A person has to speak first."""

    exit_code = 6


class Unknown(Waiting):
    """What became of a change cannot be known from here; nobody guesses."""


class StepFailed(DrrunError):
    """A step ran and did not reach its end. The run can be resumed."""

    exit_code = 1


class NotKnownError(StepFailed):
    """A prediction came to a value that only a run can give."""


class TooLarge(StepFailed):
    """A change was made, but printed more than a value is made of. Its output is kept."""


class UndoFailed(DrrunError):
    """Undoing failed. Hands on."""

    exit_code = 9


class StoreError(DrrunError):
    """The journal, or the disk under it."""

    exit_code = 10


class JournalDamaged(StoreError):
    """A record in the middle of a journal does not verify."""


class TakenOver(StoreError):
    """Another controller took the run over: this one must not write, nor act, any more."""

    exit_code = 5


class LabError(DrrunError):
    """The rehearsal lab could not do what was asked."""

    exit_code = 1
