"""Host expressions: which hosts a step goes to.

    expr := role | host | role[i] | !expr | expr & expr | expr "|" expr | (expr) | controller

Precedence: `!` binds tightest, then `&`, then `|`. `!x` is every host of the runbook's roles
that is not in x. `role[0]` is the first of the role in the inventory's order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from drrun.errors import AuthorError
from drrun.lang.diagnostics import suggest
from drrun.values import CONTROLLER, HostName

MAX_LENGTH = 1000
MAX_NESTING = 50
_TOKEN = re.compile(
    r"\s*(?:(?P<name>[A-Za-z0-9_][A-Za-z0-9_.-]*)|(?P<mark>[!&|()\[\]])|(?P<end>$))"
)


class HostsError(AuthorError):
    """A host expression is wrong; `offset` is where in it, counted from 0."""

    def __init__(self, message: str, *, offset: int, code: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.offset = offset
        self.code = code


@dataclass(frozen=True, slots=True)
class Name:
    """A role, a host, or the controller."""

    name: str
    offset: int


@dataclass(frozen=True, slots=True)
class Nth:
    """One host of a role, counted from 0."""

    role: str
    index: int
    offset: int


@dataclass(frozen=True, slots=True)
class Not:
    """Every host of the roles but these."""

    inner: Expression
    offset: int


@dataclass(frozen=True, slots=True)
class Both:
    """The hosts that are in both."""

    left: Expression
    right: Expression
    offset: int


@dataclass(frozen=True, slots=True)
class Either:
    """The hosts that are in one or the other."""

    left: Expression
    right: Expression
    offset: int


Expression: TypeAlias = Name | Nth | Not | Both | Either


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    offset: int
    is_name: bool = False


def parse(text: str) -> Expression:
    """Read a host expression. Raises HostsError with the offset of what is wrong."""
    if len(text) > MAX_LENGTH:
        raise HostsError(
            f"a host expression is at most {MAX_LENGTH} characters", offset=0, code="bad-hosts"
        )
    parser = _Parser(list(_tokens(text)))
    found = parser.either()
    parser.expect("")
    return found


def names(expression: Expression) -> Iterator[Name | Nth]:
    """Every role or host that is named, in the order of the text."""
    match expression:
        case Name() | Nth():
            yield expression
        case Not(inner=inner):
            yield from names(inner)
        case Both(left=left, right=right) | Either(left=left, right=right):
            yield from names(left)
            yield from names(right)


def resolve(
    expression: Expression | str,
    roles: Mapping[str, tuple[HostName, ...]],
    all_hosts: Sequence[HostName],
) -> tuple[HostName, ...]:
    """The hosts meant, in the order of `all_hosts`, each once; the controller comes last.

    `roles` are the runbook's roles as bound to the inventory; `all_hosts` is every host of the
    inventory. A name is a role first, then a host. The result may be empty. Raises HostsError.
    """
    tree = parse(expression) if isinstance(expression, str) else expression
    order = {host: index for index, host in enumerate(all_hosts)}
    chosen = _Scope(roles, order).hosts(tree)
    return tuple(sorted(chosen, key=lambda host: order.get(host, len(order))))


@dataclass(frozen=True, slots=True)
class _Scope:
    roles: Mapping[str, tuple[HostName, ...]]
    order: Mapping[HostName, int]

    def hosts(self, tree: Expression) -> frozenset[HostName]:
        match tree:
            case Name():
                return self._named(tree)
            case Nth():
                return frozenset({self._nth(tree)})
            case Not(inner=inner):
                everyone = frozenset(host for hosts in self.roles.values() for host in hosts)
                return everyone - self.hosts(inner)
            case Both(left=left, right=right):
                return self.hosts(left) & self.hosts(right)
            case Either(left=left, right=right):
                return self.hosts(left) | self.hosts(right)

    def _named(self, name: Name) -> frozenset[HostName]:
        host = HostName(name.name)
        if name.name in self.roles:
            return frozenset(self.roles[name.name])
        if host in self.order or host == CONTROLLER:
            return frozenset({host})
        known = (*self.roles, *self.order, CONTROLLER)
        raise HostsError(
            f"`{name.name}` is neither a role nor a host",
            offset=name.offset,
            code="unknown-host",
            hint=suggest(name.name, known, "known"),
        )

    def _nth(self, nth: Nth) -> HostName:
        if nth.role not in self.roles:
            raise HostsError(
                f"`{nth.role}` is not a role of this runbook",
                offset=nth.offset,
                code="unknown-role",
                hint=suggest(nth.role, tuple(self.roles), "roles"),
            )
        hosts = sorted(self.roles[nth.role], key=lambda host: self.order.get(host, 0))
        if nth.index >= len(hosts):
            raise HostsError(
                f"`{nth.role}[{nth.index}]` is not there: the role has {len(hosts)} hosts",
                offset=nth.offset,
                code="bad-index",
                hint="the first host is [0]",
            )
        return hosts[nth.index]


def _tokens(text: str) -> Iterator[_Token]:
    at = 0
    while True:
        match = _TOKEN.match(text, at)
        if match is None:
            start = at + len(text[at:]) - len(text[at:].lstrip())
            raise HostsError(
                f"`{text[start]}` means nothing in a host expression",
                offset=start,
                code="bad-hosts",
                hint="use role, host, role[0], !x, x & y, x | y, (x) or controller",
            )
        kind = str(match.lastgroup)
        yield _Token(match[kind], match.start(kind), is_name=kind == "name")
        if kind == "end":
            return
        at = match.end()


class _Parser:
    """Recursive descent, one method a level of precedence."""

    def __init__(self, tokens: list[_Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0

    @property
    def token(self) -> _Token:
        return self.tokens[self.at]

    def take(self) -> _Token:
        token = self.token
        self.at += 1
        return token

    def accept(self, mark: str) -> _Token | None:
        if self.token.text == mark and not self.token.is_name:
            return self.take()
        return None

    def expect(self, mark: str) -> None:
        if self.token.text != mark or self.token.is_name:
            wanted = f"`{mark}`" if mark else "`&` or `|`"
            raise self._unexpected(wanted)
        self.at += bool(mark)

    def _unexpected(self, wanted: str) -> HostsError:
        token = self.token
        seen = f"`{token.text}`" if token.text else "the end"
        return HostsError(
            f"{wanted} is expected before {seen}", offset=token.offset, code="bad-hosts"
        )

    def either(self) -> Expression:
        left = self.both()
        while mark := self.accept("|"):
            left = Either(left, self.both(), mark.offset)
        return left

    def both(self) -> Expression:
        left = self.single()
        while mark := self.accept("&"):
            left = Both(left, self.single(), mark.offset)
        return left

    def single(self) -> Expression:
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise HostsError(
                f"nested deeper than {MAX_NESTING} levels",
                offset=self.token.offset,
                code="bad-hosts",
            )
        found = self._single()
        self.depth -= 1
        return found

    def _single(self) -> Expression:
        if mark := self.accept("!"):
            return Not(self.single(), mark.offset)
        if self.accept("("):
            inner = self.either()
            self.expect(")")
            return inner
        if not self.token.is_name:
            raise self._unexpected("a role or a host")
        name = self.take()
        if not self.accept("["):
            return Name(name.text, name.offset)
        if not re.fullmatch("[0-9]{1,6}", self.token.text):
            raise self._unexpected("a number, counted from 0,")
        index = int(self.take().text)
        self.expect("]")
        return Nth(name.text, index, name.offset)
