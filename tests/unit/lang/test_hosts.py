"""Host expressions and ranges."""

from __future__ import annotations

import pytest

from drrun.lang.hosts import HostsError, parse, resolve
from drrun.lang.ranges import expand
from drrun.values import HostName

ALL = tuple(HostName(name) for name in ("cp1", "cp2", "cp3", "w1", "spare"))
ROLES = {
    "etcd": (HostName("cp3"), HostName("cp1"), HostName("cp2")),
    "workers": (HostName("w1"),),
    "control_plane": (HostName("cp1"), HostName("cp2")),
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("etcd", "cp1 cp2 cp3"),
        ("etcd[0]", "cp1"),
        ("etcd[ 2 ]", "cp3"),
        ("spare", "spare"),
        ("controller", "controller"),
        ("controller | w1", "w1 controller"),
        ("!etcd", "w1"),
        ("!!etcd", "cp1 cp2 cp3"),
        ("etcd & !cp1", "cp2 cp3"),
        ("etcd & control_plane | workers", "cp1 cp2 w1"),
        ("workers | etcd & control_plane", "cp1 cp2 w1"),
        ("(workers | etcd) & control_plane", "cp1 cp2"),
        ("!etcd & etcd", ""),
        ("!(etcd | workers)", ""),
        ("cp1|cp1", "cp1"),
    ],
)
def test_which_hosts(text: str, expected: str) -> None:
    """`!` binds tighter than `&`, `&` than `|`; hosts come in the inventory's order, once."""
    assert " ".join(resolve(text, ROLES, ALL)) == expected


@pytest.mark.parametrize(
    ("text", "offset", "message", "hint"),
    [
        ("etdc", 0, "neither a role nor a host", "`etcd`"),
        ("etcd & cp9", 7, "neither a role nor a host", "did you mean"),
        ("workers[1]", 0, "the role has 1 hosts", "[0]"),
        ("worker[0]", 0, "not a role", "`workers`"),
        ("", 0, "before the end", ""),
        ("etcd &", 6, "before the end", ""),
        ("etcd etcd", 5, "`&` or `|` is expected", ""),
        ("etcd + w1", 5, "`+` means nothing", "x & y"),
        ("(etcd", 5, "`)` is expected", ""),
        ("etcd)", 4, "`&` or `|`", ""),
        ("etcd[x]", 5, "a number", ""),
        ("etcd[-1]", 5, "`-` means nothing", ""),
        ("[0]", 0, "a role or a host", ""),
        ("(" * 60 + "etcd", 50, "nested deeper", ""),
        ("!" * 900 + "etcd", 50, "nested deeper", ""),
        ("x" * 1001, 0, "at most", ""),
    ],
)
def test_wrong_expressions(text: str, offset: int, message: str, hint: str) -> None:
    """A wrong expression says what is wrong, where in it, and the nearest known name."""
    with pytest.raises(HostsError) as caught:
        resolve(text, ROLES, ALL)
    assert caught.value.offset == offset
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_an_expression_is_a_frozen_tree() -> None:
    """Equal texts give equal trees."""
    assert parse("a & !b") == parse("a & !b")
    assert hash(parse("a | b[1]")) == hash(parse("a | b[1]"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cp1", ["cp1"]),
        ("cp[1-3]", ["cp1", "cp2", "cp3"]),
        ("cp[08-11].x", ["cp08.x", "cp09.x", "cp10.x", "cp11.x"]),
        ("cp[1,3-4]", ["cp1", "cp3", "cp4"]),
        ("r[1-2]n[1-2]", ["r1n1", "r1n2", "r2n1", "r2n2"]),
    ],
)
def test_ranges(text: str, expected: list[str]) -> None:
    """Ranges keep the width of their first number and multiply from left to right."""
    assert list(expand(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "cp[1-3",
        "cp1-3]",
        "cp[]",
        "cp[a-c]",
        "cp[3-1]",
        "cp[1,1]",
        "cp[[1]]",
        "cp[1-99999]",
        "a[1-999]b[1-999]",
    ],
)
def test_wrong_ranges(text: str) -> None:
    """What is no range, or stands for too many names, is refused."""
    with pytest.raises(ValueError, match=r"\["):
        expand(text)
