"""Where a connection goes, as whom, by which keys: the target's word, then `ssh -G`'s.

paramiko's reader of ~/.ssh/config ignores Include and takes a `Match` it does not know as a
match, which means the wrong host without a word; so OpenSSH itself is asked, where it is there.
"""

from __future__ import annotations

import getpass
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from shutil import which

from drrun.errors import Unreachable
from drrun.model.inventory import Target

DEFAULT_KEYS = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")
DEFAULT_KNOWN_HOSTS = (
    "~/.ssh/known_hosts",
    "~/.ssh/known_hosts2",
    "/etc/ssh/ssh_known_hosts",
    "/etc/ssh/ssh_known_hosts2",
)


@dataclass(frozen=True, slots=True)
class Hop:
    """One SSH server on the way, fully known."""

    host: str
    port: int
    user: str
    identities: tuple[str, ...]
    known_hosts: tuple[str, ...]
    key_name: str
    agent: bool = True
    jump: str = ""

    def __str__(self) -> str:
        return f"{self.user}@{self.host}" + (f":{self.port}" if self.port != 22 else "")


def route(target: Target) -> tuple[Hop, ...]:
    """The hops to `target`, the target itself last. Raises Unreachable when ssh -G refuses."""
    last = resolve(target.address, user=target.user, port=target.port)
    if target.identity:
        last = replace(last, identities=(_expand(target.identity),))
    if target.known_hosts:
        last = replace(last, known_hosts=(_expand(target.known_hosts),))
    jump = last.jump if target.jump is None else target.jump
    hops = [] if jump in {"", "none"} else [_jump_hop(text, target) for text in jump.split(",")]
    return (*hops, last)


def _jump_hop(text: str, target: Target) -> Hop:
    user, host, port = split_address(text.strip().removeprefix("ssh://"))
    hop = resolve(host, user=user, port=port)
    if target.known_hosts:
        hop = replace(hop, known_hosts=(_expand(target.known_hosts), *hop.known_hosts))
    if target.identity:
        hop = replace(hop, identities=(_expand(target.identity), *hop.identities))
    return hop


def split_address(text: str) -> tuple[str | None, str, int | None]:
    """`user@host:port` in its parts; an IPv6 address with a port stands in brackets."""
    user, at, rest = text.rpartition("@")
    port = ""
    if rest.startswith("["):
        host, _, port = rest[1:].partition("]")
        port = port.removeprefix(":")
    elif rest.count(":") == 1:
        host, _, port = rest.partition(":")
    else:
        host = rest
    return (user if at else None), host, (int(port) if port.isdigit() else None)


def resolve(address: str, *, user: str | None, port: int | None) -> Hop:
    """What OpenSSH would do for `address`; without OpenSSH, its defaults."""
    program = which("ssh")
    if program is None:
        return Hop(
            host=address,
            port=port or 22,
            user=user or getpass.getuser(),
            identities=tuple(map(_expand, DEFAULT_KEYS)),
            known_hosts=tuple(map(_expand, DEFAULT_KNOWN_HOSTS)),
            key_name=address,
        )
    said = parse(_ssh_g(program, address, user, port))
    return from_config(said, address)


def from_config(said: Mapping[str, Sequence[str]], address: str) -> Hop:
    """The hop in what `ssh -G` printed. Raises Unreachable for a way that only ssh can go."""

    def one(name: str) -> str:
        return next(iter(said.get(name, ())), "")

    if one("proxycommand") not in {"", "none"}:
        raise Unreachable(
            f"{address}: ~/.ssh/config says ProxyCommand, which drrun does not run",
            hint="write the way as ProxyJump, or as `jump` in the inventory",
        )
    host = one("hostname") or address
    files = f"{one('userknownhostsfile')} {one('globalknownhostsfile')}".split()
    keys = [path for path in said.get("identityfile", ()) if path != "none"]
    return Hop(
        host=host,
        port=int(one("port") or 22),
        user=one("user") or getpass.getuser(),
        identities=tuple(_expand(path) for path in keys),
        known_hosts=tuple(_expand(path) for path in files if path != "none"),
        key_name=one("hostkeyalias") or host,
        agent=one("identityagent") != "none",
        jump=one("proxyjump"),
    )


def parse(text: str) -> dict[str, list[str]]:
    """`ssh -G`'s lines by keyword; a keyword may come again."""
    said: dict[str, list[str]] = {}
    for line in text.splitlines():
        word, _, value = line.strip().partition(" ")
        if word:
            said.setdefault(word.lower(), []).append(value.strip().strip('"'))
    return said


@lru_cache(maxsize=1024)
def _ssh_g(program: str, address: str, user: str | None, port: int | None) -> str:
    if not address or address.startswith("-") or any(char.isspace() for char in address):
        raise Unreachable(
            f"{address!r} is no address to connect to", hint="correct it in the inventory"
        )
    argv = [program, "-G"]
    argv += ["-l", user] if user else []
    argv += ["-p", str(port)] if port else []
    try:
        done = subprocess.run(
            [*argv, address], capture_output=True, timeout=10, check=True, stdin=subprocess.DEVNULL
        )
    except subprocess.CalledProcessError as exc:
        said = exc.stderr.decode("utf-8", "backslashreplace").strip()
        raise Unreachable(
            f"{address}: ssh cannot read its configuration: {said}",
            hint="try: ssh -G " + address,
        ) from exc
    except (subprocess.TimeoutExpired, OSError) as exc:
        raise Unreachable(
            f"{address}: ssh -G did not answer: {exc}", hint="try: ssh -G " + address
        ) from exc
    return done.stdout.decode("utf-8", "surrogateescape")


def _expand(path: str) -> str:
    home = str(Path.home())
    return str(Path(path.replace("%d", home)).expanduser())
