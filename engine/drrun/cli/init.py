"""`drrun init`: a folder with a small runbook and an inventory that lint clean."""

from __future__ import annotations

from pathlib import Path

from drrun.cli.options import Look
from drrun.cli.terminal import terminal
from drrun.errors import UsageError

RUNBOOK = """\
# yaml-language-server: $schema=./runbook.schema.json
# Look before anything else: is etcd up, and do its members agree? Changes nothing.
#   drrun runbook.yaml -i inventory.yaml --dry-run
drrun: 1
name: look
title: Look at etcd, change nothing
help: A first runbook. Copy its steps, then see `drrun steps` for what else there is.

roles:
  etcd:
    min: 1
    help: The members of etcd

steps:
  - id: up
    title: etcd must be running everywhere
    hosts: etcd
    uses: service.state
    with: {service: etcd, state: running}

  - id: agree
    title: The members must be one cluster with the same data
    hosts: etcd
    uses: etcd.consistent
"""

INVENTORY = """\
# yaml-language-server: $schema=./inventory.schema.json
# Who your hosts are. `drrun inventory show` prints it as drrun reads it, `drrun doctor` asks them.
drrun_inventory: 1
name: my-cluster            # asked for before anything is destroyed
layout: systemd             # or static-pod, k3s, commands

ssh:
  user: root                # what is not said comes from ~/.ssh/config

hosts:
  cp[1-3]: {}

groups:
  etcd: ["cp[1-3]"]
  control_plane: ["cp[1-3]"]
"""


def init(folder: Path, /, *, look: Look = Look()) -> int:  # noqa: B008 - frozen
    """Begin a folder with a small runbook and an inventory. Never overwrites a file.

    Args:
        folder: The folder; made if it is not there.
        look: How it is shown.
    """
    screen = terminal(look)
    files = {"runbook.yaml": RUNBOOK, "inventory.yaml": INVENTORY}
    there = [name for name in files if (folder / name).exists()]
    if there:
        raise UsageError(
            f"{folder} has {', '.join(there)} already: nothing was written", hint="another folder"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror}") from error
    if screen.json:
        screen.give({"type": "init", "files": [str(folder / name) for name in files]})
        return 0
    screen.say("\n".join(f"✔ {folder / name}" for name in files))
    screen.tell(
        f"  next  put your hosts into {folder / 'inventory.yaml'}\n"
        f"        drrun schema runbook > {folder / 'runbook.schema.json'}      "
        "help in your editor\n"
        f"        drrun {folder / 'runbook.yaml'} -i {folder / 'inventory.yaml'} --dry-run"
    )
    return 0
