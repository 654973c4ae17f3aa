"""An inventory's file to targets and groups: ranges expanded, groups flattened, ssh merged.

Rule 1: hosts keep the order of the file, everywhere: `role[0]` is the first host written.
Rule 2: every mistake of the file is reported at once, with its place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from drrun.errors import UsageError
from drrun.lang.diagnostics import Diagnostic, Loc, Source, fail
from drrun.lang.groups import Groups, bad_name
from drrun.lang.load import read_bytes
from drrun.lang.ranges import expand, is_range
from drrun.lang.tree import MappingNode, ScalarNode, locate
from drrun.lang.validate import validate
from drrun.lang.yaml import Document, parse
from drrun.model.inventory import HostEntry, Inventory, InventoryFile, Ssh, Target
from drrun.values import HostName, seconds

_ADDRESSED = ("address", "user", "jump")
"""Texts that end up in the arguments of ssh: one that begins with a dash would be an option."""


def load_inventory(path: Path, text: str | None = None) -> Inventory:
    """Read an inventory, drrun's own or Ansible's; `text` stands in for the file's content.

    A file with the key `drrun_inventory` is drrun's; any other is put to `ansible-inventory`.
    Every host is also a group of itself. Raises AuthorError with every mistake, UsageError when
    the file cannot be read.
    """
    if text is None and path.is_dir():
        return _foreign(path, Document(Source(str(path), ()), None, ()))
    raw = read_bytes(path) if text is None else text.encode("utf-8", "surrogatepass")
    document = parse(raw, str(path))
    if not _is_ours(document):
        return _foreign(path, document)
    return _Build(path, document).inventory()


def _is_ours(document: Document) -> bool:
    root = document.root
    if isinstance(root, MappingNode):
        return bool({"drrun_inventory", "hosts"} & set(root.entries))
    # Too broken for a tree: whose it is shows in the text.
    return any(line.startswith("drrun_inventory") for line in document.source.lines)


def _foreign(path: Path, document: Document) -> Inventory:
    from drrun.lang.ansible import read_ansible

    # What YAML says of a file that was never meant to be YAML helps nobody.
    said = document.diagnostics if path.suffix in {".yaml", ".yml", ".json"} else ()
    return read_ansible(path, document.source, said)


@dataclass
class _Build:
    """Collects mistakes on the way from the tree to the inventory.

    Names are read from the tree, so that a mistake of the schema hides none of theirs.
    """

    path: Path
    document: Document
    found: list[Diagnostic] = field(default_factory=list)
    hosts: dict[HostName, tuple[str, int]] = field(default_factory=dict)
    """Each host with the key that it came of, and its number within the range."""

    def inventory(self) -> Inventory:
        self.found += self.document.diagnostics
        root = self.document.root
        if root is None:
            fail(self.found)
        written, wrong = validate(
            InventoryFile, root, self.document.source, takes_empty=_takes_empty
        )
        self.found += wrong
        if isinstance(root, MappingNode):
            if "drrun_inventory" not in root.entries:
                hint = "begin the file with drrun_inventory: 1"
                self.report((), "missing-field", "`drrun_inventory` is missing", hint)
            hosts = root.get("hosts")
            for key in hosts.entries if isinstance(hosts, MappingNode) else ():
                self._host(key)
        groups = Groups(self.hosts, root, self.report).flat()
        targets: dict[HostName, Target] = {}
        if written is not None:
            found = (self._target(name, written) for name in self.hosts)
            targets = {target.name: target for target in found if target}
        if self.found or written is None:
            fail(self.found)
        return Inventory(
            name=written.name,
            path=str(self.path),
            cluster_uid=written.cluster_uid,
            targets=targets,
            groups={**{name: (name,) for name in targets}, **groups},
            vars=written.vars,
        )

    def _host(self, key: str) -> None:
        loc = ("hosts", key)
        try:
            names = expand(key)
        except ValueError as exc:
            self.report(loc, "bad-range", str(exc))
            return
        for number, name in enumerate(names):
            host = HostName(name)
            if complaint := bad_name(name):
                self.report(loc, "bad-name", complaint)
                return
            if host in self.hosts:
                message = f"the host `{name}` stands here twice"
                self.report(loc, "duplicate-host", message, f"it is in `{self.hosts[host][0]}`")
            else:
                self.hosts[host] = (key, number)

    def _target(self, name: HostName, written: InventoryFile) -> Target | None:
        key, number = self.hosts[name]
        entry = written.hosts[key] or HostEntry()
        loc: Loc = ("hosts", key)
        address = self._address(name, loc, entry.address, number)
        before = len(self.found)
        ssh = Ssh.model_validate({**_said(written.ssh), **_said(entry.ssh)})
        for part, value in {**_said(ssh), "address": address}.items():
            if part in _ADDRESSED and str(value).startswith("-"):
                where = (*loc, "address") if part == "address" else self._ssh_loc(loc, part)
                self.report(where, "bad-address", f"`{part}` cannot begin with a dash")
        timeout = 10.0
        if ssh.connect_timeout is not None:
            try:
                timeout = seconds(ssh.connect_timeout)
            except ValueError as exc:
                self.report(self._ssh_loc(loc, "connect_timeout"), "wrong-type", str(exc))
        if len(self.found) > before:
            return None
        return Target(
            name=name,
            address=address,
            user=ssh.user,
            port=ssh.port,
            identity=self._file(ssh.identity),
            known_hosts=self._file(ssh.known_hosts),
            jump=ssh.jump,
            become=ssh.become or "sudo",
            connect_timeout=timeout,
            layout=entry.layout or written.layout,
            vars={**written.vars, **entry.vars},
        )

    def _address(self, name: HostName, loc: Loc, address: str | None, number: int) -> str:
        """A host's address; a range of addresses runs along with the range of names."""
        if address is None:
            return name
        if not is_range(address) or address.startswith("["):  # [::1] is an address
            return address
        try:
            addresses = expand(address)
            names = expand(str(loc[1]))
        except ValueError as exc:
            self.report((*loc, "address"), "bad-range", str(exc))
            return address
        if len(addresses) != len(names):
            message = f"{len(names)} hosts, but {len(addresses)} addresses"
            self.report((*loc, "address"), "bad-range", message)
            return address
        return addresses[number]

    def _file(self, name: str | None) -> str | None:
        """A path of the inventory: `~` is home, and what is relative is so to the inventory."""
        if name is None:
            return None
        try:
            return str(self.path.parent.absolute() / Path(name).expanduser())
        except RuntimeError as exc:  # ~nobody, or no home at all
            raise UsageError(f"{self.path}: the home folder in {name} is not known") from exc

    def _ssh_loc(self, loc: Loc, part: str) -> Loc:
        """Where an ssh setting of a host was said: at the host, or for all."""
        root = self.document.root
        assert root is not None
        own = (*loc, "ssh", part)
        return own if locate(root, own).found == len(own) else ("ssh", part)

    def report(self, loc: Loc, code: str, message: str, hint: str = "") -> None:
        root = self.document.root
        assert root is not None
        place = locate(root, loc)
        at_value = isinstance(place.node, ScalarNode) and place.found == len(loc)
        span = place.value if at_value else place.named
        self.found.append(self.document.source.diagnostic(span, code, message, hint))


def _said(ssh: Ssh) -> dict[str, object]:
    return ssh.model_dump(exclude_none=True)


def _takes_empty(loc: Loc) -> bool:
    """`cp1:` with nothing after it is a host with nothing to say; free values may be empty."""
    return (len(loc) == 2 and loc[0] == "hosts") or "vars" in loc[:-1]
