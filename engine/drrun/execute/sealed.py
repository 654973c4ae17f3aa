"""A sealed plan: what a dry-run found, with all that it rests on, as lines of text and one digest.

Rule 1: it is never executed. Applying plans anew and compares: a forged file can refuse, not act.
Rule 2: it never holds a secret. Vars are masked (`drrun.plan.mask`), a command's secrets are holes,
and a `Secret` anywhere else cannot be written: canonical JSON knows no such thing.

A file is lines of canonical JSON: a head, what was planned, one line a unit and a fact, and last
the seal, which is the sha256 of every byte before it and the digest of the plan.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from drrun.errors import PlanDamaged, Refused, UsageError
from drrun.execute.dry import Forecast, UnitForecast
from drrun.execute.forecast import Guarded, Predicted
from drrun.execute.observed import Observed
from drrun.plan.plan import Plan
from drrun.values import Digest, Grade, HostName, Json, RunId, canonical

FORMAT = 1
KIND = "drrun.plan"
NOT_YET = Digest("")
PROMISE = (
    "Given unchanged facts and successful steps: these changes, in this order; deviations are "
    "reported. Values that only a run can give stand as `known after`. It does not prove that a "
    "restore will work: --stage does."
)
"""What a plan promises, and what it does not (hazard H17)."""

Record: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """The command line that a plan answers: enough to plan again."""

    runbook: str
    """A file's absolute path, or the name of a stock runbook."""
    inventory: str
    answers: Mapping[str, str]
    limit: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed plan. The forecast's plan is masked: it is compared and shown, and never run."""

    at: str
    """When it was sealed, in UTC."""
    by: str
    controller: str
    salt: str
    asked: Asked
    inventory: Mapping[str, Json]
    code: Mapping[str, str]
    """drrun and each package of step types: version and digest of the code."""
    keys: Mapping[HostName, str]
    """Each host's key, as a connection must show it."""
    forecast: Forecast
    digest: Digest = NOT_YET
    """The seal; known when it was written or read."""
    approved: tuple[str, ...] = ()
    """Whose approvals were proved before it is applied; never in the file."""

    @property
    def run(self) -> RunId:
        """The run that this plan is, once: hosts and stores know it by that name."""
        return self.forecast.plan.run

    def text(self) -> bytes:
        """The file. Raises Refused when a secret would be in it."""
        try:
            body = b"".join(canonical(record) + b"\n" for record in self._records())
        except TypeError as error:
            raise Refused(
                f"this plan would hold something that is no plain value: {error}; a plan is passed "
                "on, and never holds a secret",
                hint="run it without --out",
            ) from error
        return body + canonical({"type": "seal", "sha256": _sum(body)}) + b"\n"

    def sealed(self) -> Sealed:
        """The same, with the digest of its text."""
        return decode(self.text(), str(self.run))

    def _records(self) -> Iterator[Record]:
        asked = dataclasses.asdict(self.asked)
        yield {
            "type": KIND,
            "format": FORMAT,
            "run": self.run,
            "name": self.forecast.plan.name,
            "title": self.forecast.plan.title,
            "at": self.at,
            "by": self.by,
            "controller": self.controller,
            "salt": self.salt,
            "asked": asked,
            "promise": PROMISE,
        }
        yield {"type": "inventory", **self.inventory}
        yield {"type": "code", "code": dict(self.code)}
        yield {"type": "host-keys", "keys": dict(self.keys)}
        yield {"type": "plan", "plan": self.forecast.plan.to_json()}
        yield from ({"type": "unit", **dataclasses.asdict(u)} for u in self.forecast.units)
        yield from ({"type": "fact", **dataclasses.asdict(f)} for f in self.forecast.facts)


def decode(content: bytes, where: str) -> Sealed:
    """A file's content as a plan.

    Raises UsageError on a file that is none, Refused on one of a newer drrun, PlanDamaged on one
    that was changed or cut short after it was sealed.
    """
    head = _head(content, where)
    if head["format"] != FORMAT:
        raise Refused(
            f"{where} is a sealed plan of format {head['format']}, this drrun reads {FORMAT}",
            hint="use the version of drrun that sealed it, or seal a new plan",
        )
    body, _, last = content.removesuffix(b"\n").rpartition(b"\n")
    body += b"\n"
    if last != canonical({"type": "seal", "sha256": _sum(body)}) or not content.endswith(b"\n"):
        raise PlanDamaged(
            f"{where} was changed or cut short after it was sealed: its seal does not fit",
            hint="ask for the file again, or seal a new plan",
        )
    try:
        return _revive([json.loads(line) for line in body.splitlines()], _sum(body))
    except (LookupError, ValueError, TypeError) as error:
        raise PlanDamaged(
            f"{where} is sealed, but does not read as a plan: {type(error).__name__} {error}",
            hint="seal a new plan",
        ) from error


def is_plan(content: bytes) -> bool:
    """Whether a file's content begins as a sealed plan's."""
    try:
        head = json.loads(content.partition(b"\n")[0])
    except ValueError:
        return False
    return isinstance(head, dict) and head.get("type") == KIND and "format" in head


def _head(content: bytes, where: str) -> Record:
    if not is_plan(content):
        raise UsageError(
            f"{where} is no sealed plan",
            hint="one is made by: drrun RUNBOOK --dry-run --out FILE",
        )
    head: Record = json.loads(content.partition(b"\n")[0])
    return head


def _sum(body: bytes) -> Digest:
    return Digest(hashlib.sha256(body).hexdigest())


def _revive(records: Sequence[Record], digest: Digest) -> Sealed:
    head, inventory, code, keys, plan = records[:5]
    kinds = ["inventory", "code", "host-keys", "plan"]
    if [record["type"] for record in (inventory, code, keys, plan)] != kinds:
        raise ValueError("its records are out of order")
    units = tuple(_unit(record) for record in records if record["type"] == "unit")
    facts = tuple(Observed(**_body(record)) for record in records if record["type"] == "fact")
    asked = head["asked"]
    return Sealed(
        at=head["at"],
        by=head["by"],
        controller=head["controller"],
        salt=head["salt"],
        asked=Asked(asked["runbook"], asked["inventory"], asked["answers"], tuple(asked["limit"])),
        inventory=_body(inventory),
        code=code["code"],
        keys=keys["keys"],
        forecast=Forecast(Plan.from_json(plan["plan"]), units, facts=facts),
        digest=digest,
    )


def _body(record: Record) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "type"}


def _unit(record: Record) -> UnitForecast:
    fields = _body(record)
    changes = [
        {
            **change,
            "sets": tuple(tuple(pair) for pair in change["sets"]),
            "tests": tuple(change.get("tests", ())),
        }
        for change in fields["changes"]
    ]
    return UnitForecast(
        **{
            **fields,
            "hosts": tuple(fields["hosts"]),
            "grade": Grade(fields["grade"]),
            "changes": tuple(Predicted(**change) for change in changes),
            "asked": tuple((host, fact) for host, fact in fields["asked"]),
            "unchecked": tuple(fields["unchecked"]),
            "notes": tuple(fields["notes"]),
            "guards": tuple(Guarded(**guard) for guard in fields["guards"]),
        }
    )
