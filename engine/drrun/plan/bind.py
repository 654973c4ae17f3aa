"""Binding: which hosts each role has, and which value each input has, for one run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drrun.lang.diagnostics import Diagnostic, did_you_mean, fail
from drrun.lang.hosts import HostsError, resolve
from drrun.lang.load import LoadedRunbook
from drrun.lang.template import BLANK
from drrun.model.fencing import Fencing, names
from drrun.model.inventory import Inventory, Target
from drrun.model.runbook import ACCEPT_ANSWERS, InputSpec, RoleSpec
from drrun.values import CONTROLLER, Digest, HostName, Json, NotKnown, seconds


@dataclass(frozen=True, slots=True)
class Binding:
    """Roles and inputs, bound.

    `whole_roles` ignores --limit and fenced hosts: rules are proved on all hosts.
    """

    roles: Mapping[str, tuple[HostName, ...]]
    whole_roles: Mapping[str, tuple[HostName, ...]]
    inputs: Mapping[str, Json]
    files: Mapping[str, Digest] = field(default_factory=dict)
    vars: Mapping[str, Json] = field(default_factory=dict)
    fenced: tuple[Fencing, ...] = ()

    @property
    def unfenced(self) -> Mapping[str, tuple[HostName, ...]]:
        """What the roles would be, were no host fenced."""
        gone = names(self.fenced)
        return {
            role: tuple(host for host in whole if host in gone or host in self.roles[role])
            for role, whole in self.whole_roles.items()
        }

    def names(self, targets: Mapping[HostName, Target], host: HostName | None) -> dict[str, Any]:
        """What a template may name, on one host (or on none, for a group step)."""
        target = None if host is None else targets[host]
        return template_names(self.inputs, self.roles, self.vars, target)


def template_names(
    inputs: Mapping[str, Json],
    roles: Mapping[str, tuple[HostName, ...]],
    variables: Mapping[str, Json],
    target: Target | None,
) -> dict[str, Any]:
    """What templates may name, when planned and when run; without `host` where there is not one."""
    known: dict[str, Any] = {
        "inputs": as_given(inputs),
        "roles": {name: list(hosts) for name, hosts in roles.items()},
        "vars": variables,
    }
    if target is not None:
        known["host"] = {
            "name": target.name,
            "address": target.address,
            "layout": target.layout,
            "vars": dict(target.vars),
        }
        known["vars"] = {**variables, **target.vars}
    return known


def as_given(inputs: Mapping[str, Json]) -> dict[str, Any]:
    """Inputs for templates. An empty one is there because its author allowed it: no error."""
    return {
        name: BLANK if isinstance(value, str) and not value else value
        for name, value in inputs.items()
    }


def bind(
    loaded: LoadedRunbook,
    inventory: Inventory,
    answers: Mapping[str, str],
    *,
    limit: frozenset[HostName] | None = None,
    trusted: Mapping[str, Json] | None = None,
    fenced: Sequence[Fencing] = (),
) -> Binding:
    """Bind a runbook for a run. `role.NAME=GROUP` in `answers` renames a role.

    `trusted` inputs stand in for those of a run that nobody has begun (lint). Hosts that are
    `fenced` leave their roles, whole ones too: by the operator's word, not by wish.

    Raises AuthorError with every problem: missing roles, wrong counts, missing or wrong inputs.
    """
    problems: list[Diagnostic] = []
    whole = _roles(loaded, inventory, answers, problems)
    roles = dict(whole)
    for name, spec in loaded.runbook.roles.items():
        if limit is None or name not in roles or set(roles[name]) <= limit:
            continue
        if spec.whole:
            problems.append(
                loaded.diagnostic(
                    ("roles", name),
                    "whole",
                    f"--limit may not narrow the role {name}: it is recovered whole or not at all",
                    "leave --limit out",
                )
            )
        roles[name] = tuple(host for host in roles[name] if host in limit)
    left = _without(loaded, roles, names(fenced), problems)
    files: dict[str, Digest] = {}
    inputs = trusted
    if inputs is None:
        inputs, files = _inputs(loaded, answers, problems)
    if problems:
        fail(problems)
    known = dict(inventory.vars)
    return Binding(left, whole, inputs, files, known, tuple(fenced))  # type: ignore[arg-type]


def _without(
    loaded: LoadedRunbook,
    roles: Mapping[str, tuple[HostName, ...]],
    fenced: frozenset[HostName],
    problems: list[Diagnostic],
) -> Mapping[str, tuple[HostName, ...]]:
    """The roles without fenced hosts; too few may be left."""
    if not fenced:
        return roles
    found: dict[str, tuple[HostName, ...]] = {}
    for name, hosts in roles.items():
        found[name] = tuple(host for host in hosts if host not in fenced)
        least = loaded.runbook.roles[name].min
        if len(found[name]) < least <= len(hosts):
            gone = ", ".join(host for host in hosts if host in fenced)
            message = f"the role {name} needs at least {least} hosts; without {gone} it has {len(found[name])}"
            hint = "recover one of them first: nothing can be done with what is left"
            problems.append(loaded.diagnostic(("roles", name), "role", message, hint))
    return found


def bind_for_lint(loaded: LoadedRunbook) -> tuple[Inventory, Binding]:
    """An inventory made up from the roles' least sizes, and a hole for each required input.

    What holds for these hosts holds for any: rules speak of roles, never of hosts by name.
    """
    targets: dict[HostName, Target] = {}
    roles: dict[str, tuple[HostName, ...]] = {}
    for name, spec in loaded.runbook.roles.items():
        # Three, where it may be: the first, the last, and one in between that is easily forgotten.
        least = max(spec.min, min(spec.max or 3, 3))
        made = tuple(HostName(f"{name.replace('_', '-')}-{i + 1}") for i in range(least))
        hosts = roles[spec.of][:least] if spec.of in roles else made
        roles[name] = hosts
        targets |= {host: Target(name=host, address=host) for host in hosts}
    inputs: dict[str, Any] = {
        name: _assumed(spec) if spec.default is not None else NotKnown(f"-e {name}=")
        for name, spec in loaded.runbook.inputs.items()
    }
    made_up = Inventory(name="any inventory", path="", targets=targets, groups=roles)
    return made_up, Binding(roles, roles, inputs)


def _assumed(spec: InputSpec) -> Json:
    """An input's default as its type; as text where it names a file that is not there yet."""
    try:
        return _value(spec.default or "", spec)
    except (ValueError, OSError):
        return spec.default


def _named(text: str, inventory: Inventory) -> tuple[HostName, ...] | None:
    """Hosts that `-e role.ROLE=` names one by one, or by an expression over groups."""
    try:
        hosts = resolve(text, inventory.groups, tuple(inventory.targets))
    except HostsError:
        return None
    return hosts if hosts and CONTROLLER not in hosts else None


def _roles(
    loaded: LoadedRunbook,
    inventory: Inventory,
    answers: Mapping[str, str],
    problems: list[Diagnostic],
) -> dict[str, tuple[HostName, ...]]:
    roles: dict[str, tuple[HostName, ...]] = {}
    for name, spec in loaded.runbook.roles.items():
        group = answers.get(f"role.{name}", name)
        hosts = inventory.groups.get(group) or _named(group, inventory)
        if hosts is None and group == name and spec.default is not None:
            group = f"default {spec.default!r}"
            try:
                hosts = resolve(spec.default, roles, tuple(inventory.targets))
            except HostsError as error:
                at = ("roles", name, "default")
                problems.append(loaded.diagnostic(at, error.code, str(error), error.hint))
                continue
        if hosts is None and spec.min == 0 and group in {name, ""}:
            hosts = ()
        if hosts is None:
            message = f"the inventory {inventory.name} has no group {group!r} for the role {name}"
            hint = (
                did_you_mean(group, inventory.groups)
                or f"add the group, or name another one, or hosts: -e role.{name}=GROUP_OR_HOSTS"
            )
        else:
            message, hint = _mismatch(name, spec, (group, hosts), roles)
        if message:
            problems.append(loaded.diagnostic(("roles", name), "role", message, hint))
        else:
            roles[name] = hosts or ()
    return roles


def _mismatch(
    name: str,
    spec: RoleSpec,
    found: tuple[str, tuple[HostName, ...]],
    roles: Mapping[str, tuple[HostName, ...]],
) -> tuple[str, str]:
    """Why a group's hosts cannot be a role, and the next move; empty when they can."""
    group, hosts = found
    if len(hosts) < spec.min or (spec.max is not None and len(hosts) > spec.max):
        bound = f"at least {spec.min}" if len(hosts) < spec.min else f"at most {spec.max}"
        message = f"the role {name} needs {bound} hosts, the group {group} has {len(hosts)}"
        return message, f"name others: -e role.{name}=HOSTS"
    if spec.of is not None and not set(hosts) <= set(roles.get(spec.of, ())):
        known = roles.get(spec.of, ())
        strangers = ", ".join(host for host in hosts if host not in known)
        message = f"the role {name} has hosts of {spec.of} alone, and {strangers} is none"
        return message, f"choose among {', '.join(known)}" if known else ""
    if spec.odd and hosts and len(hosts) % 2 == 0:
        message = f"the role {name} needs an odd number of hosts, {group} has {len(hosts)}"
        return message, "an even number tolerates no more failures than one less"
    return "", ""


def _inputs(
    loaded: LoadedRunbook, answers: Mapping[str, str], problems: list[Diagnostic]
) -> tuple[dict[str, Json], dict[str, Digest]]:
    inputs: dict[str, Json] = {}
    files: dict[str, Digest] = {}
    specs = loaded.runbook.inputs
    if answers.get(ACCEPT_ANSWERS) and ACCEPT_ANSWERS not in specs:
        inputs[ACCEPT_ANSWERS] = answers[ACCEPT_ANSWERS]
    for name in answers:
        if name not in (*specs, ACCEPT_ANSWERS) and not name.startswith("role."):
            hint = did_you_mean(name, specs) or f"it takes {', '.join(specs) or 'none'}"
            problems.append(
                loaded.diagnostic(("inputs",), "unknown-input", f"no input {name!r}", hint)
            )
    for name, spec in specs.items():
        text = answers.get(name, spec.default)
        if text is None:
            if spec.required:
                why = f"the input {name} is required{f': {spec.help}' if spec.help else ''}"
                problems.append(
                    loaded.diagnostic(("inputs", name), "input", why, f"give it: -e {name}=…")
                )
            else:
                inputs[name] = ""
            continue
        try:
            inputs[name] = _value(text, spec)
            if spec.type == "path":
                files[name] = file_digest(Path(str(inputs[name])))
        except (ValueError, OSError) as error:
            message = f"the input {name}: {error}"
            problems.append(loaded.diagnostic(("inputs", name), "input", message))
    return inputs, files


def _value(text: str, spec: InputSpec) -> Json:
    if not text and not spec.empty and spec.default != "":
        raise ValueError("is empty")
    match spec.type:
        case "int":
            return int(text)
        case "bool":
            if text not in {"true", "false"}:
                raise ValueError(f"{text!r} is neither true nor false")
            return text == "true"
        case "duration":
            return seconds(text)
        case "choice":
            if text not in spec.choices:
                raise ValueError(f"{text!r} is not one of {', '.join(spec.choices)}")
            return text
        case "path":
            return str(Path(text).expanduser().resolve(strict=True))
        case _:
            return text


def file_digest(path: Path) -> Digest:
    """The sha256 of a file's bytes. Raises OSError."""
    with path.open("rb") as file:
        return Digest(hashlib.file_digest(file, "sha256").hexdigest())


__all__ = ["CONTROLLER", "Binding", "bind", "bind_for_lint", "file_digest"]
