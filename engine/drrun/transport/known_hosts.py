"""known_hosts files, read as OpenSSH reads them, and the verdict on a key that a host showed.

paramiko's reader gives up on a whole file for one @cert-authority line, one bad base64 or one
latin-1 byte, and knows neither wildcards nor @revoked; so it is not asked.

Rule 1: a line that cannot be read is reported and skipped; it never hides the others.
Rule 2: a revoked key is refused whatever else the files say.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Verdict = Literal["known", "unknown", "changed", "revoked"]

PREFERENCE = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
)
"""The kinds of host key that a connection can check, best first."""

_MARKERS = frozenset({"@cert-authority", "@revoked"})


def fingerprint(blob: bytes) -> str:
    """A public key as OpenSSH shows it: SHA256 and base64."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def lookup_name(host: str, port: int) -> str:
    """How known_hosts names a host: [host]:port when the port is not 22."""
    host = host.lower()
    return host if port == 22 else f"[{host}]:{port}"


@dataclass(frozen=True, slots=True)
class KnownKey:
    """One line: for which hosts, which key, said where."""

    marker: str
    patterns: str
    kind: str
    blob: bytes
    where: str

    def names(self, name: str) -> bool:
        """Whether this line speaks of `name`."""
        if self.patterns.startswith("|1|"):
            return _hash_matches(self.patterns, name)
        found = False
        for pattern in self.patterns.lower().split(","):
            if _glob(pattern.removeprefix("!")).fullmatch(name):
                if pattern.startswith("!"):
                    return False
                found = True
        return found


@dataclass(frozen=True, slots=True)
class KnownHosts:
    """All lines of some files. `complaints` are lines nobody could read, with their place."""

    keys: tuple[KnownKey, ...]
    complaints: tuple[str, ...]
    files: tuple[str, ...]

    @classmethod
    def load(cls, files: Sequence[str]) -> KnownHosts:
        """Read `files` in order; one that is not there holds nothing."""
        keys: list[KnownKey] = []
        complaints: list[str] = []
        for file in files:
            try:
                text = Path(file).read_bytes().decode("utf-8", "surrogateescape")
            except FileNotFoundError:
                continue
            except OSError as exc:
                complaints.append(f"{file}: {exc.strerror or exc}")
                continue
            for number, line in enumerate(text.split("\n"), start=1):
                where = f"{file}:{number}"
                try:
                    key = parse_line(line, where)
                except ValueError as exc:
                    complaints.append(f"{where}: {exc}")
                    continue
                if key is not None:
                    keys.append(key)
        return cls(tuple(keys), tuple(complaints), tuple(files))

    def of(self, host: str, port: int) -> tuple[KnownKey, ...]:
        """The plain keys of a host, best kind first."""
        name = lookup_name(host, port)
        mine = [key for key in self.keys if not key.marker and key.names(name)]
        return tuple(sorted(mine, key=_rank))

    def expected(self, host: str, port: int) -> tuple[KnownKey, ...]:
        """The keys that may be shown: the host's on this port, else those of its bare name."""
        return self.of(host, port) or self.of(host, 22)

    def authorities(self, host: str, port: int) -> tuple[KnownKey, ...]:
        """The certificate authorities that may speak for a host."""
        name = lookup_name(host, port)
        return tuple(k for k in self.keys if k.marker == "@cert-authority" and k.names(name))

    def judge(self, host: str, port: int, blob: bytes) -> tuple[Verdict, tuple[KnownKey, ...]]:
        """The verdict on a key that was shown, and the lines it rests on.

        As OpenSSH does, a host on another port is also known by its bare name, when the key is
        the same.
        """
        name = lookup_name(host, port)
        revoked = tuple(
            key
            for key in self.keys
            if key.marker == "@revoked"
            and key.blob == blob
            and (key.names(name) or key.names(host.lower()))
        )
        if revoked:
            return "revoked", revoked
        mine = self.of(host, port)
        same = tuple(key for key in mine if key.blob == blob)
        if not same and not mine:
            same = tuple(key for key in self.of(host, 22) if key.blob == blob)
        if same:
            return "known", same
        return ("changed", mine) if mine else ("unknown", ())


def parse_line(line: str, where: str) -> KnownKey | None:
    """One line; None for a blank or a comment. Raises ValueError, saying what is wrong."""
    words = line.split()
    if not words or words[0].startswith("#"):
        return None
    marker = ""
    if words[0].startswith("@"):
        marker = words.pop(0)
        if marker not in _MARKERS:
            raise ValueError(f"{marker} is no marker that is known here")
    if len(words) < 3:
        raise ValueError("not a known_hosts line: names, kind and key are expected")
    patterns, kind, text = words[:3]
    try:
        blob = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise ValueError(f"the key is not base64: {exc}") from exc
    length = int.from_bytes(blob[:4], "big")
    if blob[4 : 4 + length] != kind.encode("utf-8", "surrogateescape"):
        raise ValueError(f"the key is no {kind}")
    return KnownKey(marker, patterns, kind, blob, where)


def _rank(key: KnownKey) -> int:
    return PREFERENCE.index(key.kind) if key.kind in PREFERENCE else len(PREFERENCE)


def _hash_matches(hashed: str, name: str) -> bool:
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in hashed[3:].split("|"))
    except ValueError:
        return False
    mine = hmac.new(salt, name.encode("utf-8", "surrogateescape"), hashlib.sha1).digest()
    return hmac.compare_digest(mine, digest)


def _glob(pattern: str) -> re.Pattern[str]:
    """Only * and ? are special: the brackets of [host]:port are themselves."""
    parts = {"*": ".*", "?": "."}
    return re.compile("".join(parts.get(char, re.escape(char)) for char in pattern), re.DOTALL)
