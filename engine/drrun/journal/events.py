"""What happened: the frozen events of one run, and their JSON.

Rule 1: an event is never edited or removed; a new meaning is a new field with a default, or a new
event, and drrun reads every event that any released version wrote.
Rule 2: bodies are plain JSON, so that an auditor needs no drrun to read them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from drrun.errors import JournalDamaged
from drrun.values import Digest, HostName, Json, Outcome, RunId, UnitId


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted:
    """The first event. From here on the plan file is all that a resume needs."""

    type: ClassVar[str] = "run.started"
    run: RunId
    plan: Digest
    runbook: str
    inventory: str
    operator: str
    controller: str
    version: str
    argv: tuple[str, ...] = ()
    sealed: str = ""
    """The seal of the plan that was applied; empty when none was."""
    approved: tuple[str, ...] = ()
    """Whose approvals of that plan were proved before it was applied."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunAttached:
    """A controller took the run up (first start, resume or takeover) with a new epoch."""

    type: ClassVar[str] = "run.attached"
    epoch: int
    operator: str
    controller: str
    pid: int
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostsHeld:
    """These hosts obey this controller from here on.

    `tiers`: what each one's jobs outlive, `session` the line alone, `scope` the log-in's session as well.
    """

    type: ClassVar[str] = "hosts.held"
    tiers: Mapping[HostName, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDetached:
    """The controller left in good order; jobs on hosts go on."""

    type: ClassVar[str] = "run.detached"
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished:
    """Nothing is left to do. `status` is one of done, failed, refused, waiting, undone, undo-failed, resting, void."""

    type: ClassVar[str] = "run.finished"
    status: str
    exit_code: int
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoStarted:
    """From here on the run goes backwards."""

    type: ClassVar[str] = "undo.started"
    why: str
    operator: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitStarted:
    """A unit's attempt begins. `undo` is true when it is being undone."""

    type: ClassVar[str] = "unit.started"
    unit: UnitId
    attempt: int
    undo: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """An ordinal of a unit was answered without changing anything.

    `kind` is read, require, choose, ask or skip (a conditional change not needed). `name` and
    `asked` (a digest) identify the question: a replay that finds another one stops.
    """

    type: ClassVar[str] = "unit.answered"
    unit: UnitId
    attempt: int
    ordinal: int
    kind: str
    name: str
    asked: Digest
    answers: Mapping[str, Json]
    undo: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeIntended:
    """A change is about to be sent. On disk before the first byte leaves."""

    type: ClassVar[str] = "change.intended"
    unit: UnitId
    attempt: int
    ordinal: int
    name: str
    host: HostName
    asked: Digest
    token: str
    epoch: int
    boot_id: str
    preview: str
    before: Mapping[str, Json] = field(default_factory=dict)
    undo: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeFinished:
    """The host's word on a change. `code` is the command's exit; output is in files, by digest.

    `out_size`, `err_size`: bytes that were kept of each stream; `out_cut`, `err_cut`: the command
    printed more than that, and nobody has the rest.
    """

    type: ClassVar[str] = "change.finished"
    unit: UnitId
    attempt: int
    ordinal: int
    name: str
    host: HostName
    token: str
    code: int
    stdout: Digest
    stderr: Digest
    out_size: int
    err_size: int
    result: Json = None
    after: Mapping[str, Json] = field(default_factory=dict)
    complaint: str = ""
    seconds: float = 0.0
    undo: bool = False
    out_cut: bool = False
    err_cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeLost:
    """What became of a change cannot be known. Somebody or some check has to say."""

    type: ClassVar[str] = "change.lost"
    unit: UnitId
    attempt: int
    ordinal: int
    name: str
    host: HostName
    token: str
    why: str
    undo: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """A verdict on a lost change: by a person, a check, or a policy."""

    type: ClassVar[str] = "change.resolved"
    unit: UnitId
    host: HostName
    verdict: str
    by: str
    why: str
    undo: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFenced:
    """A person's word that a host cannot act any more: from here on the run goes on without it."""

    type: ClassVar[str] = "host.fenced"
    host: HostName
    method: str
    reason: str
    by: str

    @property
    def words(self) -> str:
        """`power: PDU 3 outlet 4 is off; ann`."""
        return f"{self.method}: {self.reason}; {self.by}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """A line for the operator and the report."""

    type: ClassVar[str] = "unit.noted"
    unit: UnitId
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A figure for the score."""

    type: ClassVar[str] = "unit.measured"
    unit: UnitId
    name: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitFinished:
    """A unit's attempt ended. `unreached`: not the step failed, a host could not be reached.

    `unproved`: of an undo, what it could not prove yet. Each has `host`, `fact` and `args`, `must`, `because`,
    `hint` and `found`; it is asked again at the end, which the unit's next such event tells.
    """

    type: ClassVar[str] = "unit.finished"
    unit: UnitId
    attempt: int
    outcome: Outcome
    why: str = ""
    hint: str = ""
    outputs: Mapping[str, Json] = field(default_factory=dict)
    undo: bool = False
    seconds: float = 0.0
    unreached: bool = False
    unproved: tuple[Mapping[str, Json], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSilent:
    """A host that answered before does not any more; it is asked again for `patience` seconds."""

    type: ClassVar[str] = "host.silent"
    host: HostName
    why: str
    patience: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HostHeard:
    """A silent host answers again, after `seconds`."""

    type: ClassVar[str] = "host.heard"
    host: HostName
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageForeseen:
    """What the outage will wait for was asked, before `unit` takes the first thing away.

    An answer has `name`, `host`, `steps`, `fact`, `found`, `must`, `because`, `hint` and `standing`: good, bad (the
    unit is refused), accepted (by name), told (wrong, and not in the way) or down (not asked).
    """

    type: ClassVar[str] = "outage.foreseen"
    unit: UnitId
    answers: tuple[Mapping[str, Json], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PointOfNoReturn:
    """The first change of the step that cannot be gone back on is about to be sent."""

    type: ClassVar[str] = "run.point-of-no-return"
    unit: UnitId


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalTrimmed:
    """The last record had been cut short by a crash; what there was of it was taken away.

    Nobody waited for it, so nothing was done that it announces. `size` is in bytes; `text` is their
    beginning, in which what is no UTF-8 is spelt out.
    """

    type: ClassVar[str] = "journal.trimmed"
    size: int
    text: str


Event: TypeAlias = (
    RunStarted
    | RunAttached
    | HostsHeld
    | RunDetached
    | RunFinished
    | UndoStarted
    | UnitStarted
    | Answered
    | ChangeIntended
    | ChangeFinished
    | ChangeLost
    | Resolved
    | HostFenced
    | Noted
    | Measured
    | UnitFinished
    | HostSilent
    | HostHeard
    | OutageForeseen
    | PointOfNoReturn
    | JournalTrimmed
)

EVENTS: Mapping[str, type[Event]] = {
    kind.type: kind
    for kind in (
        RunStarted,
        RunAttached,
        HostsHeld,
        RunDetached,
        RunFinished,
        UndoStarted,
        UnitStarted,
        Answered,
        ChangeIntended,
        ChangeFinished,
        ChangeLost,
        Resolved,
        HostFenced,
        Noted,
        Measured,
        UnitFinished,
        HostSilent,
        HostHeard,
        OutageForeseen,
        PointOfNoReturn,
        JournalTrimmed,
    )
}


def body(event: Event) -> dict[str, Json]:
    """The event's fields as plain JSON."""
    return {f.name: getattr(event, f.name) for f in dataclasses.fields(event)}


def revive(kind: str, fields: Mapping[str, Json]) -> Event:
    """The event again. Raises JournalDamaged on a kind or a field that this version cannot read."""
    maker = EVENTS.get(kind)
    if maker is None:
        raise JournalDamaged(
            f"the journal holds an event {kind!r} that this version does not know",
            hint="read it with the version of drrun that wrote it, or a newer one",
        )
    known = {f.name for f in dataclasses.fields(maker)}
    values = {name: value for name, value in fields.items() if name in known}
    if "outcome" in values:
        values["outcome"] = Outcome(str(values["outcome"]))
    for name in ("argv", "unproved"):
        if isinstance(listed := values.get(name), list):
            values[name] = tuple(listed)
    try:
        return maker(**values)  # type: ignore[arg-type]
    except TypeError as error:
        raise JournalDamaged(f"the journal's event {kind!r} is incomplete: {error}") from error
