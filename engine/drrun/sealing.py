"""Sealing a plan, and coming back to it: is all that it rests on still so?

A plan is never executed. It is planned again from the same runbook, inventory and inputs, dry-run
again on the same hosts, and compared with what was sealed; what runs is the plan of now.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from drrun import __version__
from drrun.app import App
from drrun.errors import AuthorError, Refused, Stale, UsageError
from drrun.execute.compare import Comparison, Finding, compare
from drrun.execute.dry import Forecast
from drrun.execute.sealed import Asked, Sealed
from drrun.lang.inventory import load_inventory
from drrun.model.inventory import Inventory
from drrun.places import find_runbook, operator
from drrun.plan.diff import MISSING, Difference, differences, step_drifts
from drrun.plan.mask import masked_inventory, masked_plan
from drrun.plan.plan import Plan
from drrun.registry import code_digest
from drrun.report.drift import finding_lines, finding_text, step_details
from drrun.transport.routes import Transports
from drrun.values import CONTROLLER, HostName


@dataclass(frozen=True, slots=True)
class Reviewed:
    """A sealed plan that was planned and dry-run again, and may be applied."""

    sealed: Sealed
    plan: Plan
    forecast: Forecast
    comparison: Comparison


def asked(
    plan: Plan, runbook: str, inventory: Path, answers: Mapping[str, str], limit: tuple[str, ...]
) -> Asked:
    """What a plan answers, in words that mean the same from any folder."""
    book = find_runbook(runbook)
    stock = not Path(runbook).exists()
    files = {name: str(plan.inputs[name]) for name in plan.files if name in answers}
    return Asked(
        runbook=runbook if stock else str(book.resolve()),
        inventory=os.path.abspath(inventory),  # noqa: PTH100 - a link is followed when it is read
        answers={**answers, **files},
        limit=limit,
    )


def seal(app: App, forecast: Forecast, question: Asked) -> Sealed:
    """Seal what a dry-run found. Raises Refused where a run would be, HostKeyError, UsageError."""
    if forecast.offline:
        raise UsageError(
            "a plan that asked no host says nothing that could be sealed",
            hint="leave --offline out",
        )
    if forecast.refusals:
        raise Refused("not sealed: a run would be refused", hint=forecast.refusals[0].hint)
    plan, salt = forecast.plan, secrets.token_hex(16)
    inventory = load_inventory(Path(question.inventory))
    sealed = Sealed(
        at=datetime.now(UTC).isoformat(timespec="seconds"),
        by=operator(),
        controller=socket.gethostname(),
        salt=salt,
        asked=question,
        inventory=masked_inventory(inventory, salt),
        code=code_of(app, plan),
        keys=host_keys(app, plan),
        forecast=dataclasses.replace(forecast, plan=masked_plan(plan, salt)),
    )
    return sealed.sealed()


def code_of(app: App, plan: Plan) -> Mapping[str, str]:
    """The version and the digest of the code that a plan was made with: drrun and its plugins."""
    facts = {guard.fact.name for unit in plan.units for guard in unit.guards}
    facts |= {check.fact for unit in plan.units for check in (*unit.requires, *unit.ensures)}
    found = app.registry.code(sorted({step.uses for step in plan.steps} | facts))
    return {**found, "drrun": f"drrun {__version__} sha256:{code_digest('drrun')}"}


def host_keys(app: App, plan: Plan) -> Mapping[HostName, str]:
    """The key that each host of a plan must show. Raises HostKeyError where none is known."""
    transport = app.transport or Transports()
    try:
        silent = {CONTROLLER, *plan.unasked}
        hosts = (target for name, target in plan.targets.items() if name not in silent)
        return {target.name: transport.fingerprint(target) for target in hosts}
    finally:
        transport.close()


def review(
    app: App, sealed: Sealed, *, runbook: str = "", inventory: Path | None = None
) -> Reviewed:
    """Plan and dry-run a sealed plan again; nothing is changed.

    `runbook` and `inventory` say where these lie here, when it is not where they were sealed.
    Raises Stale, with every finding, when the plan may not be applied any more.
    """
    question = dataclasses.replace(
        sealed.asked,
        runbook=runbook or sealed.asked.runbook,
        inventory=str(inventory or sealed.asked.inventory),
    )
    plan = _planned_again(app, sealed, question)
    forecast = app.forecast(plan)
    found = compare(sealed.forecast, forecast)
    if found.findings:
        raise stale(sealed, found.findings)
    return Reviewed(sealed, plan, forecast, found)


def stale(sealed: Sealed, findings: tuple[Finding, ...]) -> Stale:
    """The refusal, with every finding."""
    things = "1 thing has" if len(findings) == 1 else f"{len(findings)} things have"
    lines = [
        f"the sealed plan {sealed.digest[:7]} may not be applied any more: {things} moved",
        *(line for finding in findings for line in finding_lines(finding)),
    ]
    return Stale(
        "\n".join(lines),
        hint="look at what moved; if it is meant, seal a new plan with `--dry-run --out FILE`",
        findings=tuple(finding_text(finding) for finding in findings),
    )


def _planned_again(app: App, sealed: Sealed, question: Asked) -> Plan:
    """The plan of now. Raises Stale when runbook, inventory, inputs, code or host keys moved."""
    path = find_runbook(question.runbook)
    found = load_inventory(Path(question.inventory))
    findings = [*_code(app, sealed), *_inventory(sealed, found)]
    edited = _edited(sealed, path)
    try:
        plan = app.plan(
            app.load(question.runbook),
            found,
            question.answers,
            limit=question.limit,
            run=sealed.run,
            fenced=sealed.forecast.plan.fenced,
        )
    except AuthorError:
        if not (edited or findings):
            raise
        broken = [Finding("runbook", f"{path} was edited, and makes no plan any more")]
        raise stale(sealed, (*(broken if edited else ()), *findings)) from None
    now = masked_plan(plan, sealed.salt)
    findings = [*_inputs(sealed, now), *findings]
    findings += _keys(sealed, host_keys(app, plan))
    if edited or not findings:
        findings = [*_runbook(sealed, now, path, edited=edited), *findings]
    if findings:
        raise stale(sealed, tuple(findings))
    return plan


def _edited(sealed: Sealed, path: Path) -> bool:
    return hashlib.sha256(path.read_bytes()).hexdigest() != sealed.forecast.plan.runbook_digest


def _runbook(sealed: Sealed, now: Plan, path: Path, *, edited: bool) -> Iterator[Finding]:
    """An edited file refuses, whatever was edited; the steps that it changes are named.

    So does a file that is the same and makes other steps, should nothing else explain that.
    """
    details = step_details(step_drifts(sealed.forecast.plan, now))
    if edited:
        yield Finding("runbook", f"{path} was edited", details)
    elif details:
        yield Finding("runbook", f"{path} makes other steps now", details)


def _inputs(sealed: Sealed, now: Plan) -> Iterator[Finding]:
    was = sealed.forecast.plan
    for d in differences(was.inputs, now.inputs):
        yield Finding("input", f"the input {d.at} is another one", (d,))
    for d in differences(was.files, now.files):
        text = f"the file of the input {d.at} changed: {now.inputs.get(d.at, '')}"
        yield Finding("input", text, (d,))


def _code(app: App, sealed: Sealed) -> Iterator[Finding]:
    for d in differences(sealed.code, code_of(app, sealed.forecast.plan)):
        what = "drrun" if d.at == "drrun" else f"the step types of {d.at}"
        yield Finding("code", f"{what} changed", (Difference("", d.was, d.now),))


def _keys(sealed: Sealed, now: Mapping[HostName, str]) -> Iterator[Finding]:
    for host in sealed.keys:
        was, new = sealed.keys[host], now.get(host, "")
        if was != new:
            yield Finding(
                "host-key", f"the host key of {host} changed", (Difference("", was, new),)
            )


def _inventory(sealed: Sealed, now: Inventory) -> Iterator[Finding]:
    """Hosts added or removed, vars, groups, and how hosts are reached, each by name."""
    found = list(differences(sealed.inventory, masked_inventory(now, sealed.salt)))
    everywhere = {d.at for d in found if d.at.startswith("vars.")}
    for d in found:
        match d.at.split("."):
            case ["targets", _, "vars", *name] if f"vars.{'.'.join(name)}" in everywhere:
                continue  # every host has the inventory's vars: said once
            case ["groups", name] if f"targets.{name}" in {other.at for other in found}:
                continue  # every host is a group of itself
            case ["groups", _] | ["targets", _, "address" | "user" | "port" | "jump"]:
                yield Finding("inventory", _in_inventory(d), (d,))
            case _:
                yield Finding("inventory", _in_inventory(d))


def _in_inventory(d: Difference) -> str:
    how = "changed"
    if d.was is MISSING:
        how = "was added"
    elif d.now is MISSING:
        how = "was removed"
    match d.at.split("."):
        case ["targets", host]:
            return f"the host {host} {how}"
        case ["targets", host, "vars", *name]:
            return f"the var {'.'.join(name)} of {host} {how}"
        case ["targets", host, *name]:
            return f"{'.'.join(name)} of {host} {how}"
        case ["vars", *name]:
            return f"the var {'.'.join(name)} {how}"
        case ["groups", *name]:
            return f"the group {'.'.join(name)} {how}"
    return f"{d.at} {how}"
