"""What this process finds around it: where runs and runbooks are, who runs it, what a run is called."""

from __future__ import annotations

import getpass
import os
import secrets
import time
from pathlib import Path

from drrun.errors import UsageError
from drrun.values import RunId


def state_root() -> Path:
    """Where runs are kept: $DRRUN_STATE, else the account's state folder."""
    given = os.environ.get("DRRUN_STATE")
    if given:
        return Path(given) / "runs"
    from platformdirs import user_state_path

    return user_state_path("drrun") / "runs"


def operator() -> str:
    """Who runs this: the account, and whom sudo says it is."""
    return os.environ.get("SUDO_USER") or getpass.getuser()


def stock_runbooks() -> Path:
    """The folder of the stock runbooks, in a wheel and in a checkout."""
    packaged = Path(__file__).parent / "_runbooks"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "runbooks"


def find_runbook(word: str) -> Path:
    """An existing path first, else a stock name. Raises UsageError with what there is."""
    path = Path(word)
    if path.exists():
        return path
    name = word if word.endswith(".yaml") else f"{word}.yaml"
    stock = stock_runbooks() / name
    if "/" not in word and stock.exists():
        return stock
    from drrun.lang.diagnostics import did_you_mean

    names = sorted(p.stem for p in stock_runbooks().glob("*.yaml"))
    raise UsageError(
        f"there is no file {word!r}, and no stock runbook of that name",
        hint=did_you_mean(word.removesuffix(".yaml"), names)
        or f"stock runbooks: {', '.join(names)}",
    )


def new_run_id() -> RunId:
    """Sortable by time, unique, and safe as a folder's name on any host."""
    return RunId(time.strftime("r%Y%m%d-%H%M%S-", time.gmtime()) + secrets.token_hex(2))
