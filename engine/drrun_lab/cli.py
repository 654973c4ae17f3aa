"""`drrun lab`: the rehearsal hosts of this machine, from the command line.

Rule 1: data (a path, a table, a host's output) goes to standard output, progress to standard
error; every command returns its exit code.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated, get_args

from cyclopts import App, Parameter

from drrun.errors import DrrunError
from drrun_lab.layout import EtcdLine, LabSpec, Supervision

lab = App(name="lab", help="Real hosts and clusters to rehearse on, on this machine.")

Name = Annotated[str, Parameter(name="--name", help="Which lab; several can stand side by side.")]


@lab.command
def up(
    *,
    name: Name = "lab",
    hosts: Annotated[int, Parameter(help="How many control-plane hosts.")] = 3,
    spares: Annotated[int, Parameter(help="Hosts beside them that run nothing yet.")] = 0,
    etcd: Annotated[EtcdLine, Parameter(help="The line of etcd releases.")] = "3.5",
    kube: Annotated[
        bool, Parameter(negative="--no-kube", help="Kubernetes and its load balancer.")
    ] = True,
    layout: Annotated[
        Supervision, Parameter(help="Who runs the control plane: units, or kubeadm's static pods.")
    ] = "systemd",
    etcd_from: Annotated[
        str, Parameter(help="A folder with a release of etcd of your own, in place of --etcd.")
    ] = "",
    kube_from: Annotated[
        str, Parameter(help="A folder with a release of Kubernetes of your own.")
    ] = "",
) -> int:
    """Bring a lab up, or what is missing of it, and print the path of its inventory.

    The first time builds what hosts are made of: about five minutes. Needs root.
    """
    from drrun_lab.lab import Lab

    try:
        spec = LabSpec(
            hosts=hosts,
            etcd=etcd,
            kube=kube,
            spares=spares,
            layout=layout,
            etcd_from=str(Path(etcd_from).absolute()) if etcd_from else "",
            kube_from=str(Path(kube_from).absolute()) if kube_from else "",
        )
        print(Lab.up(name, spec).inventory)
    except DrrunError as error:
        return _told(error)
    return 0


@lab.command
def build() -> int:
    """Build what the hosts of every lab are made of, for each line of etcd, and boot nothing.

    About five minutes the first time, nothing after that. Needs root.
    """
    from drrun_lab.etcd import NEWEST
    from drrun_lab.packages import require_root
    from drrun_lab.preparation import prepare
    from drrun_lab.progress import Progress

    try:
        require_root("drrun lab build")
        for etcd in get_args(EtcdLine):
            try:
                prepare(LabSpec(etcd=etcd), Progress())
            except DrrunError as error:
                if etcd != NEWEST:
                    raise
                print(f"skipped: --etcd {etcd}: {error.message}", file=sys.stderr)
    except DrrunError as error:
        return _told(error)
    return 0


@lab.command
def down(
    *,
    name: Name = "lab",
    every: Annotated[bool, Parameter(name="--all", negative=(), help="All labs here.")] = False,
) -> int:
    """Remove a lab with everything that belongs to it. A lab that is not there is fine."""
    from drrun_lab.lab import Lab

    try:
        there = Lab.names()
        for one in there if every else (name,):
            if one in there:
                Lab.find(one).down()
            else:
                print(f"there is no lab {one}", file=sys.stderr)
    except DrrunError as error:
        return _told(error)
    return 0


@lab.command
def reset(*, name: Name = "lab") -> int:
    """Put a lab back to what it was when it came up: about ten seconds."""
    from drrun_lab.lab import Lab

    try:
        Lab.find(name).reset()
    except DrrunError as error:
        return _told(error)
    return 0


@lab.command(name="demo")
def demonstrate(
    *,
    name: Name = "demo",
    keep: Annotated[bool, Parameter(negative=(), help="Leave the lab up.")] = False,
) -> int:
    """Destroy a real cluster and recover it, proving every claim: under two minutes."""
    from drrun_lab.demo import demo

    try:
        return demo(name, keep=keep)
    except DrrunError as error:
        return _told(error)


@lab.command
def status(*, name: Annotated[str, Parameter(help="Only this lab.")] = "") -> int:
    """Show each lab: its inventory, versions, hosts and whether they are on and serve."""
    from drrun_lab.status import describe

    try:
        print(describe(name), end="")
    except DrrunError as error:
        return _told(error)
    return 0


@lab.command(name="exec")
def execute(
    host: str,
    *command: Annotated[str, Parameter(allow_leading_hyphen=True)],
    name: Name = "lab",
    user: Annotated[str, Parameter(help="Who to be: root, ops or nosudo.")] = "root",
) -> int:
    """Run a command on a host, or log in without one. Its exit code is ours.

    Args:
        host: The host, such as cp1.
        command: One word is a shell script; several are a command with its arguments.
        name: Which lab.
        user: Who to be: root, ops or nosudo.
    """
    from drrun_lab.access import shell_words
    from drrun_lab.lab import Lab

    try:
        argv = Lab.find(name).ssh_argv(host, user)
    except DrrunError as error:
        return _told(error)
    words = [shell_words(command)] if command else []
    sys.stdout.flush()
    return subprocess.run([*argv, *words], check=False).returncode


def _told(error: DrrunError) -> int:
    """Print an error with its next move; return its exit code."""
    print(f"drrun lab: {error.message}", file=sys.stderr)
    if error.hint:
        print(f"  next: {error.hint}", file=sys.stderr)
    return error.exit_code
