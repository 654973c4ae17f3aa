"""Where the lab keeps things on this machine. The only reader of the environment."""

from __future__ import annotations

import os
from pathlib import Path

SUBNETS = Path("/run/lock/drrun-lab-subnets")
"""Held while a subnet is chosen and its bridge made: bridges are the machine's, whatever the state folder."""


def cache_folder() -> Path:
    """$DRRUN_LAB_CACHE, else /var/cache/drrun-lab: what is built once."""
    return Path(os.environ.get("DRRUN_LAB_CACHE") or "/var/cache/drrun-lab").absolute()


def state_folder() -> Path:
    """$DRRUN_LAB_STATE, else /var/lib/drrun-lab: one folder a lab, with its hosts' disks."""
    return Path(os.environ.get("DRRUN_LAB_STATE") or "/var/lib/drrun-lab").absolute()
