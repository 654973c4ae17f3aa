"""An Ansible inventory, read by Ansible itself.

`ansible-inventory --list` knows every plugin, vault and precedence there is; hand-made readers
of INI know a part. `--export` is left out on purpose: it takes the variables of groups out of
their hosts, and `ansible_user` usually is one.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from drrun.errors import UsageError
from drrun.lang.diagnostics import START, Diagnostic, Source, fail, suggest
from drrun.model.inventory import Inventory, Target
from drrun.values import HostName

_LAYOUTS = ("systemd", "static-pod", "k3s", "commands")
_BY_SSH = {"ssh", "smart", "paramiko", "paramiko_ssh", "ansible.netcommon.libssh"}
_SECONDS = 60


def read_ansible(path: Path, source: Source, said: Sequence[Diagnostic] = ()) -> Inventory:
    """The inventory at `path` (a file or a folder) as `ansible-inventory` understands it.

    A dynamic inventory is a program, and Ansible runs it. `said` is what was found wrong with the
    file as YAML: reported when nobody else can read it. Raises AuthorError when Ansible is not here, cannot read it, or says what drrun cannot do.
    """
    program = shutil.which("ansible-inventory")
    if program is None:
        fail(
            [
                *said,
                source.diagnostic(
                    START,
                    "not-an-inventory",
                    "this is not an inventory of drrun: the key `drrun_inventory` is missing",
                    "begin the file with drrun_inventory: 1, or, if it is Ansible's, put "
                    "ansible-inventory on PATH",
                ),
            ]
        )
    return from_listing(_listing(program, path, source), path, source)


def _listing(program: str, path: Path, source: Source) -> Mapping[str, Any]:
    strict = {"ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true", "ANSIBLE_NOCOLOR": "true"}
    try:
        done = subprocess.run(
            [program, "-i", str(path.absolute()), "--list"],
            capture_output=True,
            check=False,
            timeout=_SECONDS,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **strict},
        )
        listing = json.loads(done.stdout) if done.returncode == 0 else None
    except subprocess.TimeoutExpired as exc:
        raise UsageError(f"ansible-inventory said nothing about {path} in {_SECONDS} s") from exc
    except (OSError, ValueError) as exc:
        raise UsageError(f"ansible-inventory could not be used on {path}: {exc}") from exc
    if not isinstance(listing, dict):
        said = [
            line for line in done.stderr.decode("utf-8", "replace").splitlines() if line.strip()
        ]
        message = f"Ansible cannot read this inventory: {said[0] if said else 'it says nothing'}"
        hint = f"try: ansible-inventory -i {shlex.quote(str(path))} --list"
        fail([source.diagnostic(START, "ansible", message, hint)])
    return listing


def from_listing(listing: Mapping[str, Any], path: Path, source: Source) -> Inventory:
    """`ansible-inventory --list` as an inventory. Raises AuthorError on what cannot be carried."""
    variables: Mapping[str, Mapping[str, Any]] = listing.get("_meta", {}).get("hostvars", {})
    # _meta is sorted by name; the groups keep the order of the file.
    order = dict.fromkeys([*_members(listing, "all", ()), *sorted(variables)])
    wrong: list[str] = []
    targets: dict[HostName, Target] = {}
    for name in order:
        host = HostName(name)
        try:
            targets[host] = _target(host, variables.get(name, {}), path)
        except ValueError as exc:
            wrong.append(f"{name}: {exc}")
    if not targets and not wrong:
        wrong.append("Ansible finds no hosts in this inventory")
    if wrong:
        fail(source.diagnostic(START, "ansible", message) for message in wrong)
    groups = {
        name: tuple(HostName(host) for host in dict.fromkeys(_members(listing, name, ())))
        for name in listing
        if name not in {"_meta", "all", "ungrouped"}
    }
    uids = {
        str(hostvars["drrun_cluster_uid"])
        for hostvars in variables.values()
        if "drrun_cluster_uid" in hostvars
    }
    if len(uids) > 1:
        fail([source.diagnostic(START, "ansible", f"many clusters: {', '.join(sorted(uids))}")])
    return Inventory(
        name=path.stem,
        path=str(path),
        cluster_uid=next(iter(uids), None),
        targets=targets,
        groups={**{name: (name,) for name in targets}, **groups},
    )


def _members(listing: Mapping[str, Any], group: str, path: tuple[str, ...]) -> Iterator[str]:
    found = listing.get(group, {})
    yield from found.get("hosts", ())
    for child in found.get("children", ()):
        if child not in path:
            yield from _members(listing, child, (*path, group))


def _target(name: HostName, said: Mapping[str, Any], path: Path) -> Target:
    """One host. Raises ValueError with what drrun cannot do."""
    for key, value in said.items():
        if key.startswith("ansible_") and isinstance(value, str) and "{{" in value:
            raise ValueError(f"{key} is a template, which only Ansible can work out: {value}")
    if (connection := said.get("ansible_connection", "ssh")) not in _BY_SSH:
        raise ValueError(f"ansible_connection is {connection}; drrun goes by ssh")
    layout = said.get("drrun_layout", "systemd")
    if layout not in _LAYOUTS:
        raise ValueError(
            f"drrun_layout is {layout}; {suggest(str(layout), _LAYOUTS, 'it is one of')}"
        )
    become = said.get("ansible_become_method", "sudo")
    if become not in {"sudo", "ansible.builtin.sudo"}:
        raise ValueError(f"ansible_become_method is {become}; drrun knows sudo")
    address = str(said.get("ansible_host", said.get("ansible_ssh_host", name)))
    user = said.get("ansible_user", said.get("ansible_ssh_user"))
    port = said.get("ansible_port", said.get("ansible_ssh_port"))
    identity = said.get("ansible_ssh_private_key_file", said.get("ansible_private_key_file"))
    jump = _jump(said)
    for part in (address, user, jump):
        if part is not None and str(part).startswith("-"):
            raise ValueError(f"{part} cannot begin with a dash")
    if port is not None and not re.fullmatch("[0-9]{1,5}", str(port)):
        raise ValueError(f"ansible_port is {port}, not a port")
    return Target(
        name=name,
        address=address,
        user=None if user is None else str(user),
        port=None if port is None else int(port),
        identity=None if identity is None else _file(path, str(identity)),
        jump=jump,
        layout=layout,
        vars={
            key: value for key, value in said.items() if not key.startswith(("ansible_", "drrun_"))
        },
    )


def _jump(said: Mapping[str, Any]) -> str | None:
    """The jump hosts in the ssh arguments. Raises ValueError on a ProxyCommand."""
    words = [
        word
        for key in ("ansible_ssh_common_args", "ansible_ssh_extra_args")
        for word in shlex.split(str(said.get(key, "")))
    ]
    jump = None
    for word, following in pairwise([*words, ""]):
        option = word.removeprefix("-o").strip()
        if option.casefold().startswith("proxycommand"):
            raise ValueError("ProxyCommand is not carried over: put it into ~/.ssh/config")
        if option.casefold().startswith("proxyjump"):
            jump = re.split(r"[=\s]+", option, maxsplit=1)[-1]
        elif word == "-J":
            jump = following
        elif word.startswith("-J"):
            jump = word[2:]
    return jump


def _file(path: Path, name: str) -> str:
    try:
        return str(path.parent.absolute() / Path(name).expanduser())
    except RuntimeError as exc:
        raise ValueError(f"the home folder in {name} is not known") from exc
