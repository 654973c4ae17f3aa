"""Inventories: drrun's own, and Ansible's through ansible-inventory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from drrun.errors import AuthorError, UsageError
from drrun.lang.ansible import from_listing
from drrun.lang.diagnostics import Diagnostic, Source, render
from drrun.lang.inventory import load_inventory
from drrun.values import HostName

GOOD = """\
drrun_inventory: 1
name: prod
cluster_uid: 1-2
ssh: {user: root, identity: keys/id, connect_timeout: 5s}
vars: {a: 1, b: 1}
hosts:
  cp[1-3]: {address: "10.0.0.[11-13]", vars: {b: 2}}
  bastion:
  lb[01,03]: {ssh: {port: 2222, identity: ~/k, become: none}, layout: k3s}
groups:
  everything: [control_plane, bastion, "lb[01,03]"]
  control_plane: [etcd]
  etcd: ["cp[2-3]", cp1]
"""


def lines(text: str, path: Path = Path("i.yaml")) -> list[str]:
    with pytest.raises(AuthorError) as caught:
        load_inventory(path, text)
    found = [one for one in caught.value.diagnostics if isinstance(one, Diagnostic)]
    return [f"{one.line}:{one.column} {one.code}" for one in found]


def test_a_good_inventory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges expand together, groups flatten in the file's order, settings merge."""
    monkeypatch.setenv("HOME", "/home/op")
    inventory = load_inventory(Path("/etc/dr/i.yaml"), GOOD)
    assert list(inventory.targets) == ["cp1", "cp2", "cp3", "bastion", "lb01", "lb03"]
    cp2, lb01 = inventory.targets[HostName("cp2")], inventory.targets[HostName("lb01")]
    assert (cp2.address, cp2.user, cp2.port, cp2.identity) == (
        "10.0.0.12", "root", None, "/etc/dr/keys/id",
    )  # fmt: skip
    assert (cp2.connect_timeout, cp2.become, cp2.layout) == (5.0, "sudo", "systemd")
    assert dict(cp2.vars) == {"a": "1", "b": "2"}
    assert (lb01.address, lb01.user, lb01.port, lb01.identity, lb01.become, lb01.layout) == (
        "lb01", "root", 2222, "/home/op/k", "none", "k3s",
    )  # fmt: skip
    assert inventory.groups["etcd"] == ("cp1", "cp2", "cp3")
    assert inventory.groups["everything"] == tuple(inventory.targets)
    assert inventory.groups["bastion"] == ("bastion",)


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("drrun_inventory: 1\n", "", "1:1 missing-field"),
        ("drrun_inventory: 1", "drrun_inventory: 2", "1:18 not-a-choice"),
        ("name: prod", "name:", "2:1 no-value"),
        ("user: root", "user: -oProxyCommand=x", "4:13 bad-address"),
        ("connect_timeout: 5s", "connect_timeout: 5", "4:55 wrong-type"),
        ("user: root", "usr: root", "4:7 unknown-key"),
        ("[11-13]", "[11-12]", "7:22 bad-range"),
        ('"10.0.0.[11-13]"', '"-oX"', "7:22 bad-address"),
        ("cp[1-3]:", "cp[3-1]:", "7:3 bad-range"),
        ("  bastion:", "  cp2:", "8:3 duplicate-host"),
        ("  bastion:", "  controller:", "8:3 bad-name"),
        ("  bastion:", "  'a b':", "8:3 bad-name"),
        ("port: 2222", "port: 70000", "9:27 out-of-range"),
        ("port: 2222", "port: ssh", "9:27 wrong-type"),
        ("layout: k3s", "layout: k3", "9:71 not-a-choice"),
        ("[etcd]", "[etdc]", "12:19 unknown-host"),
        ("[etcd]", "[everything]", "11:16 group-cycle"),
        ("[etcd]", "[control_plane]", "12:19 group-cycle"),
        ("cp[2-3]", "cp[2-", "13:10 bad-range"),
        ("cp[2-3]", "cp[2-4]", "13:10 unknown-host"),
        ("  etcd:", "  cp1:", "13:3 duplicate-host"),
    ],
)
def test_one_mistake_one_place(old: str, new: str, expected: str) -> None:
    """Each mistake of an inventory is found at its line and column."""
    assert old in GOOD
    assert expected in lines(GOOD.replace(old, new, 1))


def test_every_mistake_at_once() -> None:
    """Mistakes of the schema hide none of the names'."""
    text = (
        GOOD.replace("port: 2222", "port: x").replace("[etcd]", "[etdc]").replace("name:", "nme:")
    )
    assert lines(text) == [
        "1:1 missing-field",
        "2:1 unknown-key",
        "9:27 wrong-type",
        "12:19 unknown-host",
    ]


def test_groups_of_groups_do_not_multiply() -> None:
    """Two hundred levels, each naming the last twice, are walked once each."""
    text = "drrun_inventory: 1\nname: x\nhosts: {h: }\ngroups:\n  g0: [h]\n"
    text += "".join(f"  g{n}: [g{n - 1}, g{n - 1}]\n" for n in range(1, 200))
    assert load_inventory(Path("i.yaml"), text).groups["g199"] == ("h",)


def test_the_digest_does_not_depend_on_where_the_file_is() -> None:
    """Two copies of an inventory without relative paths describe themselves alike."""
    text = GOOD.replace("keys/id", "/k").replace("~/k", "/k2")
    one, two = (load_inventory(Path(path), text) for path in ("/a/i.yaml", "/b/i.yaml"))
    assert one.describe() == two.describe()


def test_files_that_are_not_there(tmp_path: Path) -> None:
    """A missing file is the command line's mistake."""
    with pytest.raises(UsageError, match="there is no file"):
        load_inventory(tmp_path / "nope.yaml")


def test_no_inventory_and_no_ansible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `drrun_inventory` and without Ansible the next move is named."""
    monkeypatch.setenv("PATH", str(tmp_path))
    ini = tmp_path / "hosts.ini"
    ini.write_text("[etcd]\ncp1\n")
    with pytest.raises(AuthorError) as caught:
        load_inventory(ini)
    assert "drrun_inventory: 1" in caught.value.hint
    assert "ansible-inventory on PATH" in caught.value.hint


LISTING = {
    "_meta": {
        "hostvars": {
            "cp1": {
                "ansible_host": "10.0.0.1",
                "ansible_user": "admin",
                "ansible_ssh_private_key_file": "/k",
                "ansible_ssh_common_args": "-o ProxyJump=bastion -o StrictHostKeyChecking=no",
                "drrun_layout": "static-pod",
                "drrun_cluster_uid": "u-1",
                "colour": "blue",
            },
            "cp10": {},
            "cp2": {"ansible_port": 2222, "ansible_ssh_common_args": "-J a,b"},
        }
    },
    "all": {"children": ["ungrouped", "control_plane"]},
    "control_plane": {"children": ["etcd"]},
    "etcd": {"hosts": ["cp1", "cp2", "cp10"]},
}


def test_an_ansible_listing() -> None:
    """Addresses, accounts, keys and jumps are carried over; order is that of the groups."""
    source = Source("hosts.ini", ())
    inventory = from_listing(LISTING, Path("/e/hosts.ini"), source)
    cp1, cp2, _ = inventory.targets.values()
    assert list(inventory.targets) == ["cp1", "cp2", "cp10"]
    assert (cp1.address, cp1.user, cp1.identity, cp1.jump, cp1.layout) == (
        "10.0.0.1", "admin", "/k", "bastion", "static-pod",
    )  # fmt: skip
    assert (cp2.address, cp2.port, cp2.jump) == ("cp2", 2222, "a,b")
    assert dict(cp1.vars) == {"colour": "blue"}
    assert inventory.cluster_uid == "u-1"
    assert inventory.groups["control_plane"] == ("cp1", "cp2", "cp10")
    assert "all" not in inventory.groups


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"ansible_host": "{{ ip }}"}, "only Ansible can work out"),
        ({"ansible_connection": "docker"}, "drrun goes by ssh"),
        ({"ansible_ssh_common_args": "-o ProxyCommand='ssh b'"}, "~/.ssh/config"),
        ({"ansible_become_method": "doas"}, "drrun knows sudo"),
        ({"ansible_port": "ssh"}, "not a port"),
        ({"ansible_user": "-x"}, "dash"),
        ({"drrun_layout": "k3"}, "did you mean `k3s`?"),
    ],
)
def test_what_cannot_be_carried_over_is_refused(said: dict[str, str], message: str) -> None:
    """What drrun would do differently from Ansible is said, never dropped."""
    listing = {"_meta": {"hostvars": {"h": said}}, "all": {"hosts": ["h"]}}
    with pytest.raises(AuthorError) as caught:
        from_listing(listing, Path("h.ini"), Source("h.ini", ()))
    assert message in caught.value.message


def test_an_ansible_inventory_without_hosts() -> None:
    """Ansible answers a file that it cannot read with an empty listing: refused."""
    with pytest.raises(AuthorError, match="no hosts"):
        from_listing({"_meta": {"hostvars": {}}, "all": {}}, Path("h"), Source("h", ()))


def test_ansible_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is not drrun's is put to ansible-inventory; what it says of failures is shown."""
    program = tmp_path / "ansible-inventory"
    program.write_text(
        "#!/bin/sh\n"
        'case "$*" in *bad*) echo "[WARNING]: broken" >&2; exit 1;; esac\n'
        'test "$3" = --list -a "$#" = 3 || exit 9\n'
        'echo \'{"_meta": {"hostvars": {"h": {"ansible_user": "u"}}}, "etcd": {"hosts": ["h"]}}\'\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    for name in ("hosts.ini", "bad.yml"):
        (tmp_path / name).write_text("etcd:\n  hosts: {h: }\n")
    inventory = load_inventory(tmp_path / "hosts.ini")
    assert inventory.targets[HostName("h")].user == "u"
    with pytest.raises(AuthorError) as caught:
        load_inventory(tmp_path / "bad.yml")
    assert "broken" in render(
        one for one in caught.value.diagnostics if isinstance(one, Diagnostic)
    )
