"""A plan and an inventory without the values of vars: what may be passed on.

Vars may hold anything, passwords too. What is kept of each is an HMAC under a salt of the sealed
plan's own: enough to tell that it changed, and which one, and not what it is.
"""

from __future__ import annotations

import dataclasses
import hashlib
import hmac
from collections.abc import Mapping

from drrun.model.inventory import Inventory
from drrun.plan.plan import Plan
from drrun.values import Json, canonical


def masked(value: object, salt: str) -> str:
    """The value's HMAC; equal for equal values under one salt. Raises TypeError on non-JSON."""
    return f"hmac:{hmac.new(salt.encode(), canonical(value), hashlib.sha256).hexdigest()[:32]}"


def masked_vars(variables: Mapping[str, object], salt: str) -> dict[str, Json]:
    """Each var by name, its value masked."""
    return {name: masked(value, salt) for name, value in variables.items()}


def masked_plan(plan: Plan, salt: str) -> Plan:
    """The plan with every var masked; everything else as it is."""
    targets = {
        name: target.model_copy(update={"vars": masked_vars(target.vars, salt)})
        for name, target in plan.targets.items()
    }
    return dataclasses.replace(plan, vars=masked_vars(plan.vars, salt), targets=targets)


def masked_inventory(inventory: Inventory, salt: str) -> dict[str, Json]:
    """The inventory as JSON, every var masked; where its file lies is left out."""
    plain = dict(inventory.describe())
    targets: dict[str, Json] = {
        name: {**target.model_dump(mode="json"), "vars": masked_vars(target.vars, salt)}
        for name, target in inventory.targets.items()
    }
    return {**plain, "targets": targets, "vars": masked_vars(inventory.vars, salt)}
